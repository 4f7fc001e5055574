// Package storageprotection holds what is in use by a finalizer: claims that
// pods use, volumes that are bound, attributes classes that anything names. It
// also says of every bound claim whether and since when no pod uses it.
package storageprotection

import (
	"context"
	"errors"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/storage/ephemeral"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podclaims"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Finalizers that admission gives to every new object of the kind.
const (
	ofClaims  = "kubernetes.io/pvc-protection"
	ofVolumes = "kubernetes.io/pv-protection"
	ofClasses = "kubernetes.io/vac-protection"
)

type claims struct {
	client kubernetes.Interface
	claims listers.PersistentVolumeClaimLister
	pods   cache.Indexer
	clock  clock.PassiveClock
}

// Claims watches claims and the pods that use them.
func Claims(client kubernetes.Interface, factory informers.SharedInformerFactory, clock clock.PassiveClock) (*reconcile.Loop, error) {
	core := factory.Core().V1()
	c := &claims{client: client, claims: core.PersistentVolumeClaims().Lister(), pods: core.Pods().Informer().GetIndexer(), clock: clock}
	loop := reconcile.New("claimprotection", 2, c.reconcile)
	return loop, errors.Join(
		podclaims.Index(core.Pods().Informer()),
		loop.Watch(core.PersistentVolumeClaims().Informer(), nil),
		loop.WatchChanges(core.Pods().Informer(), podChanged),
	)
}

// podChanged asks for a pod's claims when it comes, gets its node, ends and goes.
func podChanged(old, current any) []string {
	before, had := old.(*v1.Pod)
	now, has := current.(*v1.Pod)
	switch {
	case had && has && before.UID != now.UID:
		return append(podclaims.Keys(before), podclaims.Keys(now)...)
	case had && has && before.Spec.NodeName == now.Spec.NodeName && podclaims.Ended(before) == podclaims.Ended(now) && shutDown(before) == shutDown(now):
		return nil
	case has:
		return podclaims.Keys(now)
	default:
		return podclaims.Keys(before)
	}
}

func (c *claims) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	claim, err := c.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if claim.DeletionTimestamp != nil {
		return c.release(ctx, claim)
	}
	if !slices.Contains(claim.Finalizers, ofClaims) {
		protected := claim.DeepCopy()
		protected.Finalizers = append(protected.Finalizers, ofClaims)
		_, err := c.client.CoreV1().PersistentVolumeClaims(namespace).Update(ctx, protected, metav1.UpdateOptions{})
		return err
	}
	return c.tellUse(ctx, claim)
}

// release lets a claim go that no pod with a node uses: a pod without one will
// not get one any more.
func (c *claims) release(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	if !slices.Contains(claim.Finalizers, ofClaims) {
		return nil
	}
	used, err := c.used(ctx, claim, holds)
	if used || err != nil {
		return err
	}
	free := claim.DeepCopy()
	free.Finalizers = slices.DeleteFunc(free.Finalizers, func(f string) bool { return f == ofClaims })
	_, err = c.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, free, metav1.UpdateOptions{})
	return ignoreMissing(err)
}

// used asks the cache, and the API server before it answers no: the pod may be
// newer than the cache.
func (c *claims) used(ctx context.Context, claim *v1.PersistentVolumeClaim, by func(*v1.Pod, *v1.PersistentVolumeClaim) bool) (bool, error) {
	if used, err := c.seenUsed(claim, by); used || err != nil {
		return used, err
	}
	live, err := c.client.CoreV1().Pods(claim.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(live.Items, func(p v1.Pod) bool { return by(&p, claim) }), nil
}

func (c *claims) seenUsed(claim *v1.PersistentVolumeClaim, by func(*v1.Pod, *v1.PersistentVolumeClaim) bool) (bool, error) {
	cached, err := podclaims.Using(c.pods, claim.Namespace, claim.Name)
	return slices.ContainsFunc(cached, func(p *v1.Pod) bool { return by(p, claim) }), err
}

// holds tells whether the claim must outlive the pod.
func holds(p *v1.Pod, claim *v1.PersistentVolumeClaim) bool {
	return p.Spec.NodeName != "" && names(p, claim, !shutDown(p))
}

// uses tells whether the pod needs the claim or may come to need it.
func uses(p *v1.Pod, claim *v1.PersistentVolumeClaim) bool {
	return !podclaims.Ended(p) && names(p, claim, true)
}

func names(p *v1.Pod, claim *v1.PersistentVolumeClaim, ephemerals bool) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(vol v1.Volume) bool {
		if podclaims.Name(p, &vol) != claim.Name {
			return false
		}
		return vol.Ephemeral == nil || ephemerals && ephemeral.VolumeIsForPod(p, claim) == nil
	})
}

// shutDown pods only wait for their removal; their own finalizers may in turn
// wait for the claim.
func shutDown(p *v1.Pod) bool {
	return p.DeletionTimestamp != nil && p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds == 0
}

// tellUse keeps the condition Unused of a bound claim.
func (c *claims) tellUse(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	if claim.Status.Phase != v1.ClaimBound {
		return nil
	}
	used, err := c.seenUsed(claim, uses)
	if err != nil || withUse(claim, used, c.clock.Now()) == nil {
		return err
	}
	if used, err = c.used(ctx, claim, uses); err != nil {
		return err
	}
	changed := withUse(claim, used, c.clock.Now())
	if changed == nil {
		return nil
	}
	_, err = c.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	return ignoreMissing(err)
}

// withUse is the claim with its condition; nil when it says so already.
func withUse(claim *v1.PersistentVolumeClaim, used bool, now time.Time) *v1.PersistentVolumeClaim {
	want := v1.PersistentVolumeClaimCondition{
		Type: v1.PersistentVolumeClaimUnused, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(now),
		Reason: "NoPodsUsingPVC", Message: "No pods are currently referencing this PVC",
	}
	if used {
		want.Status, want.Reason, want.Message = v1.ConditionFalse, "PodUsingPVC", "A pod is currently referencing this PVC"
	}
	at := slices.IndexFunc(claim.Status.Conditions, func(c v1.PersistentVolumeClaimCondition) bool { return c.Type == want.Type })
	if at >= 0 && claim.Status.Conditions[at].Status == want.Status {
		return nil
	}
	changed := claim.DeepCopy()
	if at >= 0 {
		changed.Status.Conditions[at] = want
	} else {
		changed.Status.Conditions = append(changed.Status.Conditions, want)
	}
	return changed
}

func ignoreMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
