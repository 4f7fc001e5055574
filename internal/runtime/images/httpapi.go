package images

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
	"sync"
	"time"
)

// Manager is what the image commands need: a Store, or a Client of a running one.
type Manager interface {
	List(ctx context.Context) ([]Image, error)
	Pull(ctx context.Context, ref string, opts PullOptions) (Image, error)
	Import(ctx context.Context, archive io.Reader, opts ImportOptions) ([]Image, error)
	Untag(ctx context.Context, ref string) (gone []string, err error)
}

var (
	_ Manager = (*Store)(nil)
	_ Manager = (*Client)(nil)
)

// The store has a second, small API beside the CRI, on a socket of its own, for
// what the CRI lacks: import, platforms, progress, and names taken one by one.
//
//	GET    /images            → [Image]
//	DELETE /images?ref=       → [names that went]
//	POST   /pull              pullRequest → messages
//	POST   /import            archive, the request in header Proa-Import → messages
//
// Messages are JSON values one after another: progress, then images or an error.
const importHeader = "Proa-Import"

type pullRequest struct {
	Ref      string `json:"ref"`
	Platform string `json:"platform,omitempty"`
	Auth     *Auth  `json:"auth,omitempty"`
}

type importRequest struct {
	Names    []string `json:"names,omitempty"`
	Platform string   `json:"platform,omitempty"`
	Pinned   bool     `json:"pinned,omitempty"`
}

// message is one of its fields.
type message struct {
	Progress *Progress  `json:"progress,omitempty"`
	Images   []Image    `json:"images,omitempty"`
	Error    *wireError `json:"error,omitempty"`
}

// wireError carries an Error's text and kind.
type wireError struct {
	Text string `json:"text"`
	Kind string `json:"kind,omitempty"`
}

// kinds by the names they have on the wire.
var kinds = map[string]error{
	"notFound": ErrNotFound, "unauthorized": ErrUnauthorized, "unreachable": ErrUnreachable, "interrupted": ErrInterrupted,
	"badReference": ErrBadReference, "noPlatform": ErrNoPlatform, "diskFull": ErrDiskFull, "corrupt": ErrCorrupt,
	"badArchive": ErrBadArchive, "unsupported": ErrUnsupported,
}

func toWire(err error) *wireError {
	out := &wireError{Text: err.Error()}
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			out.Kind = name
		}
	}
	return out
}

// remoteError is an error of the server, with its words and its kind.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

func (w *wireError) err() error { return &remoteError{text: w.Text, kind: kinds[w.Kind]} }

// Serve answers on the unix socket at path, which is for root alone, until ctx ends.
func Serve(ctx context.Context, s *Store, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("images socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("images socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("images socket: %w", err)
	}
	srv := &http.Server{Handler: NewHandler(s), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("images socket: %w", err)
	}
	return nil
}

// NewHandler serves the API.
func NewHandler(s *Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /images", func(w http.ResponseWriter, r *http.Request) {
		imgs, err := s.List(r.Context())
		answer(w, imgs, err)
	})
	mux.HandleFunc("DELETE /images", func(w http.ResponseWriter, r *http.Request) {
		gone, err := s.Untag(r.Context(), r.URL.Query().Get("ref"))
		answer(w, gone, err)
	})
	mux.HandleFunc("POST /pull", func(w http.ResponseWriter, r *http.Request) {
		var req pullRequest
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		st := &stream{w: w}
		img, err := s.Pull(r.Context(), req.Ref, PullOptions{Auth: req.Auth, Platform: req.Platform, Progress: st.progress})
		st.end([]Image{img}, err)
	})
	mux.HandleFunc("POST /import", func(w http.ResponseWriter, r *http.Request) {
		var req importRequest
		if err := json.Unmarshal([]byte(r.Header.Get(importHeader)), &req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		// Progress is answered while the archive is still being read.
		_ = http.NewResponseController(w).EnableFullDuplex()
		st := &stream{w: w}
		imgs, err := s.Import(r.Context(), r.Body, ImportOptions{Names: req.Names, Platform: req.Platform, Pinned: req.Pinned, Progress: st.progress})
		st.end(imgs, err)
	})
	return mux
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		v = toWire(err)
	}
	_ = json.NewEncoder(w).Encode(v) // a client that went away
}

// stream writes messages.
type stream struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	ended bool
}

func (s *stream) progress(p Progress) { s.send(message{Progress: &p}, false) }

func (s *stream) end(imgs []Image, err error) {
	if err != nil {
		s.send(message{Error: toWire(err)}, true)
		return
	}
	s.send(message{Images: imgs}, true)
}

func (s *stream) send(m message, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = last
	if json.NewEncoder(s.w).Encode(m) == nil {
		_ = http.NewResponseController(s.w).Flush()
	}
}
