// Package attachdetach asks drivers to attach volumes to the nodes of the pods
// that want them, by VolumeAttachments, and to detach them when no pod of a node
// has them any more and the node says that it has let go.
package attachdetach

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podclaims"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component that events are from.
const Component = "attachdetach-controller"

// again is when a volume that could not be attached is thought about without news.
const again = 10 * time.Second

type controller struct {
	client      kubernetes.Interface
	pods        corelisters.PodLister
	index       cache.Indexer
	nodes       corelisters.NodeLister
	claims      corelisters.PersistentVolumeClaimLister
	volumes     corelisters.PersistentVolumeLister
	drivers     storagelisters.CSIDriverLister
	attachments storagelisters.VolumeAttachmentLister
	recorder    record.EventRecorder
	clock       clock.PassiveClock
	loop        *reconcile.Loop
}

// New watches pods with claims, nodes and attachments; its keys are nodes.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	core, storage := factory.Core().V1(), factory.Storage().V1()
	c := &controller{
		client: client, recorder: recorder, clock: clock, pods: core.Pods().Lister(), index: core.Pods().Informer().GetIndexer(), nodes: core.Nodes().Lister(),
		claims: core.PersistentVolumeClaims().Lister(), volumes: core.PersistentVolumes().Lister(),
		drivers: storage.CSIDrivers().Lister(), attachments: storage.VolumeAttachments().Lister(),
	}
	c.loop = reconcile.New("attachdetach", 1, c.reconcile)
	c.loop.Needs(core.PersistentVolumes().Informer())
	c.loop.Needs(storage.CSIDrivers().Informer())
	return c.loop, errors.Join(
		podclaims.Index(core.Pods().Informer()),
		c.loop.WatchChanges(core.Pods().Informer(), podChanged),
		c.loop.Watch(core.PersistentVolumeClaims().Informer(), c.claimChanged),
		c.loop.WatchChanges(core.Nodes().Informer(), nodeChanged),
		c.loop.Watch(storage.VolumeAttachments().Informer(), func(o any) []string { return []string{o.(*storagev1.VolumeAttachment).Spec.NodeName} }),
	)
}

// podChanged asks for the node of a pod with claims that came, ended or went.
func podChanged(old, current any) []string {
	before, had := old.(*v1.Pod)
	now, has := current.(*v1.Pod)
	p := now
	if !has {
		p = before
	}
	if p.Spec.NodeName == "" || len(podclaims.Keys(p)) == 0 {
		return nil
	}
	if had && has && before.Spec.NodeName == now.Spec.NodeName && podclaims.Ended(before) == podclaims.Ended(now) {
		return nil
	}
	return []string{p.Spec.NodeName}
}

// claimChanged asks for the nodes of the pods that may have waited for the claim.
func (c *controller) claimChanged(o any) (keys []string) {
	claim := o.(*v1.PersistentVolumeClaim)
	pods, err := podclaims.Using(c.index, claim.Namespace, claim.Name)
	if err != nil {
		return nil
	}
	for _, p := range pods {
		if p.Spec.NodeName != "" {
			keys = append(keys, p.Spec.NodeName)
		}
	}
	return keys
}

// nodeChanged leaves out heartbeats.
func nodeChanged(old, current any) []string {
	before, had := old.(*v1.Node)
	now, has := current.(*v1.Node)
	if !has {
		return []string{before.Name}
	}
	if had && equality.Semantic.DeepEqual(before.Status.VolumesInUse, now.Status.VolumesInUse) && outOfService(before) == outOfService(now) {
		return nil
	}
	return []string{now.Name}
}

func (c *controller) reconcile(ctx context.Context, name string) error {
	all, err := c.attachments.List(labels.Everything())
	if err != nil {
		return err
	}
	v, err := c.look(name, all)
	if err != nil {
		return err
	}
	d := plan(v, all)
	var failed []error
	for _, a := range d.attach {
		_, err := c.client.StorageV1().VolumeAttachments().Create(ctx, a, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			failed = append(failed, fmt.Errorf("attach %s to %s: %w", *a.Spec.Source.PersistentVolumeName, name, err))
		}
	}
	for _, a := range d.detach {
		err := c.client.StorageV1().VolumeAttachments().Delete(ctx, a.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(a.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, fmt.Errorf("detach from %s: %w", name, err))
		}
	}
	for _, r := range d.refused {
		d.again = again
		for _, p := range r.pods {
			c.recorder.Event(p, v1.EventTypeWarning, "FailedAttachVolume", r.message)
		}
	}
	if d.again > 0 {
		c.loop.After(name, d.again)
	}
	c.tell(v)
	return errors.Join(append(failed, c.report(ctx, v, d.attached))...)
}

// tell the pods that wait how the attaching of their volumes went.
func (c *controller) tell(v view) {
	for _, a := range v.attachments {
		w, wanted := v.wants[a.Name]
		if !wanted {
			continue
		}
		for _, p := range w.pods {
			switch {
			case p.Status.Phase != v1.PodPending:
			case a.Status.Attached:
				c.recorder.Eventf(p, v1.EventTypeNormal, "SuccessfulAttachVolume", "AttachVolume.Attach succeeded for volume %q ", w.volume.Name)
			case a.Status.AttachError != nil:
				c.recorder.Eventf(p, v1.EventTypeWarning, "FailedAttachVolume", "AttachVolume.Attach failed for volume %q : %s", w.volume.Name, a.Status.AttachError.Message)
			}
		}
	}
}

// report has the Node say what is attached to it.
func (c *controller) report(ctx context.Context, v view, attached []v1.AttachedVolume) error {
	if v.node == nil || equality.Semantic.DeepEqual(v.node.Status.VolumesAttached, attached) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"volumesAttached": attached}})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, v.name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// look gathers what is known around a node.
func (c *controller) look(name string, all []*storagev1.VolumeAttachment) (view, error) {
	v := view{name: name, wants: map[string]want{}, now: c.clock.Now(), volume: c.volumeNamed}
	node, err := c.nodes.Get(name)
	if err != nil && !apierrors.IsNotFound(err) {
		return v, err
	}
	if err == nil {
		v.node = node
	}
	for _, a := range all {
		if a.Spec.NodeName == name {
			v.attachments = append(v.attachments, a)
		}
	}
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return v, err
	}
	for _, p := range pods {
		if p.Spec.NodeName == name && !podclaims.Ended(p) {
			c.addWants(v.wants, p)
		}
	}
	return v, nil
}

func (c *controller) volumeNamed(name string) *v1.PersistentVolume {
	v, err := c.volumes.Get(name)
	if err != nil {
		return nil
	}
	return v
}

// addWants adds the volumes of a pod that a driver must attach.
func (c *controller) addWants(wants map[string]want, p *v1.Pod) {
	for i := range p.Spec.Volumes {
		name := podclaims.Name(p, &p.Spec.Volumes[i])
		if name == "" {
			continue
		}
		claim, err := c.claims.PersistentVolumeClaims(p.Namespace).Get(name)
		if err != nil || claim.Status.Phase != v1.ClaimBound {
			continue
		}
		volume := c.volumeNamed(claim.Spec.VolumeName)
		if volume == nil || volume.Spec.CSI == nil || volume.Spec.ClaimRef == nil || volume.Spec.ClaimRef.UID != claim.UID || !c.attaches(volume.Spec.CSI.Driver) {
			continue
		}
		w := wants[nameOf(volume, p.Spec.NodeName)]
		w.volume, w.pods = volume, append(w.pods, p)
		wants[nameOf(volume, p.Spec.NodeName)] = w
	}
}

// attaches tells whether the driver wants to be asked; one that says nothing does.
func (c *controller) attaches(driver string) bool {
	d, err := c.drivers.Get(driver)
	return err != nil || d.Spec.AttachRequired == nil || *d.Spec.AttachRequired
}
