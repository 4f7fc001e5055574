package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Store is a running state store.
type Store struct {
	client *clientv3.Client
	done   <-chan struct{} // closed when the embedded member has ended; nil for an external one
	close  func() error
	once   sync.Once
	err    error
}

// Start opens the store and returns once it answers. ctx bounds the start only.
func Start(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(c.Endpoints) != 0 {
		return connect(ctx, c)
	}
	return embedded(ctx, c)
}

// Client serves every part of the process; closing it is the Store's job.
func (s *Store) Client() *clientv3.Client { return s.client }

// Done is closed when an embedded member stopped, also by itself. It is nil,
// so never ready, for an external cluster.
func (s *Store) Done() <-chan struct{} { return s.done }

// Health reports nil when the store answers a linearizable read.
func (s *Store) Health(ctx context.Context) error {
	if _, err := s.client.Get(ctx, "health"); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// Snapshot writes a consistent copy of the database (bbolt format, followed by
// its SHA-256, as etcdutl reads it).
func (s *Store) Snapshot(ctx context.Context, w io.Writer) error {
	r, err := s.client.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("etcd snapshot: %w", err)
	}
	defer r.Close()
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("etcd snapshot: %w", err)
	}
	return nil
}

// Close ends the client and the embedded member; it may be called again.
func (s *Store) Close() error {
	s.once.Do(func() { s.err = s.close() })
	return s.err
}

func connect(ctx context.Context, c Config) (*Store, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            c.Endpoints,
		TLS:                  c.TLS,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: keepAliveTimeout,
		Logger:               zapTo(c.logger()),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd %v: %w", c.Endpoints, err)
	}
	s := &Store{client: client, close: client.Close}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.Health(bounded); err != nil {
		if why := whyNot(ctx, c); why != nil {
			err = why
		}
		client.Close()
		return nil, fmt.Errorf("etcd %v does not answer: %w", c.Endpoints, err)
	}
	return s, nil
}

const (
	// patience with a cluster outside: it may be starting, or electing, just now.
	patience = 20 * time.Second
	// askPatience is for its members, that are asked what is wrong.
	askPatience = 5 * time.Second
)

// whyNot asks each member for its health: the client goes on trying in silence, and
// keeps what it meets to itself.
func whyNot(ctx context.Context, c Config) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c.TLS, DisableKeepAlives: true}}
	var reasons []error
	for _, e := range c.Endpoints {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(e, "/")+"/health", nil)
		if err == nil {
			var resp *http.Response
			if resp, err = client.Do(req); err == nil {
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s: not healthy: %s", e, resp.Status)
				}
			}
		}
		reasons = append(reasons, err)
	}
	return errors.Join(reasons...)
}
