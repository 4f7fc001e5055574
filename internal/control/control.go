// Package control is how the commands talk to a running server: HTTP over a
// unix socket in the run folder that only root may open.
//
//	GET  /status    Status as JSON
//	POST /stop      answers at once; the server then stops in order
//	POST /shutdown  Shutdown; answers when the node's pods have ended
//	GET  /why       [Explanation] of ?namespace=&name=
//	GET  /debug/pprof/…  Go's profiles, see HandleProfiles
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// Status of a server, as `proa status -o json` prints it.
type Status struct {
	Running    bool   `json:"running"`
	Ready      bool   `json:"ready"` // the node is Ready
	PID        int    `json:"pid,omitempty"`
	KeeperPID  int    `json:"keeperPid,omitempty"`
	Node       string `json:"node,omitempty"`
	APIServer  string `json:"apiServer,omitempty"`  // URL
	Kubeconfig string `json:"kubeconfig,omitempty"` // the administrator's; none on a node without the control plane
	DataDir    string `json:"dataDir"`
	CRISocket  string `json:"criSocket,omitempty"`
	Version    string `json:"version"`
}

// ErrNotRunning: no server answers on the socket.
var ErrNotRunning = errors.New("proa is not running")

// ErrNotRoot: the socket is root's.
var ErrNotRoot = errors.New("the server answers root alone: run it again with sudo")

// Serve answers on the socket until ctx ends. More routes are added to mux by
// the caller beforehand.
func Serve(ctx context.Context, socket string, mux *http.ServeMux, status func() Status, stop func()) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status())
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		// The answer must be out before stopping closes its connection.
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush()
		stop()
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	unhook := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer unhook()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Client of one server.
type Client struct{ http *http.Client }

// Dial makes a client; nothing is connected yet.
func Dial(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks the server. It is ErrNotRunning when there is none, or when it dies
// before it has answered.
func (c *Client) Status(ctx context.Context) (Status, error) {
	resp, err := c.do(ctx, http.MethodGet, "/status")
	if cutOff(err) {
		return Status{}, ErrNotRunning
	}
	if err != nil {
		return Status{}, err
	}
	defer resp.Body.Close()
	var s Status
	err = json.NewDecoder(resp.Body).Decode(&s)
	if cutOff(err) {
		return Status{}, ErrNotRunning
	}
	if err != nil {
		return Status{}, fmt.Errorf("read status: %w", err)
	}
	return s, nil
}

// cutOff is how a connection ends whose other side was killed.
func cutOff(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Stop asks the server to stop. It is ErrNotRunning when there is none.
func (c *Client) Stop(ctx context.Context) error {
	resp, err := c.do(ctx, http.MethodPost, "/stop")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	return c.send(ctx, method, path, nil)
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://proa"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err == nil || ctx.Err() != nil {
		return resp, err
	}
	dial, dialing := errors.AsType[*net.OpError](err)
	dialing = dialing && dial.Op == "dial"
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, ErrNotRoot
	case dialing && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return nil, ErrNotRunning // nobody is there, or it ended while it was asked
}
