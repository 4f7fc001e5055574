package localpath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	storagehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/proa-project/proa/internal/kit/localpath"
	"github.com/proa-project/proa/internal/kit/tree"
)

// Back-off of a claim or volume that something went wrong with.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Minute
)

// Folders of volumes: open to whichever user the pod runs as. The root above them is not.
const (
	rootMode   = 0o700
	folderMode = 0o777
)

// A key names a claim (namespace/name) or, with this prefix, a volume.
const ofVolume = "volume|"

// Config of a Provisioner; Log may be nil.
type Config struct {
	Node      string // this one's name
	Root      string // absolute, where the folders are made
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	Recorder  record.EventRecorder
	// InUse tells whether a pod on this node still has the volume of that name.
	InUse func(volume string) (bool, error)
	Log   *slog.Logger
}

// Provisioner makes and removes the node's local volumes.
type Provisioner struct {
	Config
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	nodes   corelisters.NodeLister
	classes storagelisters.StorageClassLister
	queue   workqueue.TypedRateLimitingInterface[string]
}

// New registers with the informers, so it must be called before they start.
func New(c Config) (*Provisioner, error) {
	if c.Node == "" || !filepath.IsAbs(c.Root) || c.Client == nil || c.Informers == nil || c.Recorder == nil || c.InUse == nil {
		return nil, errors.New("local-path provisioner: Node, Root, Client, Informers, Recorder and InUse are required")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	core := c.Informers.Core().V1()
	p := &Provisioner{
		Config: c, claims: core.PersistentVolumeClaims().Lister(), volumes: core.PersistentVolumes().Lister(), nodes: core.Nodes().Lister(),
		classes: c.Informers.Storage().V1().StorageClasses().Lister(),
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)),
	}
	for _, informer := range p.informers() {
		_ = informer.HasSynced() // named, so that the factory starts it
	}
	return p, nil
}

func (p *Provisioner) informers() []cache.SharedIndexInformer {
	core, storage := p.Informers.Core().V1(), p.Informers.Storage().V1()
	return []cache.SharedIndexInformer{
		core.PersistentVolumeClaims().Informer(), core.PersistentVolumes().Informer(), core.Nodes().Informer(), storage.StorageClasses().Informer(),
	}
}

// Run works until ctx ends.
func (p *Provisioner) Run(ctx context.Context) error {
	unhook := context.AfterFunc(ctx, p.queue.ShutDown)
	defer unhook()
	informers := p.informers()
	for i, key := range []func(any) string{claimKey, volumeKey} {
		registration, err := informers[i].AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { p.queue.Add(key(o)) },
			UpdateFunc: func(_, o any) { p.queue.Add(key(o)) },
		})
		if err != nil {
			return err
		}
		defer func() { _ = informers[i].RemoveEventHandler(registration) }()
	}
	for _, informer := range informers {
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			return nil
		}
	}
	for p.next(ctx) {
	}
	return nil
}

func claimKey(o any) string {
	claim := o.(*v1.PersistentVolumeClaim)
	return claim.Namespace + "/" + claim.Name
}

func volumeKey(o any) string { return ofVolume + o.(*v1.PersistentVolume).Name }

func (p *Provisioner) next(ctx context.Context) bool {
	key, shutdown := p.queue.Get()
	if shutdown {
		return false
	}
	defer p.queue.Done(key)
	err := p.reconcile(ctx, key)
	switch {
	case err == nil || apierrors.IsNotFound(err):
		p.queue.Forget(key)
		return true
	case ctx.Err() == nil && !apierrors.IsConflict(err) && !errors.Is(err, errInUse):
		p.Log.Warn("Local volume not brought to its goal, will be tried again", "key", key, "err", err)
	}
	p.queue.AddRateLimited(key)
	return true
}

func (p *Provisioner) reconcile(ctx context.Context, key string) error {
	if name, is := strings.CutPrefix(key, ofVolume); is {
		volume, err := p.volumes.Get(name)
		if err != nil {
			return err
		}
		return p.reconcileVolume(ctx, volume)
	}
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	claim, err := p.claims.PersistentVolumeClaims(namespace).Get(name)
	if err != nil {
		return err
	}
	if ours(claim, p.Node) {
		return p.provide(ctx, claim)
	}
	return p.grow(ctx, claim)
}

// provide makes the claim's folder and volume. Both have the claim's UID for
// their name, so a repetition finds what is there.
func (p *Provisioner) provide(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	class, err := p.classes.Get(storagehelpers.GetPersistentVolumeClaimClass(claim))
	if err != nil {
		return p.fail(ctx, claim, err)
	}
	if err := misfit(claim, class); err != nil {
		return p.fail(ctx, claim, fmt.Errorf("failed to provision volume with StorageClass %q: %w", class.Name, err))
	}
	node, err := p.nodes.Get(p.Node)
	if err != nil {
		return err
	}
	name := volumeName(claim)
	if _, err := p.volumes.Get(name); err == nil {
		return nil
	}
	p.Recorder.Eventf(claim, v1.EventTypeNormal, "Provisioning", "External provisioner is provisioning volume for claim %q", claim.Namespace+"/"+claim.Name)
	folder := filepath.Join(p.Root, name)
	if err := makeFolder(p.Root, folder); err != nil {
		return p.fail(ctx, claim, fmt.Errorf("failed to provision volume with StorageClass %q: %w", class.Name, err))
	}
	_, err = p.Client.CoreV1().PersistentVolumes().Create(ctx, volumeFor(claim, class, node, folder), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create volume %s: %w", name, err)
	}
	p.Recorder.Eventf(claim, v1.EventTypeNormal, "ProvisioningSucceeded", "Successfully provisioned volume %s", name)
	return nil
}

// fail tells the user, and gives the claim back to the scheduler, which may find
// another node for it.
func (p *Provisioner) fail(ctx context.Context, claim *v1.PersistentVolumeClaim, why error) error {
	p.Recorder.Event(claim, v1.EventTypeWarning, "ProvisioningFailed", why.Error())
	again := claim.DeepCopy()
	delete(again.Annotations, storagehelpers.AnnSelectedNode)
	_, err := p.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, again, metav1.UpdateOptions{})
	return err
}

func makeFolder(root, folder string) error {
	if err := os.MkdirAll(root, rootMode); err != nil {
		return err
	}
	err := os.Mkdir(folder, folderMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(folder, folderMode) // whatever the umask is
}

// grow gives a bound claim of ours the size that it has come to ask for.
func (p *Provisioner) grow(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	if claim.Status.Phase != v1.ClaimBound {
		return nil
	}
	volume, err := p.volumes.Get(claim.Spec.VolumeName)
	if err != nil || folderOf(volume, p.Root) == "" {
		return err
	}
	if larger := grown(volume, claim); larger != nil {
		if volume, err = p.Client.CoreV1().PersistentVolumes().Update(ctx, larger, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	have, want := claim.Status.Capacity[v1.ResourceStorage], volume.Spec.Capacity[v1.ResourceStorage]
	if have.Cmp(want) >= 0 {
		return nil
	}
	shown := claim.DeepCopy()
	shown.Status.Capacity = v1.ResourceList{v1.ResourceStorage: want}
	if _, err := p.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, shown, metav1.UpdateOptions{}); err != nil {
		return err
	}
	p.Recorder.Event(claim, v1.EventTypeNormal, "VolumeResizeSuccessful", "Resize volume succeeded")
	return nil
}

// errInUse: to be tried again, and nothing to write home about.
var errInUse = errors.New("a pod on this node still uses the volume")

// reconcileVolume keeps the finalizer as the policy is, and removes what is released.
func (p *Provisioner) reconcileVolume(ctx context.Context, volume *v1.PersistentVolume) error {
	folder := folderOf(volume, p.Root)
	if folder == "" {
		return nil
	}
	volumes := p.Client.CoreV1().PersistentVolumes()
	if want := guarded(volume); want != volume {
		_, err := volumes.Update(ctx, want, metav1.UpdateOptions{})
		return err
	}
	if !doomed(volume) {
		return nil
	}
	// The API may have forgotten a pod (force-deleted) whose containers still run.
	if used, err := p.InUse(volume.Name); err != nil || used {
		return errors.Join(err, errInUse)
	}
	if err := tree.Remove(folder); err != nil {
		p.Recorder.Event(volume, v1.EventTypeWarning, "VolumeFailedDelete", err.Error())
		return err
	}
	bare := volume.DeepCopy()
	bare.Finalizers = nil
	for _, f := range volume.Finalizers {
		if f != localpath.Finalizer {
			bare.Finalizers = append(bare.Finalizers, f)
		}
	}
	if _, err := volumes.Update(ctx, bare, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return volumes.Delete(ctx, volume.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(volume.UID))})
}
