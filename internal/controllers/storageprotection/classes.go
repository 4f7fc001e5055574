package storageprotection

import (
	"context"
	"errors"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// AttributesClasses watches VolumeAttributesClasses, and the claims and volumes
// that name them.
func AttributesClasses(client kubernetes.Interface, factory informers.SharedInformerFactory) (*reconcile.Loop, error) {
	core, classes := factory.Core().V1(), factory.Storage().V1().VolumeAttributesClasses()
	inUse := func(name string) (bool, error) {
		claims, failed := core.PersistentVolumeClaims().Lister().List(labels.Everything())
		volumes, err := core.PersistentVolumes().Lister().List(labels.Everything())
		return slices.ContainsFunc(claims, func(c *v1.PersistentVolumeClaim) bool { return slices.Contains(classesOf(c), name) }) ||
			slices.ContainsFunc(volumes, func(v *v1.PersistentVolume) bool { return slices.Contains(classesOf(v), name) }), errors.Join(failed, err)
	}
	loop := reconcile.New("attributesclassprotection", 1, func(ctx context.Context, name string) error {
		class, err := classes.Lister().Get(name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		used, err := inUse(name)
		if err != nil {
			return err
		}
		want := protectClass(class, used)
		if want == nil {
			return nil
		}
		_, err = client.StorageV1().VolumeAttributesClasses().Update(ctx, want, metav1.UpdateOptions{})
		return ignoreMissing(err)
	})
	return loop, errors.Join(
		loop.Watch(classes.Informer(), nil),
		loop.WatchChanges(core.PersistentVolumeClaims().Informer(), leftClasses),
		loop.WatchChanges(core.PersistentVolumes().Informer(), leftClasses),
	)
}

func protectClass(class *storagev1.VolumeAttributesClass, used bool) *storagev1.VolumeAttributesClass {
	has := slices.Contains(class.Finalizers, ofClasses)
	want := class.DeletionTimestamp == nil || has && used
	if has == want {
		return nil
	}
	changed := class.DeepCopy()
	changed.Finalizers = toggled(changed.Finalizers, ofClasses, want)
	return changed
}

// leftClasses are those that an object named and doesn't any more.
func leftClasses(old, current any) []string {
	now := classesOf(current)
	return slices.DeleteFunc(classesOf(old), func(name string) bool { return slices.Contains(now, name) })
}

// classesOf a claim or volume, all that it has, had or is to get.
func classesOf(o any) (names []string) {
	add := func(name *string) {
		if name != nil && *name != "" {
			names = append(names, *name)
		}
	}
	switch o := o.(type) {
	case *v1.PersistentVolumeClaim:
		add(o.Spec.VolumeAttributesClassName)
		add(o.Status.CurrentVolumeAttributesClassName)
		if o.Status.ModifyVolumeStatus != nil {
			add(&o.Status.ModifyVolumeStatus.TargetVolumeAttributesClassName)
		}
	case *v1.PersistentVolume:
		add(o.Spec.VolumeAttributesClassName)
	}
	return names
}
