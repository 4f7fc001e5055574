package inprocess

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Transport sends every request to Handler as User.
type Transport struct {
	Handler http.Handler
	User    user.Info
}

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip returns when the handler wrote its header (or ended). The handler
// runs until it returns or the request's context or response body is closed.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.WithValue(req.Context(), userKey{}, t.User))
	in := req.Clone(ctx)
	in.RequestURI = req.URL.RequestURI()
	in.RemoteAddr = remoteAddr
	in.Host = req.URL.Host
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/2.0", 2, 0
	if in.Body == nil {
		in.Body = http.NoBody
	}

	w := newWriter(ctx)
	go func() {
		defer cancel()
		defer in.Body.Close()
		defer w.finish()
		t.Handler.ServeHTTP(w, in)
	}()

	select {
	case <-w.wrote:
	case <-ctx.Done():
		// The handler may have written and returned in one go: then this is no error.
		select {
		case <-w.wrote:
		default:
			w.abort(ctx.Err())
			cancel()
			return nil, ctx.Err()
		}
	}
	if w.status == 0 {
		cancel()
		return nil, errors.New("in-process request: the handler panicked before it answered")
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        w.sent,
		Body:          &body{w: w, cancel: cancel},
		ContentLength: -1,
		Request:       req,
	}, nil
}

const remoteAddr = "127.0.0.1:0"

type userKey struct{}

// Authenticator recognizes requests that came through a Transport.
func Authenticator() authenticator.Request {
	return authenticator.RequestFunc(func(req *http.Request) (*authenticator.Response, bool, error) {
		u, ok := req.Context().Value(userKey{}).(user.Info)
		if !ok {
			return nil, false, nil
		}
		return &authenticator.Response{User: u}, true, nil
	})
}

// writer is both ends of one response: the handler writes, the client reads.
// What is written waits in buf, at most about maxBuffered bytes.
type writer struct {
	ctx    context.Context
	header http.Header

	wrote  chan struct{} // closed when status and sent are set
	once   sync.Once
	status int
	sent   http.Header

	mu   sync.Mutex
	cond *sync.Cond
	buf  []byte
	done bool  // no more will be written
	err  error // the reader went away
}

const maxBuffered = 1 << 20

var (
	_ http.Flusher       = (*writer)(nil)
	_ http.CloseNotifier = (*writer)(nil) //nolint:staticcheck // the library tells HTTP/2 writers by it
	_ io.ReaderFrom      = (*writer)(nil)
)

func newWriter(ctx context.Context) *writer {
	w := &writer{ctx: ctx, header: http.Header{}, wrote: make(chan struct{})}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		return // informational
	}
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.wrote)
	})
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buf) > maxBuffered && w.err == nil {
		w.cond.Wait()
	}
	if w.err != nil {
		return 0, w.err
	}
	w.buf = append(w.buf, p...)
	w.cond.Broadcast()
	return len(p), nil
}

// ReadFrom keeps io.Copy from looking for one elsewhere.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	return bufio.NewReader(r).WriteTo(struct{ io.Writer }{w})
}

// Flush has nothing to wait for: what is written can be read at once.
func (w *writer) Flush() { w.WriteHeader(http.StatusOK) }

func (w *writer) CloseNotify() <-chan bool {
	c := make(chan bool, 1)
	context.AfterFunc(w.ctx, func() { c <- true })
	return c
}

// finish is the handler's return. A handler that panicked leaves status 0.
func (w *writer) finish() {
	panicked := recover() != nil
	if panicked {
		w.once.Do(func() { close(w.wrote) })
	} else {
		w.WriteHeader(http.StatusOK)
	}
	w.mu.Lock()
	w.done = true
	if panicked { // how the chain cuts a response short
		w.buf, w.err = nil, io.ErrUnexpectedEOF
	}
	w.cond.Broadcast()
	w.mu.Unlock()
}

func (w *writer) abort(err error) {
	w.mu.Lock()
	w.err = err
	w.buf = nil
	w.cond.Broadcast()
	w.mu.Unlock()
}

// body is the client's end.
type body struct {
	w      *writer
	cancel context.CancelFunc
	watch  sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	w := b.w
	// A cancelled request must wake a reader that waits for more.
	b.watch.Do(func() { context.AfterFunc(w.ctx, func() { w.mu.Lock(); w.cond.Broadcast(); w.mu.Unlock() }) })
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buf) == 0 {
		switch {
		case w.err != nil:
			return 0, w.err
		case w.done:
			return 0, io.EOF
		case w.ctx.Err() != nil:
			return 0, w.ctx.Err()
		}
		w.cond.Wait()
	}
	n := copy(p, w.buf)
	w.buf = w.buf[n:]
	if len(w.buf) == 0 {
		w.buf = nil
	}
	w.cond.Broadcast()
	return n, nil
}

func (b *body) Close() error {
	b.cancel()
	b.w.abort(http.ErrBodyReadAfterClose)
	return nil
}
