package subresource

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Scale reads and writes the number of replicas of a workload, whatever its kind.
type Scale struct {
	store    *genericregistry.Store
	resource schema.GroupVersionResource
}

var (
	_ rest.Patcher                  = Scale{}
	_ rest.GroupVersionKindProvider = Scale{}
	_ rest.TableConvertor           = Scale{}
)

// NewScale is the scale endpoint of the workloads in store.
func NewScale(store *genericregistry.Store, r schema.GroupVersionResource) Scale {
	return Scale{store, r}
}

func (Scale) New() runtime.Object { return &autoscalingv1.Scale{} }
func (Scale) Destroy()            {}
func (Scale) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return autoscalingv1.SchemeGroupVersion.WithKind("Scale")
}

func (s Scale) ConvertToTable(ctx context.Context, obj, o runtime.Object) (*metav1.Table, error) {
	return rest.NewDefaultTableConvertor(s.resource.GroupResource()).ConvertToTable(ctx, obj, o)
}

func (s Scale) Get(ctx context.Context, name string, o *metav1.GetOptions) (runtime.Object, error) {
	obj, err := s.store.Get(ctx, name, o)
	if err != nil {
		return nil, err
	}
	return scaleOf(obj)
}

func (s Scale) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, _ bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	obj, _, err := s.store.Update(ctx, name, scaleInfo{s, name, info},
		func(ctx context.Context, obj runtime.Object) error {
			scale, err := scaleOf(obj)
			if err != nil {
				return err
			}
			return create(ctx, scale)
		},
		func(ctx context.Context, obj, old runtime.Object) error {
			scale, err := scaleOf(obj)
			if err != nil {
				return err
			}
			oldScale, err := scaleOf(old)
			if err != nil {
				return err
			}
			return update(ctx, scale, oldScale)
		}, false, o)
	if err != nil {
		return nil, false, err
	}
	scale, err := scaleOf(obj)
	return scale, false, err
}

// scaleInfo turns a change of the scale into one of the workload.
type scaleInfo struct {
	s    Scale
	name string
	rest.UpdatedObjectInfo
}

func (i scaleInfo) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	obj := old.DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	gv := i.s.resource.GroupVersion()
	if m.GetResourceVersion() == "" {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: gv.Group, Resource: i.s.resource.Resource + "/scale"}, i.name)
	}
	fields := managedfields.NewScaleHandler(m.GetManagedFields(), gv,
		managedfields.ResourcePathMappings{gv.String(): fieldpath.MakePathOrDie("spec", "replicas")})
	before, err := scaleOf(obj)
	if err != nil {
		return nil, err
	}
	if before.ManagedFields, err = fields.ToSubresource(); err != nil {
		return nil, err
	}
	changed, err := i.UpdatedObjectInfo.UpdatedObject(ctx, before)
	if err != nil {
		return nil, err
	}
	scale, ok := changed.(*autoscalingv1.Scale)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("expected input object type to be Scale, but %T", changed))
	}
	if scale.Spec.Replicas < 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: "autoscaling", Kind: "Scale"}, scale.Name, field.ErrorList{
			field.Invalid(field.NewPath("spec", "replicas"), scale.Spec.Replicas, "must be greater than or equal to 0")})
	}
	if scale.UID != "" && scale.UID != m.GetUID() {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: gv.Group, Resource: i.s.resource.Resource + "/scale"}, i.name,
			fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", scale.UID, m.GetUID())) //nolint:staticcheck // the API's wording
	}
	setReplicas(obj, scale.Spec.Replicas)
	m.SetResourceVersion(scale.ResourceVersion)
	managed, err := fields.ToParent(scale.ManagedFields)
	if err != nil {
		return nil, err
	}
	m.SetManagedFields(managed)
	return obj, nil
}

// scaleOf is a workload's scale.
func scaleOf(obj runtime.Object) (*autoscalingv1.Scale, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{
		Name: m.GetName(), Namespace: m.GetNamespace(), UID: m.GetUID(),
		ResourceVersion: m.GetResourceVersion(), CreationTimestamp: m.GetCreationTimestamp(),
	}}
	var selector *metav1.LabelSelector
	switch w := obj.(type) {
	case *appsv1.Deployment:
		scale.Spec.Replicas, scale.Status.Replicas, selector = number(w.Spec.Replicas), w.Status.Replicas, w.Spec.Selector
	case *appsv1.ReplicaSet:
		scale.Spec.Replicas, scale.Status.Replicas, selector = number(w.Spec.Replicas), w.Status.Replicas, w.Spec.Selector
	case *appsv1.StatefulSet:
		scale.Spec.Replicas, scale.Status.Replicas, selector = number(w.Spec.Replicas), w.Status.Replicas, w.Spec.Selector
	case *corev1.ReplicationController:
		scale.Spec.Replicas, scale.Status.Replicas = number(w.Spec.Replicas), w.Status.Replicas
		scale.Status.Selector = labels.SelectorFromSet(w.Spec.Selector).String()
		return scale, nil
	default:
		return nil, fmt.Errorf("%T has no scale", obj)
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	scale.Status.Selector = s.String()
	return scale, nil
}

func setReplicas(obj runtime.Object, n int32) {
	switch w := obj.(type) {
	case *appsv1.Deployment:
		w.Spec.Replicas = &n
	case *appsv1.ReplicaSet:
		w.Spec.Replicas = &n
	case *appsv1.StatefulSet:
		w.Spec.Replicas = &n
	case *corev1.ReplicationController:
		w.Spec.Replicas = &n
	}
}

func number(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}
