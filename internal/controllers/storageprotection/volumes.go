package storageprotection

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Volumes watches volumes: a bound one stays until its claim is gone.
func Volumes(client kubernetes.Interface, factory informers.SharedInformerFactory) (*reconcile.Loop, error) {
	volumes := factory.Core().V1().PersistentVolumes()
	loop := reconcile.New("volumeprotection", 1, func(ctx context.Context, name string) error {
		volume, err := volumes.Lister().Get(name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		want := protectVolume(volume)
		if want == nil {
			return nil
		}
		_, err = client.CoreV1().PersistentVolumes().Update(ctx, want, metav1.UpdateOptions{})
		return ignoreMissing(err)
	})
	return loop, loop.Watch(volumes.Informer(), nil)
}

// protectVolume is the volume with or without the finalizer; nil when it is as
// it should be.
func protectVolume(volume *v1.PersistentVolume) *v1.PersistentVolume {
	has := slices.Contains(volume.Finalizers, ofVolumes)
	want := volume.DeletionTimestamp == nil || has && volume.Status.Phase == v1.VolumeBound
	if has == want {
		return nil
	}
	changed := volume.DeepCopy()
	changed.Finalizers = toggled(changed.Finalizers, ofVolumes, want)
	return changed
}

func toggled(finalizers []string, name string, on bool) []string {
	if on {
		return append(finalizers, name)
	}
	return slices.DeleteFunc(finalizers, func(f string) bool { return f == name })
}
