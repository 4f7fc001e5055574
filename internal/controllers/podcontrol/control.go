package podcontrol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Owner of pods: any API object.
type Owner interface {
	metav1.Object
	runtime.Object
}

// Control is one controller's hand on its pods.
type Control struct {
	Kind     schema.GroupVersionKind // of the owners
	client   kubernetes.Interface
	recorder record.EventRecorder
	indexer  cache.Indexer
	recent   *reconcile.Recent[*v1.Pod]
}

// byController is the index of pods by their controller's UID; pods without one
// are under their namespace.
const byController = "controller"

func controllerIndex(o any) ([]string, error) {
	p, ok := o.(*v1.Pod)
	if !ok {
		return nil, nil
	}
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
		return []string{string(ref.UID)}, nil
	}
	return []string{orphansOf(p.Namespace)}, nil
}

func orphansOf(namespace string) string { return "orphan/" + namespace }

// New makes the control of the pods of owners of a kind.
func New(client kubernetes.Interface, pods cache.SharedIndexInformer, recorder record.EventRecorder, kind schema.GroupVersionKind, c clock.PassiveClock) (*Control, error) {
	if _, have := pods.GetIndexer().GetIndexers()[byController]; !have {
		if err := pods.AddIndexers(cache.Indexers{byController: controllerIndex}); err != nil {
			return nil, fmt.Errorf("index pods by controller: %w", err)
		}
	}
	control := &Control{Kind: kind, client: client, recorder: recorder, indexer: pods.GetIndexer()}
	control.recent = reconcile.NewRecent(control.indexer.LastStoreSyncResourceVersion, func(p *v1.Pod) *v1.Pod {
		leaving := *p
		leaving.DeletionTimestamp = &metav1.Time{Time: c.Now()}
		return &leaving
	})
	return control, nil
}

// Of lists the pods that an owner controls, what it has just done to them
// included; with orphans also those of its namespace that nobody controls.
func (c *Control) Of(owner metav1.Object, orphans bool) ([]*v1.Pod, error) {
	return c.recent.List(owner.GetUID(), func() ([]*v1.Pod, error) {
		keys := []string{string(owner.GetUID())}
		if orphans {
			keys = append(keys, orphansOf(owner.GetNamespace()))
		}
		var pods []*v1.Pod
		for _, k := range keys {
			found, err := c.indexer.ByIndex(byController, k)
			if err != nil {
				return nil, err
			}
			for _, o := range found {
				pods = append(pods, o.(*v1.Pod))
			}
		}
		return pods, nil
	})
}

// Forget drops what is remembered of an owner that is gone.
func (c *Control) Forget(owner types.UID) { c.recent.Forget(owner) }

// Create makes a pod of an owner. Nothing can be made in a namespace that is
// being deleted, which is no error.
func (c *Control) Create(ctx context.Context, owner Owner, pod *v1.Pod) error {
	if len(pod.Labels) == 0 {
		return errors.New("unable to create pods, no labels")
	}
	made, err := c.Make(ctx, owner, pod)
	switch {
	case err != nil && ctx.Err() == nil:
		c.recorder.Eventf(owner, v1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	case made != nil:
		c.recorder.Eventf(owner, v1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", made.Name)
	}
	return err
}

// Make is Create without events; the pod is nil in a namespace that is being
// deleted.
func (c *Control) Make(ctx context.Context, owner Owner, pod *v1.Pod) (*v1.Pod, error) {
	made, err := c.client.CoreV1().Pods(owner.GetNamespace()).Create(ctx, pod, metav1.CreateOptions{})
	if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.recent.Made(owner.GetUID(), made)
	return made, nil
}

// Delete ends a pod of an owner.
func (c *Control) Delete(ctx context.Context, owner Owner, pod *v1.Pod) error {
	done, err := c.End(ctx, owner, pod)
	switch {
	case err != nil && ctx.Err() == nil:
		c.recorder.Eventf(owner, v1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
	case done:
		c.recorder.Eventf(owner, v1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", pod.Name)
	}
	if err != nil {
		return fmt.Errorf("unable to delete pods: %w", err)
	}
	return nil
}

// End is Delete without events; done is false if somebody else was faster.
func (c *Control) End(ctx context.Context, owner Owner, pod *v1.Pod) (done bool, err error) {
	err = c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	gone := apierrors.IsNotFound(err) || apierrors.IsConflict(err) // of a conflict: another one has its name
	if err != nil && !gone {
		return false, err
	}
	c.recent.Deleted(owner.GetUID(), pod.UID)
	return !gone, nil
}

// Claim adopts and releases pods, and returns those that are the owner's.
// live asks the API server for the owner, before something is adopted by one
// that is about to go.
func (c *Control) Claim(ctx context.Context, owner metav1.Object, matches func(*v1.Pod) bool, pods []*v1.Pod, live func(context.Context) (metav1.Object, error), finalizers ...string) ([]*v1.Pod, error) {
	claims := Sort(owner, matches, pods)
	var failed []error
	for _, p := range claims.Release {
		failed = append(failed, ignoreNotFound(c.patch(ctx, p, ReleasePatch(p, owner.GetUID(), finalizers...))))
	}
	if len(claims.Adopt) > 0 {
		if err := CanAdopt(ctx, owner, live); err != nil {
			return claims.Mine, errors.Join(append(failed, err)...)
		}
	}
	for _, p := range claims.Adopt {
		err := c.patch(ctx, p, AdoptPatch(p, owner, c.Kind, finalizers...))
		if err == nil {
			claims.Mine = append(claims.Mine, p)
		}
		failed = append(failed, ignoreNotFound(err))
	}
	return claims.Mine, errors.Join(failed...)
}

// CanAdopt asks the API server whether an owner is still there to adopt.
func CanAdopt(ctx context.Context, owner metav1.Object, live func(context.Context) (metav1.Object, error)) error {
	fresh, err := live(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("can't adopt for %s/%s: %w", owner.GetNamespace(), owner.GetName(), err)
	case fresh.GetUID() != owner.GetUID() || fresh.GetDeletionTimestamp() != nil:
		return fmt.Errorf("can't adopt for %s/%s, which has just been deleted", owner.GetNamespace(), owner.GetName())
	}
	return nil
}

func (c *Control) patch(ctx context.Context, pod *v1.Pod, patch []byte) error {
	_, err := c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	return err
}

// RemoveFinalizer takes a finalizer off a pod.
func (c *Control) RemoveFinalizer(ctx context.Context, pod *v1.Pod, finalizer string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID, "$deleteFromPrimitiveList/finalizers": []string{finalizer}}})
	if err != nil {
		return err
	}
	return ignoreNotFound(c.patch(ctx, pod, patch))
}

// AdoptPatch makes an owner the controller of an object.
func AdoptPatch(object, owner metav1.Object, kind schema.GroupVersionKind, finalizers ...string) []byte {
	metadata := map[string]any{"uid": object.GetUID(), "ownerReferences": []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)}}
	if len(finalizers) > 0 {
		metadata["finalizers"] = finalizers
	}
	return mustEncode(map[string]any{"metadata": metadata})
}

// ReleasePatch takes an owner off an object.
func ReleasePatch(object metav1.Object, owner types.UID, finalizers ...string) []byte {
	metadata := map[string]any{"uid": object.GetUID(), "ownerReferences": []map[string]any{{"$patch": "delete", "uid": owner}}}
	if len(finalizers) > 0 {
		metadata["$deleteFromPrimitiveList/finalizers"] = finalizers
	}
	return mustEncode(map[string]any{"metadata": metadata})
}

func mustEncode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and references only
	}
	return body
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) { // invalid: it was made anew meanwhile
		return nil
	}
	return err
}

// Keys gives the keys of the owners of a kind that a pod's change concerns: its
// controllers before and after; for an orphan those that match it.
func Keys(kind schema.GroupKind, matching func(*v1.Pod) []string) func(old, current any) []string {
	return func(old, current any) []string {
		before, _ := old.(*v1.Pod)
		now, _ := current.(*v1.Pod)
		var keys []string
		for _, p := range []*v1.Pod{before, now} {
			if p == nil {
				continue
			}
			if key, ok := ControllerKey(p, kind); ok && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
		if now != nil && now.DeletionTimestamp == nil && metav1.GetControllerOfNoCopy(now) == nil && orphanChanged(before, now) {
			keys = append(keys, matching(now)...)
		}
		return keys
	}
}

func orphanChanged(before, now *v1.Pod) bool {
	return before == nil || !labels.Equals(before.Labels, now.Labels) || metav1.GetControllerOfNoCopy(before) != nil
}

// ControllerKey of an object that a controller of that kind owns.
func ControllerKey(o metav1.Object, kind schema.GroupKind) (string, bool) {
	ref := metav1.GetControllerOfNoCopy(o)
	if ref == nil || ref.Kind != kind.Kind || schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).Group != kind.Group {
		return "", false
	}
	return o.GetNamespace() + "/" + ref.Name, true
}
