package crifake

import (
	"fmt"
	"net/netip"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/utils/clock"
)

// Config of a fake; the zero value works.
type Config struct {
	// Clock is the source of all times; nil is the real one.
	Clock clock.WithDelayedExecution
	// Unpullable makes PullImage fail for images that AddRemote did not announce.
	// Without it every well-formed name can be pulled.
	Unpullable bool
	// Handlers are the runtime handlers that pods may ask for, beside the default "".
	Handlers []string
	// PodCIDR is where sandbox addresses come from; zero is 10.244.0.0/16.
	PodCIDR netip.Prefix
}

// Runtime is the fake. It serves both CRI services.
type Runtime struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	runtimeapi.UnimplementedImageServiceServer

	cfg    Config
	clock  clock.WithDelayedExecution
	faults faults
	events broadcaster

	mu         sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
	ends       map[string]int32  // exit codes of all that ever ended
	images     map[string]*Image // by ID
	remote     map[string]Remote // by normalized name
	scripts    map[string][]Program
	scriptFunc func(*runtimeapi.ContainerConfig) (Program, bool)
	runs       map[string]int // starts so far, by script key
	defaultRun Program
	nextID     int
	nextIP     netip.Addr
	conditions []*runtimeapi.RuntimeCondition
	podCIDR    string
	streaming  streaming.Server
}

var (
	_ runtimeapi.RuntimeServiceServer = (*Runtime)(nil)
	_ runtimeapi.ImageServiceServer   = (*Runtime)(nil)
)

// New makes an empty, ready runtime.
func New(cfg Config) *Runtime {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if !cfg.PodCIDR.IsValid() {
		cfg.PodCIDR = netip.MustParsePrefix("10.244.0.0/16")
	}
	return &Runtime{
		cfg:        cfg,
		clock:      cfg.Clock,
		sandboxes:  map[string]*sandbox{},
		containers: map[string]*container{},
		ends:       map[string]int32{},
		images:     map[string]*Image{},
		remote:     map[string]Remote{},
		scripts:    map[string][]Program{},
		runs:       map[string]int{},
		nextIP:     cfg.PodCIDR.Masked().Addr().Next().Next(),
		conditions: []*runtimeapi.RuntimeCondition{
			{Type: runtimeapi.RuntimeReady, Status: true},
			{Type: runtimeapi.NetworkReady, Status: true},
		},
	}
}

// SetCondition changes what Status says: RuntimeReady or NetworkReady.
func (r *Runtime) SetCondition(kind string, ok bool, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conditions {
		if c.Type == kind {
			c.Status, c.Reason, c.Message = ok, reason, message
		}
	}
}

// PodCIDR is what UpdateRuntimeConfig last said.
func (r *Runtime) PodCIDR() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.podCIDR
}

// newID is 64 hex digits, as users of a runtime expect, and ordered by creation.
func (r *Runtime) newID() string {
	r.nextID++
	return fmt.Sprintf("%064x", r.nextID)
}

// matches tells whether all pairs of the selector are in labels.
func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
