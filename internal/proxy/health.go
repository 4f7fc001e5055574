package proxy

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// healthServers tell load balancers outside whether this node has endpoints of a
// service (healthCheckNodePort). A port that is in use is tried again with the
// next change.
type healthServers struct {
	log *slog.Logger

	mu      sync.Mutex
	servers map[uint16]*healthServer
}

type healthServer struct {
	http *http.Server
	done chan struct{}

	mu    sync.Mutex
	about Health
}

func newHealthServers(log *slog.Logger) *healthServers {
	return &healthServers{log: log, servers: map[uint16]*healthServer{}}
}

// sync makes the servers those that are wanted.
func (h *healthServers) sync(want map[uint16]Health) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for port, s := range h.servers {
		if _, keep := want[port]; !keep {
			s.close()
			delete(h.servers, port)
		}
	}
	for port, about := range want {
		if s, ok := h.servers[port]; ok {
			s.set(about)
			continue
		}
		s, err := serveHealth(about)
		if err != nil {
			h.log.Warn("A service's health port can't be served", "service", about.Namespace+"/"+about.Name, "err", err)
			continue
		}
		h.servers[port] = s
	}
}

func (h *healthServers) close() { h.sync(nil) }

func serveHealth(about Health) (*healthServer, error) {
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(int(about.Port)))
	if err != nil {
		return nil, err
	}
	s := &healthServer{about: about, done: make(chan struct{})}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // ends when it is closed
	}()
	return s, nil
}

func (s *healthServer) set(about Health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.about = about
}

func (s *healthServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}

// ServeHTTP answers in the form that cloud providers' checks know.
func (s *healthServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	about := s.about
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(about.Local))
	if about.Local == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"service":             map[string]string{"namespace": about.Namespace, "name": about.Name},
		"localEndpoints":      about.Local,
		"serviceProxyHealthy": true,
	})
}
