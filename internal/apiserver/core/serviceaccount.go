package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ServiceAccount is the identity of pods.
func serviceAccounts() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "serviceaccounts",
		Singular:     "serviceaccount",
		Kind:         "ServiceAccount",
		ShortNames:   []string{"sa"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.ServiceAccount{} },
		NewList:      func() runtime.Object { return &corev1.ServiceAccountList{} },
		Prepare:      meta.Prepare(dropMountedSecrets),
		Warn:         meta.Warn(warnServiceAccount),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(a, _ *corev1.ServiceAccount) { dropMountedSecrets(a) }),
			WarnUpdate:    meta.WarnUpdate(warnServiceAccountUpdate),
			Unconditional: true,
		},
		Columns: meta.Table(meta.Name(), meta.Created()),
		Row: meta.Row(func(a *corev1.ServiceAccount, now metav1.Time) []any {
			return []any{a.Name, meta.Age(a.CreationTimestamp, now)}
		}),
	}
}

// dropMountedSecrets keeps only the names of the secrets: an account refers to
// secrets of its own namespace, whatever else the reference says.
func dropMountedSecrets(a *corev1.ServiceAccount) {
	for i, secret := range a.Secrets {
		a.Secrets[i] = corev1.ObjectReference{Name: secret.Name}
	}
}

const enforceMountableSecrets = "kubernetes.io/enforce-mountable-secrets"

func warnServiceAccount(a *corev1.ServiceAccount) []string {
	if _, set := a.Annotations[enforceMountableSecrets]; !set {
		return nil
	}
	return []string{fmt.Sprintf("metadata.annotations[%s]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets", enforceMountableSecrets)}
}

func warnServiceAccountUpdate(a, old *corev1.ServiceAccount) []string {
	if _, before := old.Annotations[enforceMountableSecrets]; before {
		return nil
	}
	return warnServiceAccount(a)
}
