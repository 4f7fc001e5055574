package csi

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Names in paths, as stock node agents have them.
const (
	PluginFolder = "kubernetes.io~csi" // below a pod's volumes
	pluginName   = "kubernetes.io/csi" // below Plugins
	globalMount  = "globalmount"
	mountFolder  = "mount"
	deviceFile   = "dev"
)

// Config of a Manager. Log may be nil.
type Config struct {
	Node     string // this one's name
	Registry string // folder in which drivers make their registration sockets
	Plugins  string // folder in which volumes are staged
	Pods     string // folder of all pods' folders
	Client   kubernetes.Interface
	Log      *slog.Logger
}

// Manager knows the drivers of this node and has them mount volumes. Its methods
// may be called concurrently.
type Manager struct {
	cfg     Config
	drivers drivers

	reporting sync.Mutex
	reported  []v1.UniqueVolumeName // in use, as the Node says it; nil: not known

	mu     sync.Mutex
	locks  map[id]*lock
	staged map[id]bool // by us, since we started
}

// lock of a volume: a pod's publishing must not meet another's unstaging.
type lock struct {
	sync.Mutex
	users int
}

// New makes a Manager; Run makes it know drivers.
func New(c Config) (*Manager, error) {
	if c.Node == "" || c.Registry == "" || c.Plugins == "" || c.Pods == "" || c.Client == nil {
		return nil, errors.New("CSI: Node, Registry, Plugins, Pods and Client are required")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Manager{cfg: c, locks: map[id]*lock{}, staged: map[id]bool{}}, nil
}

// hold locks a volume; the returned function lets it go.
func (m *Manager) hold(v id) (release func()) {
	m.mu.Lock()
	l := m.locks[v]
	if l == nil {
		l = &lock{}
		m.locks[v] = l
	}
	l.users++
	m.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(m.locks, v)
		}
	}
}

// users are the folders of the pods that have the volume.
func (m *Manager) users(v id) ([]string, error) {
	all, err := records(filepath.Join(m.cfg.Pods, "*", "volumes", PluginFolder, "*"))
	var dirs []string
	for dir, r := range all {
		if r.id() == v {
			dirs = append(dirs, dir)
		}
	}
	return dirs, err
}

// attaches tells whether the driver wants its volumes attached first; one that
// says nothing does.
func attaches(d *storagev1.CSIDriver) bool {
	return d == nil || d.Spec.AttachRequired == nil || *d.Spec.AttachRequired
}

// driverObject is what the cluster knows of a driver; nil: nothing.
func (m *Manager) driverObject(ctx context.Context, name string) (*storagev1.CSIDriver, error) {
	d, err := m.cfg.Client.StorageV1().CSIDrivers().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return d, err
}
