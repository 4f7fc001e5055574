// Package localpath names the built-in storage: what the API server offers as
// the default class, and what the node agents make for it.
package localpath

import (
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names in the API.
const (
	Class       = "local-path"
	Provisioner = "proa.dev/local-path"
	// Finalizer of a volume whose data goes with it.
	Finalizer = "proa.dev/local-path"
)

// StorageClass is the default class: folders on the node that the first pod of a
// claim runs on.
func StorageClass() *storagev1.StorageClass {
	waits, remove, grows := storagev1.VolumeBindingWaitForFirstConsumer, v1.PersistentVolumeReclaimDelete, true
	return &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: Class, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner:          Provisioner,
		ReclaimPolicy:        &remove,
		VolumeBindingMode:    &waits,
		AllowVolumeExpansion: &grows,
	}
}
