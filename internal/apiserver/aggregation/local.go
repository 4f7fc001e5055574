package aggregation

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// The label says that a server keeps an APIService that stands for its own APIs:
// made at its start, or followed all the time. Without it, it is the user's.
const (
	managedLabel = "kube-aggregator.kubernetes.io/automanaged"
	onStart      = "onstart"
	always       = "true"
)

// Local is a version of a group that this server answers itself.
type Local struct {
	schema.GroupVersion
	GroupPriority, VersionPriority int32
	Custom                         bool // by a CustomResourceDefinition, and gone with it
	Replaceable                    bool // a user may have another server answer for it
}

// Priorities of the groups of custom resources: after all others.
const (
	CustomGroupPriority   = 1000
	CustomVersionPriority = 100
)

// Changes brings the APIServices that stand for local APIs to what is served.
func Changes(served []Local, have []*registrationv1.APIService) (create []*registrationv1.APIService, remove []string) {
	known := map[string]*registrationv1.APIService{}
	for _, s := range have {
		known[s.Name] = s
	}
	for _, l := range served {
		name := l.Version + "." + l.Group
		if known[name] == nil {
			create = append(create, l.object(name))
		}
		delete(known, name)
	}
	for name, s := range known {
		if s.Labels[managedLabel] != "" && s.Spec.Service == nil {
			remove = append(remove, name)
		}
	}
	slices.SortFunc(create, func(a, b *registrationv1.APIService) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(remove)
	return create, remove
}

func (l Local) object(name string) *registrationv1.APIService {
	s := &registrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       registrationv1.APIServiceSpec{Group: l.Group, Version: l.Version, GroupPriorityMinimum: l.GroupPriority, VersionPriority: l.VersionPriority},
	}
	switch {
	case l.Replaceable:
	case l.Custom:
		s.Labels = map[string]string{managedLabel: always}
	default:
		s.Labels = map[string]string{managedLabel: onStart}
	}
	return s
}
