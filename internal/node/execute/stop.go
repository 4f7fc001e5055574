package execute

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// stopContainer returns once the container has ended. The CRI counts in seconds:
// a part of one is given, not taken.
func (e *Executor) stopContainer(ctx context.Context, r Request) error {
	seconds := int64((r.Action.Grace + time.Second - 1) / time.Second)
	_, err := e.Runtime.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: r.Action.ContainerID, Timeout: seconds})
	return ignoreNotFound(err)
}

// removeContainer removes an ended instance, normally with its log.
func (e *Executor) removeContainer(ctx context.Context, r Request) error {
	_, err := e.Runtime.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: r.Action.ContainerID})
	if err := ignoreNotFound(err); err != nil || r.Action.KeepLogs {
		return err
	}
	return removeLogs(r)
}

// removeLogs removes the log of the instance and what rotation made of it.
func removeLogs(r Request) error {
	for _, inst := range r.Observed.Instances {
		if inst.ID != r.Action.ContainerID || inst.LogPath == "" || inst.State == podlife.Live {
			continue
		}
		rotated, err := filepath.Glob(inst.LogPath + ".*")
		if err != nil {
			return fmt.Errorf("find rotated logs: %w", err)
		}
		for _, file := range append(rotated, inst.LogPath) {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove log: %w", err)
			}
		}
	}
	return nil
}

func ignoreNotFound(err error) error {
	if grpcstatus.Code(err) == codes.NotFound {
		return nil
	}
	return err
}
