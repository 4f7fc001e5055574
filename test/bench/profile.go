package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/proa-project/proa/internal/kit/layout"
)

// profiled is how much of each part's beginning is in its profile, in seconds.
const profiled = 8

// profile takes a CPU profile of the server into DIR/part.pprof while the part is
// measured; wait returns when it is written. Without a folder nothing happens.
func (b *bench) profile(ctx context.Context, dir, part string) (wait func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l, err := layout.For(b.status.DataDir)
	if err != nil {
		return nil, err
	}
	written := make(chan error, 1)
	go func() { written <- fetchProfile(ctx, l.Control(), filepath.Join(dir, part+".pprof")) }()
	return func() error { return <-written }, nil
}

func fetchProfile(ctx context.Context, socket, path string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://proa/debug/pprof/profile?seconds=%d", profiled), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
