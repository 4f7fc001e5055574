package static

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Mirrors keeps a mirror pod in the API for each static pod. It holds no state: what is there says all.
type Mirrors struct {
	Client kubernetes.Interface
	// Node is this node's object, nil while there is none: mirrors belong to it and go with it.
	Node func() *v1.Node
}

// Ensure makes the mirror of a static pod exist and match it, and returns it; nil and no error while that can't be, because the
// API server or the node's object isn't there, or somebody deletes the one that is.
func (m *Mirrors) Ensure(ctx context.Context, static *v1.Pod) (*v1.Pod, error) {
	node := m.Node()
	if node == nil {
		return nil, nil
	}
	pod, err := m.ensure(ctx, static, node)
	if err != nil && unreachable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mirror pod of %s/%s: %w", static.Namespace, static.Name, err)
	}
	return pod, nil
}

func (m *Mirrors) ensure(ctx context.Context, static *v1.Pod, node *v1.Node) (*v1.Pod, error) {
	pods := m.Client.CoreV1().Pods(static.Namespace)
	existing, err := pods.Get(ctx, static.Name, metav1.GetOptions{})
	switch {
	case err == nil && existing.DeletionTimestamp != nil:
		return nil, m.delete(ctx, existing) // its time comes when this one is seen to be gone
	case err == nil && mirrors(existing, static):
		return existing, nil
	case err == nil:
		// Of an older manifest, or no mirror at all: it makes place.
		if err := m.delete(ctx, existing); err != nil {
			return nil, err
		}
	case !absent(err):
		return nil, err
	}
	return pods.Create(ctx, mirrorOf(static, node), metav1.CreateOptions{})
}

// absent: there is no pod of that name on this node. An agent that the API server holds
// to its own pods is told so by being forbidden to look.
func absent(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) }

// mirrors tells whether the API's pod is the mirror of this very manifest.
func mirrors(pod, static *v1.Pod) bool {
	return pod.Annotations[AnnotationMirror] == static.Annotations[AnnotationHash] && pod.Annotations[AnnotationMirror] != ""
}

func mirrorOf(static *v1.Pod, node *v1.Node) *v1.Pod {
	pod := static.DeepCopy()
	pod.UID = ""
	pod.Annotations = maps.Clone(pod.Annotations)
	pod.Annotations[AnnotationMirror] = pod.Annotations[AnnotationHash]
	isController := true
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: &isController}}
	return pod
}

// Remove deletes the mirror of a static pod that has ended, by the static pod's UID: the mirror of a newer manifest stays.
func (m *Mirrors) Remove(ctx context.Context, uid types.UID, namespace, name string) error {
	pod, err := m.Client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err != nil && absent(err):
		return nil
	case err != nil:
		return fmt.Errorf("mirror pod %s/%s: %w", namespace, name, err)
	case pod.Annotations[AnnotationMirror] == "" || pod.Annotations[AnnotationHash] != string(uid):
		return nil
	}
	return m.delete(ctx, pod)
}

func (m *Mirrors) delete(ctx context.Context, pod *v1.Pod) error {
	now := int64(0)
	err := m.Client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// unreachable tells errors of the way to the API server from its answers.
func unreachable(err error) bool {
	var netErr net.Error
	var urlErr *url.Error
	return errors.As(err, &netErr) || errors.As(err, &urlErr) || errors.Is(err, context.DeadlineExceeded) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err)
}
