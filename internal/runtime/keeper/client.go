package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/proa-project/proa/internal/runtime/keeper/wire"
)

var _ Keeper = (*Client)(nil)

// maxIdle connections are kept for the next call.
const maxIdle = 4

// Client is a Keeper behind a socket. It may outlive the keeper: every call
// that finds no open connection dials anew.
type Client struct {
	socket string

	mu     sync.Mutex
	idle   []*wire.Conn
	closed bool
}

// Dial connects to the keeper that listens on the socket and checks that it
// speaks our protocol.
func Dial(socket string) (*Client, error) {
	c := &Client{socket: socket}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, err := c.Version(ctx)
	if err != nil {
		return nil, err
	}
	if v.Protocol != Protocol {
		_ = c.Close()
		return nil, fmt.Errorf("keeper %s (pid %d) speaks %d, not %d: %w", v.Version, v.PID, v.Protocol, Protocol, ErrProtocol)
	}
	return c, nil
}

// Replace upgrades the keeper behind the socket to the program at path, whatever
// protocol it speaks: these two requests never change.
func Replace(ctx context.Context, socket, path string) error {
	c := &Client{socket: socket}
	defer c.Close()
	return c.Upgrade(ctx, path)
}

// Close drops the connections; calls under way fail.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	c.idle = nil
	return nil
}

func (c *Client) take() (*wire.Conn, error) {
	c.mu.Lock()
	for len(c.idle) > 0 {
		conn := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		if conn.Alive() {
			c.mu.Unlock()
			return conn, nil
		}
		_ = conn.Close()
	}
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return nil, fmt.Errorf("client is closed: %w", ErrUnavailable)
	}
	u, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: c.socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return wire.NewConn(u), nil
}

func (c *Client) give(conn *wire.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.idle) >= maxIdle {
		_ = conn.Close()
		return
	}
	c.idle = append(c.idle, conn)
}

// exchange sends one request and reads its answer. The connection is returned
// only when the answer is no error: an error's connection is used again.
func (c *Client) exchange(ctx context.Context, m Method, in any, send ...*os.File) (*wire.Conn, []byte, []*os.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, nil, err
	}
	conn, err := c.take()
	if err != nil {
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = conn.Send(string(m), in, send...)
	var head string
	var body []byte
	var files []*os.File
	if err == nil {
		head, body, files, err = conn.Receive()
	}
	if !stop() && err == nil {
		// The answer came, but a deadline may be on the connection by now.
		err = ctx.Err()
	}
	if err != nil {
		wire.CloseAll(files)
		_ = conn.Close()
		if ctx.Err() != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", m, ctx.Err())
		}
		return nil, nil, nil, fmt.Errorf("%s: %w: %w", m, ErrUnavailable, err)
	}
	if err := DecodeError(head); err != nil {
		wire.CloseAll(files)
		c.give(conn)
		return nil, nil, nil, err
	}
	return conn, body, files, nil
}

// call is exchange for an answer without a stream behind it.
func (c *Client) call(ctx context.Context, m Method, in, out any) error {
	conn, body, files, err := c.exchange(ctx, m, in)
	if err != nil {
		return err
	}
	wire.CloseAll(files)
	c.give(conn)
	return decode(m, body, out)
}

func decode(m Method, body []byte, out any) error {
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: decode answer: %w", m, err)
	}
	return nil
}

// The calls of the interface, in its order.

func (c *Client) StartSandbox(ctx context.Context, s Sandbox) (st SandboxStatus, err error) {
	return st, c.call(ctx, MethodStartSandbox, s, &st)
}

func (c *Client) StopSandbox(ctx context.Context, id string) error {
	return c.call(ctx, MethodStopSandbox, IDRequest{id}, nil)
}

func (c *Client) RemoveSandbox(ctx context.Context, id string) error {
	return c.call(ctx, MethodRemoveSandbox, IDRequest{id}, nil)
}

func (c *Client) Sandbox(ctx context.Context, id string) (st SandboxStatus, err error) {
	return st, c.call(ctx, MethodSandbox, IDRequest{id}, &st)
}

func (c *Client) Sandboxes(ctx context.Context) (all []SandboxStatus, err error) {
	return all, c.call(ctx, MethodSandboxes, nil, &all)
}

func (c *Client) Create(ctx context.Context, r Container) (st ContainerStatus, err error) {
	return st, c.call(ctx, MethodCreate, r, &st)
}

func (c *Client) Start(ctx context.Context, id string) (st ContainerStatus, err error) {
	return st, c.call(ctx, MethodStart, IDRequest{id}, &st)
}

func (c *Client) Run(ctx context.Context, r Container) (st ContainerStatus, err error) {
	return st, c.call(ctx, MethodRun, r, &st)
}

func (c *Client) Signal(ctx context.Context, id string, sig syscall.Signal, all bool) error {
	return c.call(ctx, MethodSignal, SignalRequest{id, sig, all}, nil)
}

// Wait listens first and asks then, so that no end is missed.
func (c *Client) Wait(ctx context.Context, id string) (ContainerStatus, error) {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := c.Events(watch)
	if err != nil {
		return ContainerStatus{}, err
	}
	for {
		st, err := c.Container(ctx, id)
		if err != nil || st.State == Exited {
			return st, err
		}
		for e := range events {
			if e.ContainerID == id {
				break
			}
		}
		if ctx.Err() != nil {
			return st, ctx.Err()
		}
		// A closed channel needs a new one, or this would spin.
		select {
		case _, open := <-events:
			if !open {
				if events, err = c.Events(watch); err != nil {
					return st, err
				}
			}
		default:
		}
	}
}

func (c *Client) Remove(ctx context.Context, id string) error {
	return c.call(ctx, MethodRemove, IDRequest{id}, nil)
}

func (c *Client) Container(ctx context.Context, id string) (st ContainerStatus, err error) {
	return st, c.call(ctx, MethodContainer, IDRequest{id}, &st)
}

func (c *Client) Containers(ctx context.Context) (all []ContainerStatus, err error) {
	return all, c.call(ctx, MethodContainers, nil, &all)
}

func (c *Client) Resize(ctx context.Context, id string, size WindowSize) error {
	return c.call(ctx, MethodResize, ResizeRequest{id, size}, nil)
}

func (c *Client) ReopenLog(ctx context.Context, id string) error {
	return c.call(ctx, MethodReopenLog, IDRequest{id}, nil)
}

func (c *Client) UpdateResources(ctx context.Context, id string, r *specs.LinuxResources) error {
	return c.call(ctx, MethodUpdateResources, UpdateRequest{id, r}, nil)
}

func (c *Client) Stats(ctx context.Context, ids ...string) (all []Stats, err error) {
	return all, c.call(ctx, MethodStats, StatsRequest{ids}, &all)
}

func (c *Client) Version(ctx context.Context) (v Version, err error) {
	return v, c.call(ctx, MethodVersion, nil, &v)
}

func (c *Client) Upgrade(ctx context.Context, path string) error {
	return c.call(ctx, MethodUpgrade, UpgradeRequest{path}, nil)
}

// Shutdown returns when the keeper is gone.
func (c *Client) Shutdown(ctx context.Context, force bool) error {
	conn, _, files, err := c.exchange(ctx, MethodShutdown, ShutdownRequest{force})
	if err != nil {
		return err
	}
	defer conn.Close()
	wire.CloseAll(files)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	// The keeper answered that it will; the end of the connection is its own.
	if _, _, _, err := conn.Receive(); errors.Is(err, wire.ErrIdle) {
		return fmt.Errorf("%s: %w", MethodShutdown, ctx.Err())
	}
	return nil
}
