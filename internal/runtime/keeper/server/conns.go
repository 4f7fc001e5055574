package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/wire"
)

// Kinds of connections, as they are handed over.
const (
	kindRequests = "requests"
	kindEvents   = "events"
	kindExec     = "exec"
	kindAttach   = "attach"
	kindUpgrade  = "upgrade" // waits for the answer to Upgrade
)

// connection is one client's. While its goroutine runs, the fields are its own.
type connection struct {
	conn   *wire.Conn
	kind   string
	exec   *execSession
	attach *attachment
	events *subscriber // of an earlier program's; nil for a new one
}

// connections are all that are open. For an upgrade their goroutines stop
// between two frames and the connections stay open (parked).
type connections struct {
	s *Server

	mu      sync.Mutex
	all     map[*connection]struct{}
	parking map[string]bool // by kind: to stop at the next chance
	running map[string]int  // goroutines by kind
	changed chan struct{}   // capacity 1: running changed
}

func newConnections(s *Server) *connections {
	return &connections{
		s: s, all: map[*connection]struct{}{}, parking: map[string]bool{}, running: map[string]int{},
		changed: make(chan struct{}, 1),
	}
}

// serve begins to serve a client.
func (cs *connections) serve(u *net.UnixConn) {
	cs.start(&connection{conn: wire.NewConn(u), kind: kindRequests})
}

func (cs *connections) start(c *connection) {
	cs.mu.Lock()
	cs.all[c] = struct{}{}
	cs.running[c.kind]++
	cs.mu.Unlock()
	go func() {
		parked := cs.loop(c)
		cs.mu.Lock()
		cs.running[c.kind]--
		if !parked {
			delete(cs.all, c)
		}
		cs.mu.Unlock()
		if !parked {
			_ = c.conn.Close()
		}
		select {
		case cs.changed <- struct{}{}:
		default:
		}
	}()
}

// become changes the kind of a connection under its goroutine.
func (cs *connections) become(c *connection, kind string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.running[c.kind]--
	cs.running[kind]++
	c.kind = kind
}

func (cs *connections) isParking(kind string) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.parking[kind]
}

// loop serves a connection until its end, or until it is parked.
func (cs *connections) loop(c *connection) (parked bool) {
	for {
		switch c.kind {
		case kindEvents:
			return !cs.s.serveEvents(c)
		case kindExec:
			return !cs.s.serveExec(c.conn, c.exec)
		case kindAttach:
			return !cs.s.serveAttach(c.conn, c.attach)
		}
		if cs.isParking(c.kind) {
			return true
		}
		head, body, files, err := c.conn.Receive()
		if errors.Is(err, wire.ErrIdle) {
			return true
		}
		if err != nil {
			return false
		}
		if !cs.request(c, keeper.Method(head), body, files) {
			return false
		}
	}
}

// request serves one request and answers it; false ends the connection. A panic
// is an answer too: the keeper must not die of a request.
func (cs *connections) request(c *connection, m keeper.Method, body []byte, files []*os.File) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			cs.s.cfg.Log.Error("panic in a request", "method", m, "panic", r, "stack", string(debug.Stack()))
			ok = c.conn.Send(keeper.EncodeError(fmt.Errorf("%s: internal error: %v", m, r)), nil) == nil
		}
	}()
	switch m {
	case keeper.MethodEvents:
		wire.CloseAll(files)
		cs.become(c, kindEvents)
		return true
	case keeper.MethodExec:
		return cs.execRequest(c, body, files)
	case keeper.MethodAttach:
		wire.CloseAll(files)
		return cs.attachRequest(c, body)
	case keeper.MethodUpgrade:
		wire.CloseAll(files)
		return cs.upgradeRequest(c, body)
	case keeper.MethodShutdown:
		wire.CloseAll(files)
		return cs.shutdownRequest(c, body)
	}
	wire.CloseAll(files)
	// A client that is gone is not told, but what it asked for is done: half
	// of a start or a removal helps nobody.
	answer, err := cs.s.call(context.Background(), m, body)
	if err != nil {
		return c.conn.Send(keeper.EncodeError(err), nil) == nil
	}
	return c.conn.Send("", answer) == nil
}

func decodeBody[T any](m keeper.Method, body []byte) (T, error) {
	var in T
	if err := json.Unmarshal(body, &in); err != nil {
		return in, fmt.Errorf("%s: %w: %w", m, keeper.ErrInvalid, err)
	}
	return in, nil
}

func (cs *connections) execRequest(c *connection, body []byte, files []*os.File) bool {
	in, err := decodeBody[keeper.ExecRequest](keeper.MethodExec, body)
	if err != nil {
		wire.CloseAll(files)
		return c.conn.Send(keeper.EncodeError(err), nil) == nil
	}
	e, terminal, err := cs.s.startExec(in, files, c.conn.Alive)
	if err != nil {
		return c.conn.Send(keeper.EncodeError(err), nil) == nil
	}
	var pass []*os.File
	if terminal != nil {
		pass = append(pass, terminal)
		defer terminal.Close()
	}
	// If that fails the stream's reader sees it too, and kills the process.
	_ = c.conn.Send("", keeper.ExecStarted{PID: e.PID}, pass...)
	c.exec = e
	cs.become(c, kindExec)
	return true
}

func (cs *connections) attachRequest(c *connection, body []byte) bool {
	in, err := decodeBody[keeper.IDRequest](keeper.MethodAttach, body)
	if err != nil {
		return c.conn.Send(keeper.EncodeError(err), nil) == nil
	}
	a, started, theirs, err := cs.s.startAttach(in.ID)
	if err != nil {
		return c.conn.Send(keeper.EncodeError(err), nil) == nil
	}
	defer wire.CloseAll(theirs)
	_ = c.conn.Send("", started, theirs...)
	c.attach = a
	cs.become(c, kindAttach)
	return true
}

// writePatience is how long a client may not read its events.
const writePatience = 10 * time.Second

// serveEvents sends events until the client goes or is cut off. It returns
// false when it was interrupted for an upgrade.
func (s *Server) serveEvents(c *connection) (finished bool) {
	if c.events != nil {
		defer s.events.unsubscribe(c.events)
		return s.sendEvents(c, c.events)
	}
	sub := s.events.subscribe()
	defer s.events.unsubscribe(sub)
	// The answer comes after the subscription: nothing is missed from here.
	if err := c.conn.Send("", nil); err != nil {
		return true
	}
	return s.sendEvents(c, sub)
}

func (s *Server) sendEvents(c *connection, sub *subscriber) (finished bool) {
	gone := make(chan error, 1)
	go func() {
		_, _, files, err := c.conn.Receive() // a client has nothing to say
		wire.CloseAll(files)
		gone <- err
	}()
	send := func(e keeper.Event) error {
		_ = c.conn.SetWriteDeadline(time.Now().Add(writePatience))
		return c.conn.Send("", e)
	}
	for {
		select {
		case e, open := <-sub.events:
			if !open || send(e) != nil {
				_ = c.conn.Close()
				<-gone
				return true
			}
		case err := <-gone:
			if !errors.Is(err, wire.ErrIdle) {
				return true
			}
			for { // for the next program nothing may be left in the queue
				select {
				case e, open := <-sub.events:
					if !open || send(e) != nil {
						return true
					}
				default:
					_ = c.conn.SetWriteDeadline(time.Time{})
					return false
				}
			}
		}
	}
}

// park stops the goroutines of a kind between two frames; it returns when none
// but except are left, or an error when ctx ends first.
func (cs *connections) park(ctx context.Context, except int, kinds ...string) error {
	cs.mu.Lock()
	for _, kind := range kinds {
		cs.parking[kind] = true
	}
	for c := range cs.all {
		if cs.parking[c.kind] {
			_ = c.conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
	cs.mu.Unlock()
	for {
		cs.mu.Lock()
		left := 0
		for _, kind := range kinds {
			left += cs.running[kind]
		}
		cs.mu.Unlock()
		if left <= except {
			return nil
		}
		select {
		case <-cs.changed:
		case <-ctx.Done():
			return fmt.Errorf("%d requests do not end: %w", left-except, ctx.Err())
		}
	}
}

// unpark lets parked connections of a kind go on.
func (cs *connections) unpark(kind string, busy *connection) {
	cs.mu.Lock()
	cs.parking[kind] = false
	var parked []*connection
	for c := range cs.all {
		if c.kind == kind && c != busy {
			parked = append(parked, c)
		}
	}
	cs.mu.Unlock()
	for _, c := range parked {
		_ = c.conn.SetReadDeadline(time.Time{})
		cs.start(c)
	}
}

// closeAll ends every connection.
func (cs *connections) closeAll() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.all {
		_ = c.conn.Close()
	}
}
