package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/sys/mountinfo"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"

	"github.com/proa-project/proa/internal/kit/tree"
)

// volumesFolder holds the volumes of a pod: <plugin>/<volume>.
const volumesFolder = "volumes"

// retryToken is how long a rotation that failed waits; a token is due when a fifth of its life is left, two minutes at least.
const retryToken = 10 * time.Second

// Config says where and from what volumes are made.
type Config struct {
	// Root is the folder of all pods' folders.
	Root string
	// Client reads the objects that volumes are made of.
	Client kubernetes.Interface
	// Allocatable is what the node offers to pods: it stands in for limits that are not set. May be nil.
	Allocatable func() v1.ResourceList
	// RecursiveReadOnly tells whether a runtime handler can mount recursively read-only; nil is no.
	RecursiveReadOnly func(handler string) bool
	// CSI mounts the volumes of CSI drivers; nil: there are none.
	CSI CSI
	// Node is this node as the API has it, for volumes that only some nodes reach. May be nil.
	Node func() *v1.Node
	// Now is the clock; nil is the machine's.
	Now func() time.Time
	Log *slog.Logger
}

// Manager makes, refreshes and removes the volumes of this node's pods. Its methods may be called concurrently.
type Manager struct {
	cfg     Config
	objects *objects
	queue   workqueue.TypedRateLimitingInterface[types.UID]

	mu    sync.Mutex
	pods  map[types.UID]*podState
	users map[Ref]map[types.UID]bool
	// unblocked is told of pods whose Setup failed and may work now.
	unblocked func(types.UID)
}

// podState is what is known of one pod; its lock is held while the pod's volumes are worked on.
type podState struct {
	mu     sync.Mutex
	pod    *v1.Pod
	refs   []Ref
	tokens map[tokenPlace]token
	// credentials are the pod's certificates, issued and asked for.
	credentials map[tokenPlace]credential
	// backings of the volumes that others fill, by the pod's name of the volume.
	backings map[string]*backing
	ready    bool
	gone     bool
}

// New makes a Manager; Run makes it refresh what it has set up.
func New(cfg Config) (*Manager, error) {
	if cfg.Root == "" || cfg.Client == nil {
		return nil, errors.New("volume manager: Root and Client are needed")
	}
	// Resolved, since the mount table, which teardown goes by, knows no links.
	if err := os.MkdirAll(cfg.Root, 0o750); err != nil {
		return nil, fmt.Errorf("volume manager: %w", err)
	}
	root, err := filepath.EvalSymlinks(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("volume manager: %w", err)
	}
	if cfg.Root, err = filepath.Abs(root); err != nil {
		return nil, fmt.Errorf("volume manager: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	m := &Manager{
		cfg:   cfg,
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](time.Second, 5*time.Minute)),
		pods:  map[types.UID]*podState{},
		users: map[Ref]map[types.UID]bool{},
	}
	m.objects = newObjects(cfg.Client, m.objectChanged)
	return m, nil
}

// Run refreshes volumes as objects change and tokens age, until ctx ends. changed is told of pods whose Setup failed and may
// work now, since something that they wait for has changed.
func (m *Manager) Run(ctx context.Context, changed func(types.UID)) error {
	m.mu.Lock()
	m.unblocked = changed
	m.mu.Unlock()
	defer m.objects.close()
	stop := context.AfterFunc(ctx, m.queue.ShutDown)
	defer stop()
	for {
		uid, down := m.queue.Get()
		if down {
			return ctx.Err()
		}
		m.refreshNext(ctx, uid)
	}
}

func (m *Manager) refreshNext(ctx context.Context, uid types.UID) {
	defer m.queue.Done(uid)
	if err := m.refresh(ctx, uid); err != nil {
		m.cfg.Log.Warn("volumes not refreshed, will be tried again", "uid", uid, "err", err)
		m.queue.AddRateLimited(uid)
		return
	}
	m.queue.Forget(uid)
}

// Setup makes all volumes that the pod's containers mount. It may be called again at any time, and is cheap when all is there.
// Its error joins one SetupError a volume.
func (m *Manager) Setup(ctx context.Context, pod *v1.Pod) error {
	if err := checkUID(pod.UID); err != nil {
		return err
	}
	state := m.lockState(pod.UID)
	defer state.mu.Unlock()
	if state.ready && sameForVolumes(state.pod, pod) {
		return nil
	}
	first := !state.ready
	state.pod = pod
	m.hold(state, Needs(pod))
	src := m.gather(ctx, state, first)
	if err := m.bringUp(ctx, state, src, usedVolumes(pod)); err != nil {
		return err
	}
	state.ready = true
	m.scheduleRotation(state)
	return nil
}

// lockState returns the pod's state with its lock held; a state that TearDown finished with meanwhile is replaced.
func (m *Manager) lockState(uid types.UID) *podState {
	for {
		m.mu.Lock()
		state := m.pods[uid]
		if state == nil {
			state = &podState{tokens: map[tokenPlace]token{}, credentials: map[tokenPlace]credential{}, backings: map[string]*backing{}}
			m.pods[uid] = state
		}
		m.mu.Unlock()
		state.mu.Lock()
		if !state.gone {
			return state
		}
		state.mu.Unlock()
	}
}

// sameForVolumes tells whether nothing changed that volumes show.
func sameForVolumes(a, b *v1.Pod) bool {
	return a.Generation == b.Generation && maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations) &&
		slices.EqualFunc(usedVolumes(a), usedVolumes(b), func(x, y *v1.Volume) bool { return x.Name == y.Name })
}

// hold makes the pod a user of exactly these objects.
func (m *Manager) hold(state *podState, refs []Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ref := range refs {
		if m.users[ref] == nil {
			m.users[ref] = map[types.UID]bool{}
		}
		if !slices.Contains(state.refs, ref) {
			m.users[ref][state.pod.UID] = true
			m.objects.hold(ref)
		}
	}
	for _, ref := range state.refs {
		if !slices.Contains(refs, ref) {
			m.drop(ref, state.pod.UID)
		}
	}
	state.refs = refs
}

// drop needs m.mu.
func (m *Manager) drop(ref Ref, uid types.UID) {
	delete(m.users[ref], uid)
	if len(m.users[ref]) == 0 {
		delete(m.users, ref)
	}
	m.objects.release(ref)
}

// objectChanged queues the pods that use the object.
func (m *Manager) objectChanged(ref Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for uid := range m.users[ref] {
		m.queue.Add(uid)
	}
}

// refresh brings the contents of a pod's volumes up to date.
func (m *Manager) refresh(ctx context.Context, uid types.UID) error {
	m.mu.Lock()
	state, unblocked := m.pods[uid], m.unblocked
	m.mu.Unlock()
	if state == nil {
		return nil
	}
	state.mu.Lock()
	defer state.mu.Unlock()
	switch {
	case state.gone || state.pod == nil:
		return nil
	case !state.ready:
		// Setup is the caller's to repeat: it also reports what is still missing.
		if unblocked != nil {
			unblocked(uid)
		}
		return nil
	}
	src := m.gather(ctx, state, false)
	written := slices.DeleteFunc(usedVolumes(state.pod), func(v *v1.Volume) bool { return !writtenByUs(v) })
	err := errors.Join(m.bringUp(ctx, state, src, written), m.republish(ctx, state))
	m.scheduleRotation(state)
	return err
}

// scheduleRotation queues the pod for when the first of its tokens is due, or a driver that wants to be asked again.
func (m *Manager) scheduleRotation(state *podState) {
	var due time.Time
	if state.republishes() {
		due = m.cfg.Now().Add(republishEvery)
	}
	for _, t := range state.tokens {
		if at := t.rotateAt(); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	for _, c := range state.credentials {
		if c.have != nil && c.refused == nil && (due.IsZero() || c.have.refreshAt.Before(due)) {
			due = c.have.refreshAt
		}
	}
	if due.IsZero() {
		return
	}
	m.queue.AddAfter(state.pod.UID, max(due.Sub(m.cfg.Now()), retryToken))
}

// TearDown unmounts and removes all that Setup and Mounts made for the pod, known or left by an earlier life of the agent.
func (m *Manager) TearDown(ctx context.Context, uid types.UID) error {
	if err := checkUID(uid); err != nil {
		return err
	}
	state := m.lockState(uid)
	defer state.mu.Unlock()
	m.forget(uid, state)
	dir := m.podDir(uid)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := m.unmountCSI(ctx, dir); err != nil {
		return err
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	for _, folder := range []string{subPathsFolder, volumesFolder} {
		if err := tree.Remove(filepath.Join(dir, folder)); err != nil {
			return err
		}
	}
	// Others keep things in the pod's folder too; the last one out removes it.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !isNotEmpty(err) {
		return err
	}
	return nil
}

// forget needs state.mu.
func (m *Manager) forget(uid types.UID, state *podState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ref := range state.refs {
		m.drop(ref, uid)
	}
	state.refs, state.gone = nil, true
	delete(m.pods, uid)
}

// Present lists the pods that have something to tear down, by what is on disk and in the mount table.
func (m *Manager) Present() ([]types.UID, error) {
	found := map[types.UID]bool{}
	for _, folder := range []string{volumesFolder, subPathsFolder} {
		names, err := filepath.Glob(filepath.Join(m.cfg.Root, "*", folder))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			found[types.UID(filepath.Base(filepath.Dir(name)))] = true
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(m.cfg.Root))
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	for _, mount := range mounts {
		rel, err := filepath.Rel(m.cfg.Root, mount.Mountpoint)
		if uid, rest, below := strings.Cut(rel, "/"); err == nil && below && rest != "" {
			found[types.UID(uid)] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// Path is the host directory of one of the pod's volumes, once Setup has made it.
func (m *Manager) Path(pod *v1.Pod, volume string) (string, error) {
	vol := findVolume(pod, volume)
	if vol == nil {
		return "", fmt.Errorf("pod %s/%s has no volume %q", pod.Namespace, pod.Name, volume)
	}
	path, _, err := m.hostPath(pod, vol)
	return path, err
}

// hostPath is what containers mount of a volume, and whether they may only read it.
func (m *Manager) hostPath(pod *v1.Pod, vol *v1.Volume) (path string, readOnly bool, err error) {
	if vol.EmptyDir != nil || writtenByUs(vol) {
		path, err = m.ownDir(pod.UID, vol)
		return path, writtenByUs(vol), err
	}
	b, err := m.backingOf(pod, vol)
	if err != nil {
		return "", false, err
	}
	path, err = m.backingPath(pod.UID, b)
	return path, b.readOnly, err
}

// backingOf is what Setup found behind the volume.
func (m *Manager) backingOf(pod *v1.Pod, vol *v1.Volume) (*backing, error) {
	if vol.HostPath != nil {
		return inlineBacking(vol)
	}
	m.mu.Lock()
	state := m.pods[pod.UID]
	m.mu.Unlock()
	if state != nil {
		state.mu.Lock()
		defer state.mu.Unlock()
		if b := state.backings[vol.Name]; b != nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("volume %q of pod %s/%s is not set up", vol.Name, pod.Namespace, pod.Name)
}

// ownDir is the folder of a volume that the agent itself fills.
func (m *Manager) ownDir(uid types.UID, vol *v1.Volume) (string, error) {
	plugin, err := pluginOf(vol)
	if err != nil {
		return "", err
	}
	return filepath.Join(m.podDir(uid), volumesFolder, plugin, vol.Name), nil
}

func (m *Manager) podDir(uid types.UID) string { return filepath.Join(m.cfg.Root, string(uid)) }

// checkUID keeps a strange UID from being a path out of Root.
func checkUID(uid types.UID) error {
	if s := string(uid); s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\x00") {
		return fmt.Errorf("pod UID %q is no folder name", uid)
	}
	return nil
}
