package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// keeperStart bounds how long a new keeper may take to answer.
const keeperStart = 10 * time.Second

// openKeeper connects to the cluster's keeper, and starts one if none answers.
func openKeeper(ctx context.Context, l layout.Layout, binaries string) (*keeper.Client, error) {
	if client, err := keeper.Dial(l.KeeperSocket()); err == nil {
		return client, nil
	}
	if err := spawnKeeper(ctx, l, binaries); err != nil {
		return nil, fmt.Errorf("start proa-keeper: %w", err)
	}
	return keeper.Dial(l.KeeperSocket())
}

// spawnKeeper starts a keeper that lives on when we end, and returns when it serves.
func spawnKeeper(ctx context.Context, l layout.Layout, binaries string) error {
	log, err := os.OpenFile(l.KeeperLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	ready, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd := exec.Command(filepath.Join(binaries, "proa-keeper"), "-run", l.Run, "-pause", filepath.Join(binaries, "pause"), "-ready-fd", "3")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("%w; `make build` makes it beside proa", err)
	}
	go func() { _ = cmd.Wait() }() // if it ends before we do, it must not stay a zombie

	// It closes its end when it serves; so does the kernel if it dies.
	if err := ready.SetReadDeadline(time.Now().Add(keeperStart)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { ready.Close() })
	defer stop()
	if _, err := ready.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("no answer: %w; see %s", err, l.KeeperLog())
	}
	return nil
}

// binariesDir is where the programs that proa starts are.
func binariesDir() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find our own program: %w", err)
	}
	return filepath.Dir(self), nil
}
