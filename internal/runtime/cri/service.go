package cri

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/cri/spec"
)

// Service is the CRI RuntimeService. Its methods may be called directly; Serve
// offers them on a socket too.
type Service struct {
	runtimeapi.UnimplementedRuntimeServiceServer

	cfg     Config
	store   store
	host    spec.Host
	streams *streamServer
	events  broadcaster

	// mu guards the maps and what is in them, never a slow step.
	mu         sync.Mutex
	sandboxes  map[string]*sandbox
	containers map[string]*container
	names      map[string]string // reserved name → ID

	stop context.CancelFunc
	done sync.WaitGroup
}

var _ runtimeapi.RuntimeServiceServer = (*Service)(nil)

// New finds again what an earlier run left, cleans up what it had half-made and
// starts to follow the keeper. Close ends it.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	host, err := probeHost()
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, store: store{cfg.StateDir}, host: host,
		sandboxes: map[string]*sandbox{}, containers: map[string]*container{}, names: map[string]string{},
	}
	if err := s.store.init(); err != nil {
		return nil, fmt.Errorf("cri state: %w", err)
	}
	if err := os.MkdirAll(cfg.ContainersDir, 0o711); err != nil {
		return nil, fmt.Errorf("cri mounts: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	changes, err := cfg.Keeper.Events(run) // before the lists: nothing falls in between
	if err != nil {
		stop()
		return nil, fmt.Errorf("follow the keeper: %w", err)
	}
	if err := s.restore(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("restore containers: %w", err)
	}
	if s.streams, err = newStreamServer(s, cfg.StreamAddr); err != nil {
		stop()
		return nil, fmt.Errorf("streaming server: %w", err)
	}
	s.done.Go(func() { s.follow(run, changes) })
	return s, nil
}

// Close stops following and serving. Containers go on.
func (s *Service) Close() error {
	s.stop()
	s.events.close()
	err := s.streams.close()
	s.done.Wait()
	return err
}

// idLength is that of newID's hex digits.
const idLength = 64

// newID is random: IDs must never come again, also after the records are lost.
func newID() string {
	var b [idLength / 2]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// reserve takes a name, or tells who has it; s.mu is held.
func (s *Service) reserve(name, id string) error {
	if owner, taken := s.names[name]; taken && owner != id {
		return fmt.Errorf("name %q is reserved for %s", name, owner)
	}
	s.names[name] = id
	return nil
}

func (s *Service) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
}
