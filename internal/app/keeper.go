package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

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
