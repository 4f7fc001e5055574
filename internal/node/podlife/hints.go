package podlife

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

// brief is how long a main process runs at most that only put itself, or what it
// was to do, in the background.
const brief = 10 * time.Second

// signals by exit code, of those that programs die of.
var signals = map[int32]string{
	129: "HUP", 130: "INT", 131: "QUIT", 132: "ILL", 133: "TRAP", 134: "ABRT", 135: "BUS", 136: "FPE",
	137: "KILL", 139: "SEGV", 141: "PIPE", 143: "TERM",
}

// endHint says what the end of a container means, and where to look.
func endHint(v *view) string {
	i := v.inst
	switch {
	case v.replaced():
		return ""
	case i.Reason == "OOMKilled":
		limit := v.spec.Resources.Limits[v1.ResourceMemory]
		return fmt.Sprintf("it ran out of memory: its limit is %s", limit.String())
	case endedInBackground(i):
		return "its main process ended by itself after " + i.FinishedAt.Sub(i.StartedAt).Round(10*time.Millisecond).String() +
			", and with it the container: a program that puts itself in the background must be told to stay in the foreground"
	case i.ExitCode == 126:
		return "exit code 126: the command is there and can't be executed"
	case i.ExitCode == 127:
		return "exit code 127: the command is not in the image"
	case signals[i.ExitCode] != "":
		return fmt.Sprintf("exit code %d: it was ended by the signal %s", i.ExitCode, signals[i.ExitCode])
	}
	return ""
}

// endedInBackground: the main process ended well, and so soon that whatever it
// started can't have been all it was for.
func endedInBackground(i *Instance) bool {
	return i.ExitCode == 0 && !i.StartedAt.IsZero() && i.FinishedAt.Sub(i.StartedAt) < brief
}
