package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Pods is what the server asks of the node agent.
type Pods interface {
	// Pod returns a pod of this node with the newest status that the node knows. Static pods go by their own UID.
	Pod(namespace, name string) (*v1.Pod, bool)
	// Pods returns all of them.
	Pods() []*v1.Pod
}

// Runtime is what the server asks of the container runtime.
type Runtime interface {
	ListPodSandbox(context.Context, *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error)
	ListContainers(context.Context, *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error)
	ContainerStatus(context.Context, *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error)
	ExecSync(context.Context, *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error)
	Exec(context.Context, *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error)
	Attach(context.Context, *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error)
	PortForward(context.Context, *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error)
}

// Stats makes the answer to /stats/summary; onlyCPUAndMemory leaves the rest out.
type Stats func(ctx context.Context, onlyCPUAndMemory bool) (*statsapi.Summary, error)

// Config says what is served, to whom.
type Config struct {
	NodeName string
	// ServingCert is shown to clients; ClientCA is who signs theirs.
	ServingCert func() (*tls.Certificate, error)
	ClientCA    *x509.CertPool
	// Authenticate knows clients without a certificate (tokens); nil knows none.
	Authenticate Authenticate
	Authorize    Authorize

	Pods    Pods
	Runtime Runtime
	// Stats may be nil: then there are none.
	Stats Stats
	// Metrics are handlers by path below /metrics ("", "/resource", "/cadvisor", "/probes").
	Metrics map[string]http.Handler
	// Checks are asked by /healthz, by name.
	Checks map[string]func(context.Context) error
	// Configz is shown at /configz, as JSON.
	Configz any
	// Explain answers at /why what the node knows of a pod; nil is nothing.
	Explain http.Handler
	// NodeLogs is the folder served at /logs/; empty is none.
	NodeLogs string
	Log      *slog.Logger
}

// Server is the node's HTTPS server.
type Server struct {
	cfg Config
	mux *http.ServeMux
}

// New makes a Server.
func New(cfg Config) (*Server, error) {
	if cfg.Authorize == nil || cfg.Pods == nil || cfg.Runtime == nil {
		return nil, errors.New("node HTTP server: Authorize, Pods and Runtime are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	s.routes()
	return s, nil
}

// routes lists all that is served.
func (s *Server) routes() {
	s.mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	for _, method := range []string{"GET", "POST"} {
		for _, uid := range []string{"", "/{uid}"} {
			s.mux.HandleFunc(method+" /exec/{namespace}/{pod}"+uid+"/{container}", s.exec)
			s.mux.HandleFunc(method+" /attach/{namespace}/{pod}"+uid+"/{container}", s.attach)
			s.mux.HandleFunc(method+" /portForward/{namespace}/{pod}"+uid, s.portForward)
		}
	}
	s.mux.HandleFunc("POST /run/{namespace}/{pod}/{container}", s.run)
	s.mux.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", s.run)
	s.mux.HandleFunc("GET /pods", s.pods)
	s.mux.HandleFunc("GET /pods/{$}", s.pods)
	s.mux.HandleFunc("GET /runningpods", s.runningPods)
	s.mux.HandleFunc("GET /runningpods/{$}", s.runningPods)
	s.mux.HandleFunc("GET /stats/summary", s.summary)
	s.mux.HandleFunc("GET /configz", s.configz)
	s.mux.Handle("GET /healthz", s.Health())
	s.mux.Handle("GET /healthz/{check}", s.Health())
	if s.cfg.Explain != nil {
		s.mux.Handle("GET /why", s.cfg.Explain)
	}
	for path, handler := range s.cfg.Metrics {
		s.mux.Handle("GET /metrics"+path, handler)
	}
	if s.cfg.NodeLogs != "" {
		s.mux.Handle("GET /logs/", http.StripPrefix("/logs/", http.FileServer(http.Dir(s.cfg.NodeLogs))))
	}
}

// ServeHTTP serves one request of a client that is known and allowed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.admit(w, r) {
		s.mux.ServeHTTP(w, r)
	}
}

// Serve answers over TLS on the listener until ctx ends.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if s.cfg.ServingCert == nil {
		return errors.New("node HTTP server: no serving certificate")
	}
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       90 * time.Second,
		// Handshakes of scanners and dropped connections are nobody's business.
		ErrorLog:    slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
		TLSConfig:   s.tls(),
		// Streams are upgraded connections, which HTTP/2 has none of.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.ServeTLS(listener, "", "")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("node HTTP server: %w", err)
}

func (s *Server) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Certificates rotate: each handshake takes the present one.
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cfg.ServingCert() },
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      s.cfg.ClientCA,
		NextProtos:     []string{"http/1.1"},
	}
}
