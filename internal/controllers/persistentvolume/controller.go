package persistentvolume

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	storagehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/proa-project/proa/internal/controllers/podclaims"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component that events are from.
const Component = "persistentvolume-controller"

// A key names a claim (namespace/name) or, with this prefix, a volume.
const ofVolume = "volume|"

// again is when a claim without a volume is looked at without any news, so that
// the event that says what it waits for does not age away.
const again = 15 * time.Minute

// Annotation that makes a class the default one, and its old name.
const (
	defaultClass    = "storageclass.kubernetes.io/is-default-class"
	oldDefaultClass = "storageclass.beta.kubernetes.io/is-default-class"
)

type controller struct {
	client   kubernetes.Interface
	claims   corelisters.PersistentVolumeClaimLister
	volumes  corelisters.PersistentVolumeLister
	classes  storagelisters.StorageClassLister
	pods     cache.Indexer
	index    indexes
	recorder record.EventRecorder
	// What was written a moment ago counts as seen.
	latestClaims  reconcile.Latest[*v1.PersistentVolumeClaim]
	latestVolumes reconcile.Latest[*v1.PersistentVolume]
}

// New watches claims, volumes, classes and the pods that wait for claims. There
// is one worker: two would bind one volume twice, and recover, for nothing.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder) (*reconcile.Loop, error) {
	core, storage := factory.Core().V1(), factory.Storage().V1()
	c := &controller{
		client: client, recorder: recorder, claims: core.PersistentVolumeClaims().Lister(), volumes: core.PersistentVolumes().Lister(),
		classes: storage.StorageClasses().Lister(), pods: core.Pods().Informer().GetIndexer(),
	}
	if err := errors.Join(podclaims.Index(core.Pods().Informer()), c.index.register(core.PersistentVolumeClaims().Informer(), core.PersistentVolumes().Informer())); err != nil {
		return nil, err
	}
	var loop *reconcile.Loop
	loop = reconcile.New("persistentvolume", 1, func(ctx context.Context, key string) error {
		next, pending, err := c.reconcile(ctx, key)
		for _, k := range next {
			loop.Add(k)
		}
		if pending {
			loop.After(key, again)
		}
		return err
	})
	return loop, errors.Join(
		loop.Watch(core.PersistentVolumeClaims().Informer(), c.claimChanged),
		loop.Watch(core.PersistentVolumes().Informer(), c.volumeChanged),
		loop.Watch(storage.StorageClasses().Informer(), c.classChanged),
		loop.WatchChanges(core.Pods().Informer(), podCame),
	)
}

// claimChanged asks for the claim, and for the volumes that point to it.
func (c *controller) claimChanged(o any) []string {
	claim := o.(*v1.PersistentVolumeClaim)
	key := claim.Namespace + "/" + claim.Name
	return append(c.index.volumesOf(key), key)
}

// volumeChanged asks for the volume, for the claims that point to it, and for
// those that it may suit.
func (c *controller) volumeChanged(o any) []string {
	volume := o.(*v1.PersistentVolume)
	keys := append(c.index.claimsOf(volume.Name), ofVolume+volume.Name)
	if volume.Status.Phase == v1.VolumeAvailable {
		keys = append(keys, c.index.pending(storagehelpers.GetPersistentVolumeClass(volume))...)
	}
	return keys
}

// classChanged asks for the claims that wait for the class, or for a default one.
func (c *controller) classChanged(o any) []string {
	class := o.(*storagev1.StorageClass)
	keys := c.index.pending(class.Name)
	if isDefault(class) {
		keys = append(keys, c.index.pending("")...)
	}
	return keys
}

// podCame asks for the claims of a new pod without a node: they wait for it now.
func podCame(old, current any) []string {
	p, ok := current.(*v1.Pod)
	if !ok || old != nil || p.Spec.NodeName != "" {
		return nil
	}
	return podclaims.Keys(p)
}

func (c *controller) reconcile(ctx context.Context, key string) (next []string, pending bool, err error) {
	if name, is := strings.CutPrefix(key, ofVolume); is {
		next, err = c.reconcileVolume(ctx, name)
		return next, false, err
	}
	pending, err = c.reconcileClaim(ctx, key)
	return nil, pending, err
}

func (c *controller) reconcileClaim(ctx context.Context, key string) (pending bool, err error) {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return false, err
	}
	claim, err := c.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	claim = c.latestClaims.Of(claim)
	view, err := c.look(claim)
	if err != nil {
		return false, err
	}
	o, err := planClaim(view)
	if err != nil {
		return false, err
	}
	volume := view.volume
	if o.volume != nil {
		volume = find(view.volumes, o.volume.Name)
	}
	return o.claim != nil && o.claim.Status.Phase == v1.ClaimPending, c.write(ctx, volume, claim, o)
}

func (c *controller) reconcileVolume(ctx context.Context, name string) (next []string, err error) {
	volume, err := c.volumes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	volume = c.latestVolumes.Of(volume)
	claim, err := c.claimant(ctx, volume)
	if err != nil {
		return nil, err
	}
	o := planVolume(volume, claim)
	return o.next, c.write(ctx, volume, claim, o)
}

// look gathers what is known around a claim.
func (c *controller) look(claim *v1.PersistentVolumeClaim) (claimView, error) {
	view := claimView{claim: claim}
	volumes, err := c.volumes.List(labels.Everything())
	if err != nil {
		return view, err
	}
	for _, v := range volumes {
		view.volumes = append(view.volumes, c.latestVolumes.Of(v))
	}
	view.volume = find(view.volumes, claim.Spec.VolumeName)
	classes, err := c.classes.List(labels.Everything())
	if err != nil {
		return view, err
	}
	name := storagehelpers.GetPersistentVolumeClaimClass(claim)
	for _, class := range classes {
		if class.Name == name {
			view.class = class
		}
	}
	if d := newestDefault(classes); d != nil {
		view.defaultClass = d.Name
	}
	pods, err := podclaims.Using(c.pods, claim.Namespace, claim.Name)
	for _, p := range pods {
		if p.Spec.NodeName == "" && !podclaims.Ended(p) {
			view.waiting = append(view.waiting, p.Name)
		}
	}
	slices.Sort(view.waiting)
	return view, err
}

func find(volumes []*v1.PersistentVolume, name string) *v1.PersistentVolume {
	i := slices.IndexFunc(volumes, func(v *v1.PersistentVolume) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return volumes[i]
}

// claimant is the claim that a volume's claimRef means. Whether it is gone is
// asked of the API server: the cache of claims may be behind that of volumes,
// and a volume that is released is as good as deleted.
func (c *controller) claimant(ctx context.Context, volume *v1.PersistentVolume) (*v1.PersistentVolumeClaim, error) {
	ref := volume.Spec.ClaimRef
	if ref == nil || ref.UID == "" {
		return nil, nil
	}
	claim, err := c.claims.PersistentVolumeClaims(ref.Namespace).Get(ref.Name)
	if err == nil && claim.UID == ref.UID {
		return c.latestClaims.Of(claim), nil
	}
	claim, err = c.client.CoreV1().PersistentVolumeClaims(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err) || err == nil && claim.UID != ref.UID:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return claim, nil
}

func isDefault(class *storagev1.StorageClass) bool {
	return class.Annotations[defaultClass] == "true" || class.Annotations[oldDefaultClass] == "true"
}

// newestDefault: of several default classes the newest, then the first by name.
func newestDefault(classes []*storagev1.StorageClass) (d *storagev1.StorageClass) {
	for _, class := range classes {
		switch {
		case !isDefault(class):
		case d == nil, d.CreationTimestamp.Before(&class.CreationTimestamp), d.CreationTimestamp.Equal(&class.CreationTimestamp) && class.Name < d.Name:
			d = class
		}
	}
	return d
}
