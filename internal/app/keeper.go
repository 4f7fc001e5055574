package app

import (
	"context"
	"fmt"
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
// It is detached: it lives on when we end.
func openKeeper(ctx context.Context, l layout.Layout, binaries string) (*keeper.Client, error) {
	if client, err := keeper.Dial(l.KeeperSocket()); err == nil {
		return client, nil
	}
	if err := spawnKeeper(l, binaries); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, keeperStart)
	defer cancel()
	for {
		client, err := keeper.Dial(l.KeeperSocket())
		if err == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("proa-keeper does not answer: %w; see %s", err, l.KeeperLog())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func spawnKeeper(l layout.Layout, binaries string) error {
	log, err := os.OpenFile(l.KeeperLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the keeper's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(binaries, "proa-keeper"), "--run-dir", l.Run, "--pause", filepath.Join(binaries, "pause"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start proa-keeper: %w; `make build` makes it beside proa", err)
	}
	go func() { _ = cmd.Wait() }() // if it ends before we do, it must not stay a zombie
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
