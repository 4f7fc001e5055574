package volumes

import (
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	storagehelpers "k8s.io/component-helpers/storage/volume"
	"slices"

	"github.com/proa-project/proa/internal/scheduler"
)

// need is what one pod's volumes ask of a node.
type need struct {
	*Binder
	pod    *v1.Pod
	claims claims
	// usedAlready: a claim that one pod alone may have has one.
	usedAlready bool
	devices     []device
}

var _ scheduler.VolumeNeed = (*need)(nil)

// lookAround works out what doesn't depend on the node.
func (n *need) lookAround() error {
	pods, err := n.pods.Pods(n.pod.Namespace).List(labels.Everything())
	if err != nil {
		return err
	}
	alone := map[string]bool{}
	for _, b := range n.claims.bound {
		alone[b.claim.Name] = slices.Contains(b.claim.Spec.AccessModes, v1.ReadWriteOncePod)
		if d, is := deviceOf(b.claim, b.volume, nil); is {
			n.devices = append(n.devices, d)
		}
	}
	for _, l := range n.claims.loose {
		alone[l.claim.Name] = slices.Contains(l.claim.Spec.AccessModes, v1.ReadWriteOncePod)
		if d, is := deviceOf(l.claim, nil, l.class); is {
			n.devices = append(n.devices, d)
		}
	}
	n.usedAlready = slices.ContainsFunc(pods, func(other *v1.Pod) bool { return n.holdsOne(other, alone) })
	return nil
}

// holdsOne tells whether a pod on a node has one of the claims that only one may have.
func (n *need) holdsOne(other *v1.Pod, alone map[string]bool) bool {
	if other.UID == n.pod.UID || other.Spec.NodeName == "" || other.Status.Phase == v1.PodSucceeded || other.Status.Phase == v1.PodFailed {
		return false
	}
	return slices.ContainsFunc(other.Spec.Volumes, func(vol v1.Volume) bool {
		return vol.PersistentVolumeClaim != nil && alone[vol.PersistentVolumeClaim.ClaimName]
	})
}

// Refuse says why the volumes can't be on a node.
func (n *need) Refuse(node *v1.Node) []scheduler.Reason {
	if n.usedAlready {
		return []scheduler.Reason{usedAlready}
	}
	if reasons := n.limits(node); len(reasons) > 0 {
		return reasons
	}
	_, reasons := n.claims.fit(node, n.space())
	return reasons
}

// limits counts the devices on the node only where a driver has a limit at all.
func (n *need) limits(node *v1.Node) []scheduler.Reason {
	if len(n.devices) == 0 {
		return nil
	}
	csiNode, err := n.csiNodes.Get(node.Name)
	if err != nil {
		csiNode = nil
	}
	there := map[device]bool{}
	if limited(csiNode) {
		there = n.devicesOn(node.Name)
	}
	return overLimit(csiNode, n.devices, there, n.driver)
}

func limited(node *storagev1.CSINode) bool {
	return node != nil && slices.ContainsFunc(node.Spec.Drivers, func(d storagev1.CSINodeDriver) bool { return d.Allocatable != nil && d.Allocatable.Count != nil })
}

// devicesOn a node are those of its pods, and those that are still attached.
func (n *need) devicesOn(node string) map[device]bool {
	attachments, err := n.attachments.List(labels.Everything())
	if err != nil {
		attachments = nil // a lister in memory has no errors
	}
	there := attachedTo(node, attachments, n.volumeNamed)
	pods, err := n.pods.List(labels.Everything())
	if err != nil {
		return there
	}
	for _, p := range pods {
		if p.Spec.NodeName != node || p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed {
			continue
		}
		for i := range p.Spec.Volumes {
			claim, _, err := n.claimOf(p, &p.Spec.Volumes[i])
			if err != nil || claim == nil {
				continue
			}
			if d, is := deviceOf(claim, n.volumeNamed(claim.Spec.VolumeName), nil); is {
				there[d] = true
			}
		}
	}
	return there
}

func (b *Binder) volumeNamed(name string) *v1.PersistentVolume {
	v, err := b.volumes.Get(name)
	if err != nil {
		return nil
	}
	return v
}

// Reserve promises the pod what it would get on the node.
func (n *need) Reserve(nodeName string) (scheduler.Reservation, error) {
	if len(n.claims.loose) == 0 {
		return nil, nil
	}
	node, err := n.nodes.Get(nodeName)
	if err != nil {
		return nil, err
	}
	chosen, _ := n.claims.fit(node, n.space())
	r := &reservation{Binder: n.Binder, node: node}
	for _, m := range chosen.match {
		volume, _, err := storagehelpers.GetBindVolumeToClaim(m.volume, m.claim)
		if err != nil {
			return nil, err
		}
		r.volumes, r.matched = append(r.volumes, volume), append(r.matched, m.claim)
	}
	for _, claim := range chosen.provide {
		called := claim.DeepCopy()
		metav1.SetMetaDataAnnotation(&called.ObjectMeta, storagehelpers.AnnSelectedNode, nodeName)
		r.called = append(r.called, called)
	}
	r.promises.make(r.volumes, r.called)
	return r, nil
}
