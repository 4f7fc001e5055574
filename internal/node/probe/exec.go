package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// execSlack is what the runtime gets beside the command's own time, to kill it and answer.
const execSlack = 2 * time.Second

// execProbe runs a command in the container: exit status 0 is success.
func execProbe(ctx context.Context, executor Executor, id string, command []string, limit time.Duration) (answer, error) {
	bounded, cancel := context.WithTimeout(ctx, limit+execSlack)
	defer cancel()
	out, err := executor.ExecSync(bounded, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: command, Timeout: int64(limit / time.Second)})
	switch {
	case status.Code(err) == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded):
		return failure(fmt.Sprintf("command timed out: %q timed out after %s", command, limit)), nil
	case err != nil:
		return answer{}, err
	}
	output := clip(append(append([]byte(nil), out.GetStdout()...), out.GetStderr()...))
	if out.GetExitCode() != 0 {
		return failure(output), nil
	}
	return success(output), nil
}
