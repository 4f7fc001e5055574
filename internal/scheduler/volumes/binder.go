package volumes

import (
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/storage/ephemeral"
	storagehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"github.com/proa-project/proa/internal/scheduler"
)

// patience is how long a pod on its way waits for its volumes before it is
// thought about anew.
const patience = 10 * time.Minute

// Binder is the scheduler's knowledge of volumes.
type Binder struct {
	client      kubernetes.Interface
	claims      corelisters.PersistentVolumeClaimLister
	volumes     corelisters.PersistentVolumeLister
	pods        corelisters.PodLister
	nodes       corelisters.NodeLister
	classes     storagelisters.StorageClassLister
	drivers     storagelisters.CSIDriverLister
	csiNodes    storagelisters.CSINodeLister
	attachments storagelisters.VolumeAttachmentLister
	capacities  storagelisters.CSIStorageCapacityLister
	promises    *promises

	mu      sync.Mutex
	listen  []func()
	changed chan struct{} // closed at the next change
}

var _ scheduler.Volumes = (*Binder)(nil)

// New registers with the informers, so it must be called before they start.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory) (*Binder, error) {
	core, storage := factory.Core().V1(), factory.Storage().V1()
	b := &Binder{
		client: client, claims: core.PersistentVolumeClaims().Lister(), volumes: core.PersistentVolumes().Lister(), pods: core.Pods().Lister(),
		nodes: core.Nodes().Lister(), classes: storage.StorageClasses().Lister(), drivers: storage.CSIDrivers().Lister(), csiNodes: storage.CSINodes().Lister(),
		attachments: storage.VolumeAttachments().Lister(), capacities: storage.CSIStorageCapacities().Lister(),
		promises: newPromises(), changed: make(chan struct{}),
	}
	for _, informer := range []cache.SharedIndexInformer{
		core.PersistentVolumeClaims().Informer(), core.PersistentVolumes().Informer(), storage.StorageClasses().Informer(),
		storage.CSIDrivers().Informer(), storage.CSINodes().Informer(), storage.VolumeAttachments().Informer(), storage.CSIStorageCapacities().Informer(),
	} {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { b.happened() }, UpdateFunc: func(any, any) { b.happened() }, DeleteFunc: func(any) { b.happened() },
		}); err != nil {
			return nil, fmt.Errorf("scheduler's volumes: %w", err)
		}
	}
	return b, nil
}

// OnChange has f called whenever any of the objects changed.
func (b *Binder) OnChange(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listen = append(b.listen, f)
}

func (b *Binder) happened() {
	b.mu.Lock()
	close(b.changed)
	b.changed = make(chan struct{})
	listen := b.listen
	b.mu.Unlock()
	for _, f := range listen {
		f()
	}
}

// change is closed at the next change.
func (b *Binder) change() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// Need sorts the pod's claims into bound ones and those that wait for the pod.
func (b *Binder) Need(pod *v1.Pod) (scheduler.VolumeNeed, string, error) {
	n := &need{Binder: b, pod: pod}
	immediate := false
	for i := range pod.Spec.Volumes {
		claim, nowhere, err := b.claimOf(pod, &pod.Spec.Volumes[i])
		if nowhere != "" || err != nil {
			return nil, nowhere, err
		}
		if claim == nil {
			continue
		}
		unbound, err := n.add(claim)
		if err != nil {
			return nil, "", err
		}
		immediate = immediate || unbound
	}
	switch {
	case immediate:
		return nil, "pod has unbound immediate PersistentVolumeClaims", nil
	case len(n.claims.bound) == 0 && len(n.claims.loose) == 0:
		return nil, "", nil
	}
	slices.SortStableFunc(n.claims.loose, func(a, b looseClaim) int {
		x, y := a.claim.Spec.Resources.Requests[v1.ResourceStorage], b.claim.Spec.Resources.Requests[v1.ResourceStorage]
		return x.Cmp(y)
	})
	return n, "", n.lookAround()
}

// claimOf is the claim behind a volume; nil for other kinds of volumes.
func (b *Binder) claimOf(pod *v1.Pod, vol *v1.Volume) (claim *v1.PersistentVolumeClaim, nowhere string, err error) {
	name := ""
	switch {
	case vol.PersistentVolumeClaim != nil:
		name = vol.PersistentVolumeClaim.ClaimName
	case vol.Ephemeral != nil:
		name = ephemeral.VolumeClaimName(pod, vol)
	default:
		return nil, "", nil
	}
	claim, err = b.claims.PersistentVolumeClaims(pod.Namespace).Get(name)
	switch {
	case apierrors.IsNotFound(err) && vol.Ephemeral != nil:
		return nil, fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name), nil
	case apierrors.IsNotFound(err):
		return nil, fmt.Sprintf("persistentvolumeclaim %q not found", name), nil
	case err != nil:
		return nil, "", err
	case claim.Status.Phase == v1.ClaimLost:
		return nil, fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", name, claim.Spec.VolumeName), nil
	case claim.DeletionTimestamp != nil:
		return nil, fmt.Sprintf("persistentvolumeclaim %q is being deleted", name), nil
	}
	if vol.Ephemeral != nil {
		if err := ephemeral.VolumeIsForPod(pod, claim); err != nil {
			return nil, err.Error(), nil
		}
	}
	return b.promises.claim(claim), "", nil
}

// add puts a claim where it belongs; unbound: it is none of the scheduler's
// business, and not bound yet.
func (n *need) add(claim *v1.PersistentVolumeClaim) (unbound bool, err error) {
	if boundFully(claim) {
		volume, err := n.volumes.Get(claim.Spec.VolumeName)
		if err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
		if err != nil {
			volume = nil
		}
		n.claims.bound = append(n.claims.bound, boundClaim{claim, volume})
		return false, nil
	}
	name := storagehelpers.GetPersistentVolumeClaimClass(claim)
	class, err := n.classes.Get(name)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	if err != nil || claim.Spec.VolumeName != "" ||
		ptr.Deref(class.VolumeBindingMode, storagev1.VolumeBindingImmediate) != storagev1.VolumeBindingWaitForFirstConsumer {
		return true, nil
	}
	free, err := n.ofClass(name)
	n.claims.loose = append(n.claims.loose, looseClaim{claim, class, free})
	return false, err
}

func boundFully(claim *v1.PersistentVolumeClaim) bool {
	_, complete := claim.Annotations[storagehelpers.AnnBindCompleted]
	return complete && claim.Spec.VolumeName != ""
}

func (b *Binder) ofClass(name string) ([]*v1.PersistentVolume, error) {
	all, err := b.volumes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	var free []*v1.PersistentVolume
	for _, v := range all {
		if storagehelpers.GetPersistentVolumeClass(v) == name {
			free = append(free, b.promises.volume(v))
		}
	}
	return free, nil
}

// space asks the drivers' objects.
func (b *Binder) space() space {
	return space{
		drivers: b.driver,
		capacities: func() []*storagev1.CSIStorageCapacity {
			all, err := b.capacities.List(labels.Everything())
			if err != nil {
				return nil
			}
			return all
		},
	}
}

func (b *Binder) driver(name string) *storagev1.CSIDriver {
	d, err := b.drivers.Get(name)
	if err != nil {
		return nil
	}
	return d
}
