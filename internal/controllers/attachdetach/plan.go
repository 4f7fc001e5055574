package attachdetach

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// forceAfter is how long a node that is not Ready keeps a volume that its pods
// are gone from: it can't say that it has let go.
const forceAfter = 6 * time.Minute

// ofDriver begins the name of a CSI volume in the status of nodes.
const ofDriver = "kubernetes.io/csi/"

// want is a volume that pods of a node need to have attached.
type want struct {
	volume *v1.PersistentVolume
	pods   []*v1.Pod
}

// view is what is known around one node. node is nil once it is gone.
type view struct {
	name        string
	node        *v1.Node
	wants       map[string]want // by name of the attachment
	attachments []*storagev1.VolumeAttachment
	volume      func(name string) *v1.PersistentVolume // nil: none of that name
	now         time.Time
}

// refusal of an attachment, to be told to the pods that want it.
type refusal struct {
	pods    []*v1.Pod
	message string
}

// decision about a node.
type decision struct {
	attach  []*storagev1.VolumeAttachment
	detach  []*storagev1.VolumeAttachment
	refused []refusal
	// attached is what the Node is to say of itself.
	attached []v1.AttachedVolume
	// again is when to look without an event; 0: never.
	again time.Duration
}

// plan decides which volumes to attach to a node and which to take from it. all
// are the attachments of all nodes.
func plan(v view, all []*storagev1.VolumeAttachment) (d decision) {
	have := map[string]*storagev1.VolumeAttachment{}
	for _, a := range v.attachments {
		have[a.Name] = a
	}
	for _, name := range slices.Sorted(maps.Keys(v.wants)) {
		w := v.wants[name]
		if v.node == nil || have[name] != nil {
			continue
		}
		if elsewhere := exclusively(w.volume, v.name, all); elsewhere {
			d.refused = append(d.refused, refusal{w.pods, fmt.Sprintf(
				"Multi-Attach error for volume %q Volume is already exclusively attached to one node and can't be attached to another", w.volume.Name)})
			continue
		}
		d.attach = append(d.attach, attachment(name, w.volume, v.name))
	}
	for _, a := range v.attachments {
		if _, wanted := v.wants[a.Name]; wanted || a.DeletionTimestamp != nil || !ourName.MatchString(a.Name) {
			continue
		}
		if in := v.releasedIn(a); in > 0 {
			d.again = min(cmp.Or(d.again, in), in)
			continue
		}
		d.detach = append(d.detach, a)
	}
	d.attached = v.attached()
	return d
}

// attached are the volumes that drivers have attached to the node.
func (v view) attached() (list []v1.AttachedVolume) {
	for _, a := range v.attachments {
		if !a.Status.Attached || a.Spec.Source.PersistentVolumeName == nil {
			continue
		}
		if volume := v.volume(*a.Spec.Source.PersistentVolumeName); volume != nil && volume.Spec.CSI != nil {
			list = append(list, v1.AttachedVolume{Name: inNodes(volume)})
		}
	}
	slices.SortFunc(list, func(a, b v1.AttachedVolume) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// releasedIn is how long until the volume may be taken from the node: at once,
// when it says that it has let go, or is gone, or is declared out of service.
func (v view) releasedIn(a *storagev1.VolumeAttachment) time.Duration {
	if v.node == nil || outOfService(v.node) || !slices.ContainsFunc(v.node.Status.VolumesInUse, v.means(a)) {
		return 0
	}
	for _, c := range v.node.Status.Conditions {
		if c.Type == v1.NodeReady && c.Status != v1.ConditionTrue {
			return max(0, c.LastTransitionTime.Add(forceAfter).Sub(v.now))
		}
	}
	return forceAfter // it will say so
}

// means tells which name in a node's status is the attachment's volume. One whose
// object is gone may be any of its driver's.
func (v view) means(a *storagev1.VolumeAttachment) func(v1.UniqueVolumeName) bool {
	if name := a.Spec.Source.PersistentVolumeName; name != nil {
		if volume := v.volume(*name); volume != nil && volume.Spec.CSI != nil {
			return func(n v1.UniqueVolumeName) bool { return n == inNodes(volume) }
		}
	}
	return func(n v1.UniqueVolumeName) bool { return strings.HasPrefix(string(n), ofDriver+a.Spec.Attacher+"^") }
}

func outOfService(n *v1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t v1.Taint) bool { return t.Key == v1.TaintNodeOutOfService })
}

// exclusively tells whether the volume, which only one node may have, is another's.
func exclusively(volume *v1.PersistentVolume, node string, all []*storagev1.VolumeAttachment) bool {
	if slices.ContainsFunc(volume.Spec.AccessModes, func(m v1.PersistentVolumeAccessMode) bool {
		return m == v1.ReadWriteMany || m == v1.ReadOnlyMany
	}) {
		return false
	}
	return slices.ContainsFunc(all, func(a *storagev1.VolumeAttachment) bool {
		return a.Spec.NodeName != node && a.Spec.Source.PersistentVolumeName != nil && *a.Spec.Source.PersistentVolumeName == volume.Name
	})
}

// attachment as the driver's attacher waits for it.
func attachment(name string, volume *v1.PersistentVolume, node string) *storagev1.VolumeAttachment {
	return &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: storagev1.VolumeAttachmentSpec{
			Attacher: volume.Spec.CSI.Driver, NodeName: node,
			Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &volume.Name},
		},
	}
}

// nameOf an attachment, which the node makes up in the same way.
func nameOf(volume *v1.PersistentVolume, node string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(volume.Spec.CSI.VolumeHandle+volume.Spec.CSI.Driver+node)))
}

// ourName is the form of the names that nameOf gives. An attachment with another
// name is somebody else's, who knows why it is there.
var ourName = regexp.MustCompile(`^csi-[0-9a-f]{64}$`)

// inNodes is the name of a volume in the status of nodes.
func inNodes(volume *v1.PersistentVolume) v1.UniqueVolumeName {
	return v1.UniqueVolumeName(ofDriver + volume.Spec.CSI.Driver + "^" + volume.Spec.CSI.VolumeHandle)
}
