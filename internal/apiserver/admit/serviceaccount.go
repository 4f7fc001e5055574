package admit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/storage/names"
)

// ServiceAccounts gives every pod a service account, its pull secrets and the
// volume with its token.
func ServiceAccounts(get func(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)) admission.Interface {
	s := serviceAccounts{get}
	return Plugin[*corev1.Pod]{Name: "ServiceAccount", Resource: pods, Subresources: []string{"ephemeralcontainers"}, Operations: onWrite, Mutate: s.mutate, Check: s.check}
}

type serviceAccounts struct {
	get func(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
}

const (
	defaultAccount = "default"
	tokenPath      = "/var/run/secrets/kubernetes.io/serviceaccount"
	tokenVolume    = "kube-api-access-"
	tokenLifetime  = 3607 // odd on purpose: see package token
	rootCA         = "kube-root-ca.crt"

	mountableAnnotation = "kubernetes.io/enforce-mountable-secrets"

	// A new namespace has its default account after a moment.
	defaultAccountWait = 2 * time.Second
	defaultAccountPoll = 5 * time.Millisecond
)

func (s serviceAccounts) mutate(ctx context.Context, r Request[*corev1.Pod]) error {
	pod := r.Object
	if r.GetOperation() != admission.Create || isMirror(pod) {
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
		pod.Spec.DeprecatedServiceAccount = defaultAccount
	}
	account, err := s.account(ctx, r)
	if err != nil {
		return err
	}
	if mountsToken(account, pod) {
		mountToken(pod, names.SimpleNameGenerator.GenerateName)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = append([]corev1.LocalObjectReference{}, account.ImagePullSecrets...)
	}
	return nil
}

func (s serviceAccounts) check(ctx context.Context, r Request[*corev1.Pod]) error {
	pod := r.Object
	ephemeral := r.GetSubresource() == "ephemeralcontainers" && r.GetOperation() == admission.Update
	if r.GetOperation() != admission.Create && !ephemeral {
		return nil
	}
	if isMirror(pod) && !ephemeral {
		return forbid(r, checkMirror(pod))
	}
	if pod.Spec.ServiceAccountName == "" {
		return forbid(r, fmt.Errorf("no service account specified for pod %s/%s", r.GetNamespace(), pod.Name))
	}
	account, err := s.account(ctx, r)
	if err != nil {
		return err
	}
	if enforce, _ := strconv.ParseBool(account.Annotations[mountableAnnotation]); enforce {
		return forbid(r, checkMountable(account, pod, ephemeral))
	}
	return nil
}

func forbid(a admission.Attributes, err error) error {
	if err == nil {
		return nil
	}
	return admission.NewForbidden(a, err)
}

// account waits a little for the default account of a new namespace.
func (s serviceAccounts) account(ctx context.Context, r Request[*corev1.Pod]) (*corev1.ServiceAccount, error) {
	name := r.Object.Spec.ServiceAccountName
	ctx, cancel := context.WithTimeout(ctx, defaultAccountWait)
	defer cancel()
	for {
		account, err := s.get(ctx, r.GetNamespace(), name)
		if err == nil {
			return account, nil
		}
		if name == defaultAccount && apierrors.IsNotFound(err) {
			select {
			case <-time.After(defaultAccountPoll):
				continue
			case <-ctx.Done():
			}
		}
		if apierrors.IsNotFound(err) {
			err = apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccount"}, name)
		}
		return nil, forbid(r, fmt.Errorf("error looking up service account %s/%s: %w", r.GetNamespace(), name, err))
	}
}

func mountsToken(account *corev1.ServiceAccount, pod *corev1.Pod) bool {
	if pod.Spec.AutomountServiceAccountToken != nil {
		return *pod.Spec.AutomountServiceAccountToken
	}
	return account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken
}

// mountToken adds the token to every container that has nothing at its path.
func mountToken(pod *corev1.Pod, name func(prefix string) string) {
	volume := ""
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, tokenVolume) {
			volume = v.Name
			break
		}
	}
	have := volume != ""
	if !have {
		volume = name(tokenVolume)
	}
	mounted := false
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if !hasMountAt(&list[i], tokenPath) {
				list[i].VolumeMounts = append(list[i].VolumeMounts, corev1.VolumeMount{Name: volume, ReadOnly: true, MountPath: tokenPath})
				mounted = true
			}
		}
	}
	if !have && mounted {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Projected: tokenSource()}})
	}
}

func hasMountAt(c *corev1.Container, path string) bool {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			return true
		}
	}
	return false
}

// tokenSource is the token, the cluster's CA and the namespace. It is complete
// with all defaults: admission comes after defaulting.
func tokenSource() *corev1.ProjectedVolumeSource {
	lifetime, mode := int64(tokenLifetime), corev1.ProjectedVolumeSourceDefaultMode
	return &corev1.ProjectedVolumeSource{
		DefaultMode: &mode,
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: &lifetime, Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: rootCA},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}},
		},
	}
}

func isMirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

func checkMirror(pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return errors.New("a mirror pod may not reference service accounts")
	}
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil {
			return errors.New("a mirror pod may not reference secrets")
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				return errors.New("a mirror pod may not use ServiceAccountToken volume projections")
			}
			if s.Secret != nil {
				return errors.New("a mirror pod may not reference secrets")
			}
		}
	}
	for _, c := range append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		if len(secretsOf(c.Env, c.EnvFrom)) > 0 {
			return errors.New("a mirror pod may not reference secrets")
		}
	}
	return nil
}

// checkMountable: an account may limit its pods to the secrets it lists.
func checkMountable(account *corev1.ServiceAccount, pod *corev1.Pod, ephemeral bool) error {
	allowed := map[string]bool{}
	for _, s := range account.Secrets {
		allowed[s.Name] = true
	}
	refused := func(what string, env []corev1.EnvVar, from []corev1.EnvFromSource, name string) error {
		for _, ref := range secretsOf(env, from) {
			if allowed[ref.secret] {
				continue
			}
			if ref.env != "" {
				return fmt.Errorf("%s %s with envVar %s referencing secret.secretName=%q is not allowed because service account %s does not reference that secret", what, name, ref.env, ref.secret, account.Name)
			}
			return fmt.Errorf("%s %s with envFrom referencing secret.secretName=%q is not allowed because service account %s does not reference that secret", what, name, ref.secret, account.Name)
		}
		return nil
	}
	if ephemeral {
		for _, c := range pod.Spec.EphemeralContainers {
			if err := refused("ephemeral container", c.Env, c.EnvFrom, c.Name); err != nil {
				return err
			}
		}
		return nil
	}
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil && !allowed[v.Secret.SecretName] {
			return fmt.Errorf("volume with secret.secretName=%q is not allowed because service account %s does not reference that secret", v.Secret.SecretName, account.Name)
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if err := refused("init container", c.Env, c.EnvFrom, c.Name); err != nil {
			return err
		}
	}
	for _, c := range pod.Spec.Containers {
		if err := refused("container", c.Env, c.EnvFrom, c.Name); err != nil {
			return err
		}
	}
	pull := map[string]bool{}
	for _, s := range account.ImagePullSecrets {
		pull[s.Name] = true
	}
	for i, s := range pod.Spec.ImagePullSecrets {
		if !pull[s.Name] {
			return fmt.Errorf("imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, s.Name, account.Name)
		}
	}
	return nil
}

type secretRef struct{ env, secret string }

func secretsOf(env []corev1.EnvVar, from []corev1.EnvFromSource) (refs []secretRef) {
	for _, e := range env {
		if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			refs = append(refs, secretRef{e.Name, e.ValueFrom.SecretKeyRef.Name})
		}
	}
	for _, f := range from {
		if f.SecretRef != nil {
			refs = append(refs, secretRef{"", f.SecretRef.Name})
		}
	}
	return refs
}
