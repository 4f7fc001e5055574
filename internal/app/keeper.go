package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// openKeeper connects to the cluster's keeper, and starts one if none answers.
// It has a cgroup of its own, so that whoever ends ours does not end its.
func openKeeper(ctx context.Context, l layout.Layout, binaries string) (*keeper.Client, error) {
	log, err := os.OpenFile(l.KeeperLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the keeper's log: %w", err)
	}
	defer log.Close()
	client, err := keeper.Launch(ctx, keeper.LaunchConfig{
		Program: filepath.Join(binaries, "proa-keeper"), Pause: filepath.Join(binaries, "pause"),
		Run: l.Run, Cgroup: l.Cgroup() + "/keeper", Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("start proa-keeper (`make build` makes it beside proa): %w; see %s", err, l.KeeperLog())
	}
	return client, nil
}

// guardEvery is how soon a keeper that died is replaced.
const guardEvery = 500 * time.Millisecond

// guardKeeper starts another keeper when ours has died; it adopts what runs.
func (s *server) guardKeeper(ctx context.Context) error {
	binaries, err := binariesDir(s.layout)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(guardEvery):
		}
		client, err := openKeeper(ctx, s.layout, binaries)
		if err != nil {
			s.log.Warn("The keeper does not come back", "err", err)
			continue
		}
		if v, err := client.Version(ctx); err == nil {
			s.mu.Lock()
			s.keeperPID = v.PID
			s.mu.Unlock()
		}
		_ = client.Close()
	}
}
