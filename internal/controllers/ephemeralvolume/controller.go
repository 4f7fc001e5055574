// Package ephemeralvolume makes the claims of pods' generic ephemeral volumes.
// The pod owns its claim, so the garbage collector removes it.
package ephemeralvolume

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/storage/ephemeral"

	"github.com/proa-project/proa/internal/controllers/podclaims"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component that events are from.
const Component = "ephemeral_volume"

type controller struct {
	client   kubernetes.Interface
	pods     listers.PodLister
	index    cache.Indexer
	claims   listers.PersistentVolumeClaimLister
	recorder record.EventRecorder
}

// New watches pods, and claims for those that somebody deletes under a pod.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder) (*reconcile.Loop, error) {
	core := factory.Core().V1()
	c := &controller{
		client: client, recorder: recorder, pods: core.Pods().Lister(), index: core.Pods().Informer().GetIndexer(),
		claims: core.PersistentVolumeClaims().Lister(),
	}
	loop := reconcile.New("ephemeralvolume", 2, c.reconcile)
	return loop, errors.Join(
		podclaims.Index(core.Pods().Informer()),
		loop.WatchChanges(core.Pods().Informer(), podCame),
		loop.WatchChanges(core.PersistentVolumeClaims().Informer(), c.claimWent),
	)
}

func podCame(old, current any) []string {
	p, ok := current.(*v1.Pod)
	if !ok || old != nil || !hasEphemeral(p) {
		return nil
	}
	return []string{p.Namespace + "/" + p.Name}
}

func hasEphemeral(p *v1.Pod) bool {
	for i := range p.Spec.Volumes {
		if p.Spec.Volumes[i].Ephemeral != nil {
			return true
		}
	}
	return false
}

func (c *controller) claimWent(old, current any) (keys []string) {
	claim, ok := old.(*v1.PersistentVolumeClaim)
	if !ok || current != nil {
		return nil
	}
	pods, err := podclaims.Using(c.index, claim.Namespace, claim.Name)
	if err != nil {
		return nil
	}
	for _, p := range pods {
		if hasEphemeral(p) {
			keys = append(keys, p.Namespace+"/"+p.Name)
		}
	}
	return keys
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	p, err := c.pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) || err == nil && p.DeletionTimestamp != nil {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range p.Spec.Volumes {
		vol := &p.Spec.Volumes[i]
		if vol.Ephemeral == nil {
			continue
		}
		if err := c.ensure(ctx, p, vol); err != nil {
			c.recorder.Eventf(p, v1.EventTypeWarning, "FailedBinding", "ephemeral volume %s: %v", vol.Name, err)
			return fmt.Errorf("pod %s, ephemeral volume %s: %w", key, vol.Name, err)
		}
	}
	return nil
}

// ensure makes the claim of a volume, unless it is there; one of that name that
// is not the pod's is an error.
func (c *controller) ensure(ctx context.Context, p *v1.Pod, vol *v1.Volume) error {
	want := claimOf(p, vol)
	have, err := c.claims.PersistentVolumeClaims(p.Namespace).Get(want.Name)
	if err == nil {
		return ephemeral.VolumeIsForPod(p, have)
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = c.client.CoreV1().PersistentVolumeClaims(p.Namespace).Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // the cache is behind
		if have, err = c.client.CoreV1().PersistentVolumeClaims(p.Namespace).Get(ctx, want.Name, metav1.GetOptions{}); err == nil {
			return ephemeral.VolumeIsForPod(p, have)
		}
	}
	if err != nil {
		return fmt.Errorf("create PVC %s: %w", want.Name, err)
	}
	return nil
}

func claimOf(p *v1.Pod, vol *v1.Volume) *v1.PersistentVolumeClaim {
	template := vol.Ephemeral.VolumeClaimTemplate
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Name: ephemeral.VolumeClaimName(p, vol), Namespace: p.Namespace, Labels: template.Labels, Annotations: template.Annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(p, v1.SchemeGroupVersion.WithKind("Pod"))},
		},
		Spec: template.Spec,
	}
}
