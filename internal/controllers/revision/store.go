package revision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	appsinformers "k8s.io/client-go/informers/apps/v1"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/apps/v1"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// maxCollisions of names in one attempt; two templates with one hash are rare,
// more are somebody's joke.
const maxCollisions = 10

// Store of the revisions of one kind's objects.
type Store struct {
	client    kubernetes.Interface
	lister    listers.ControllerRevisionLister
	recent    *reconcile.Recent[*appsv1.ControllerRevision]
	kind      schema.GroupVersionKind
	hashLabel string
}

// NewStore makes one; hashLabel is the label that carries a revision's hash.
func NewStore(client kubernetes.Interface, informer appsinformers.ControllerRevisionInformer, kind schema.GroupVersionKind, hashLabel string, c clock.PassiveClock) *Store {
	return &Store{
		client: client, lister: informer.Lister(), kind: kind, hashLabel: hashLabel,
		recent: reconcile.NewRecent(informer.Informer().GetIndexer().LastStoreSyncResourceVersion, func(r *appsv1.ControllerRevision) *appsv1.ControllerRevision {
			leaving := *r
			leaving.DeletionTimestamp = &metav1.Time{Time: c.Now()}
			return &leaving
		}),
	}
}

// Keys gives the owners that a revision's change concerns.
func (s *Store) Keys(old, current any) (keys []string) {
	for _, o := range []any{old, current} {
		if r, ok := o.(*appsv1.ControllerRevision); ok {
			if key, ours := podcontrol.ControllerKey(r, s.kind.GroupKind()); ours && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// Forget an owner that is gone.
func (s *Store) Forget(owner types.UID) { s.recent.Forget(owner) }

// History of an owner: its revisions, having adopted and released some.
func (s *Store) History(ctx context.Context, owner metav1.Object, selector labels.Selector, live func(context.Context) (metav1.Object, error)) ([]*appsv1.ControllerRevision, error) {
	all, err := s.recent.List(owner.GetUID(), func() ([]*appsv1.ControllerRevision, error) {
		return s.lister.ControllerRevisions(owner.GetNamespace()).List(labels.Everything())
	})
	if err != nil {
		return nil, err
	}
	claims := podcontrol.Sort(owner, podcontrol.Matching[*appsv1.ControllerRevision](selector), all)
	for _, r := range claims.Release {
		if err := s.patch(ctx, r, podcontrol.ReleasePatch(r, owner.GetUID())); err != nil {
			return nil, err
		}
	}
	if len(claims.Adopt) > 0 {
		if err := podcontrol.CanAdopt(ctx, owner, live); err != nil {
			return nil, err
		}
	}
	for _, r := range claims.Adopt {
		if err := s.patch(ctx, r, podcontrol.AdoptPatch(r, owner, s.kind)); err != nil {
			return nil, err
		}
		claims.Mine = append(claims.Mine, r)
	}
	return slices.DeleteFunc(claims.Mine, func(r *appsv1.ControllerRevision) bool { return r.DeletionTimestamp != nil }), nil
}

func (s *Store) patch(ctx context.Context, r *appsv1.ControllerRevision, body []byte) error {
	_, err := s.client.AppsV1().ControllerRevisions(r.Namespace).Patch(ctx, r.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
		return nil
	}
	return err
}

// Current gives the revision of a template, made or brought to the top of the
// history where that is needed, and the others. collisions is raised by every
// name that was taken.
func (s *Store) Current(ctx context.Context, owner metav1.Object, template *v1.PodTemplateSpec, history []*appsv1.ControllerRevision, collisions *int32) (current *appsv1.ControllerRevision, others []*appsv1.ControllerRevision, err error) {
	data, err := Data(template)
	if err != nil {
		return nil, nil, err
	}
	current, others = Find(history, data)
	next := Next(others)
	switch {
	case current == nil:
		current, err = s.create(ctx, owner, template.Labels, data, next, collisions)
	case current.Revision < next && len(others) > 0:
		top := current.DeepCopy()
		top.Revision = next
		current, err = s.client.AppsV1().ControllerRevisions(top.Namespace).Update(ctx, top, metav1.UpdateOptions{})
	}
	return current, others, err
}

func (s *Store) create(ctx context.Context, owner metav1.Object, labels map[string]string, data []byte, number int64, collisions *int32) (*appsv1.ControllerRevision, error) {
	revisions := s.client.AppsV1().ControllerRevisions(owner.GetNamespace())
	for range maxCollisions {
		seed := collisions
		if *collisions == 0 {
			seed = nil
		}
		want := build(owner, s.kind, s.hashLabel, labels, data, number, seed)
		made, err := revisions.Create(ctx, want, metav1.CreateOptions{})
		if err == nil {
			s.recent.Made(owner.GetUID(), made)
			return made, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("revision %s: %w", want.Name, err)
		}
		have, err := revisions.Get(ctx, want.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("revision %s: %w", want.Name, err)
		}
		if bytes.Equal(have.Data.Raw, data) && metav1.IsControlledBy(have, owner) {
			s.recent.Made(owner.GetUID(), have)
			return have, nil
		}
		*collisions++
	}
	return nil, errors.New("no free name for a revision of " + owner.GetName())
}

// Remove revisions.
func (s *Store) Remove(ctx context.Context, owner metav1.Object, surplus []*appsv1.ControllerRevision) error {
	for _, r := range surplus {
		err := s.client.AppsV1().ControllerRevisions(r.Namespace).Delete(ctx, r.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(r.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("remove revision %s: %w", r.Name, err)
		}
		s.recent.Deleted(owner.GetUID(), r.UID)
	}
	return nil
}
