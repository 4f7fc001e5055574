package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A Lease is held by one at a time: leaders renew it, and nodes as their heartbeat.
func leases() resource.Resource {
	return resource.Resource{
		GroupVersion: coordinationv1.SchemeGroupVersion,
		Name:         "leases",
		Singular:     "lease",
		Kind:         "Lease",
		Namespaced:   true,
		New:          func() runtime.Object { return &coordinationv1.Lease{} },
		NewList:      func() runtime.Object { return &coordinationv1.LeaseList{} },
		Prepare:      meta.Prepare(func(l *coordinationv1.Lease) { dropUnserved(l, &coordinationv1.Lease{}) }),
		Check:        meta.Check(checkLease),
		Update: resource.Update{
			PrepareUpdate:  meta.PrepareUpdate(dropUnserved),
			CheckUpdate:    meta.CheckUpdate(func(l, _ *coordinationv1.Lease) field.ErrorList { return checkLease(l) }),
			CreateOnUpdate: true,
		},
		Columns: meta.Table(meta.Name(), meta.String("Holder", coordinationv1.LeaseSpec{}.SwaggerDoc()["holderIdentity"]), meta.Created()),
		Row: meta.Row(func(l *coordinationv1.Lease, now metav1.Time) []any {
			return []any{l.Name, meta.Deref(l.Spec.HolderIdentity, ""), meta.Age(l.CreationTimestamp, now)}
		}),
	}
}

// dropUnserved drops the fields of coordinated leader election, which v1.37 has
// switched off, unless they are stored.
func dropUnserved(l, old *coordinationv1.Lease) {
	if old.Spec.Strategy == nil {
		l.Spec.Strategy = nil
	}
	if old.Spec.PreferredHolder == nil {
		l.Spec.PreferredHolder = nil
	}
}

func checkLease(l *coordinationv1.Lease) field.ErrorList {
	path, spec := field.NewPath("spec"), &l.Spec
	var errs field.ErrorList
	if seconds := spec.LeaseDurationSeconds; seconds != nil && *seconds <= 0 {
		errs = append(errs, field.Invalid(path.Child("leaseDurationSeconds"), *seconds, "must be greater than 0"))
	}
	if n := meta.Deref(spec.LeaseTransitions, 0); n < 0 {
		errs = append(errs, field.Invalid(path.Child("leaseTransitions"), n, "must be greater than or equal to 0"))
	}
	if spec.Strategy != nil && *spec.Strategy != coordinationv1.OldestEmulationVersion {
		errs = append(errs, field.NotSupported(path.Child("strategy"), *spec.Strategy, []coordinationv1.CoordinatedLeaseStrategy{coordinationv1.OldestEmulationVersion}))
	}
	if meta.Deref(spec.PreferredHolder, "") != "" && meta.Deref(spec.Strategy, "") == "" {
		errs = append(errs, field.Forbidden(path.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	return errs
}
