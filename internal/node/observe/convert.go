package observe

import (
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/podlife"
)

func sandboxOf(s *runtimeapi.PodSandboxStatus) podlife.Sandbox {
	sb := podlife.Sandbox{
		ID: s.GetId(), Attempt: s.GetMetadata().GetAttempt(), CreatedAt: at(s.GetCreatedAt()),
		Ready: s.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY,
	}
	if ip := s.GetNetwork().GetIp(); ip != "" {
		sb.IPs = append(sb.IPs, ip)
	}
	for _, ip := range s.GetNetwork().GetAdditionalIps() {
		sb.IPs = append(sb.IPs, ip.GetIp())
	}
	return sb
}

func instanceOf(s *runtimeapi.ContainerStatus, c *runtimeapi.Container) podlife.Instance {
	inst := podlife.Instance{
		ID: s.GetId(), Name: s.GetLabels()[container.LabelContainerName], SandboxID: c.GetPodSandboxId(),
		Attempt: attempt(s), State: stateOf(s.GetState()),
		CreatedAt: at(s.GetCreatedAt()), StartedAt: at(s.GetStartedAt()), FinishedAt: at(s.GetFinishedAt()),
		Hash: s.GetAnnotations()[container.AnnotationHash], Image: imageOf(s), ImageRef: s.GetImageRef(), LogPath: s.GetLogPath(),
		User: userOf(s.GetUser()), StopSignal: signalOf(s.GetStopSignal()),
	}
	if inst.Name == "" {
		inst.Name = s.GetMetadata().GetName()
	}
	if neverRan(s) { // some runtimes leave it created when its sandbox is stopped, others end it
		inst.State, inst.FinishedAt = podlife.Created, time.Time{}
	}
	if inst.State == podlife.Exited {
		inst.ExitCode, inst.Reason, inst.Message = s.GetExitCode(), s.GetReason(), s.GetMessage()
		if inst.Reason == "" {
			inst.Reason = "Completed"
			if inst.ExitCode != 0 {
				inst.Reason = "Error"
			}
		}
	}
	return inst
}

// neverRan tells that the container ended before anybody started it.
func neverRan(s *runtimeapi.ContainerStatus) bool {
	return s.GetState() == runtimeapi.ContainerState_CONTAINER_EXITED && s.GetStartedAt() == 0 && s.GetReason() != "StartError"
}

func stateOf(s runtimeapi.ContainerState) podlife.InstanceState {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return podlife.Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return podlife.Live
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return podlife.Exited
	}
	return podlife.Lost
}

// attempt is the restart count: as annotated by the stock agent, and as the CRI has it.
func attempt(s *runtimeapi.ContainerStatus) int {
	if n, err := strconv.Atoi(s.GetAnnotations()[container.AnnotationRestartCount]); err == nil {
		return n
	}
	return int(s.GetMetadata().GetAttempt())
}

// imageOf is the image's name: what the runtime says, unless that is a bare ID.
func imageOf(s *runtimeapi.ContainerStatus) string {
	image, asked := s.GetImage().GetImage(), s.GetImage().GetUserSpecifiedImage()
	if asked != "" && (image == "" || strings.HasPrefix(image, "sha256:")) {
		return asked
	}
	return image
}

func userOf(u *runtimeapi.ContainerUser) *v1.ContainerUser {
	l := u.GetLinux()
	if l == nil {
		return nil
	}
	return &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: l.Uid, GID: l.Gid, SupplementalGroups: l.SupplementalGroups}}
}

// signalOf: the CRI's names have a prefix; the first value means "not told".
func signalOf(s runtimeapi.Signal) *v1.Signal {
	if s == runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		return nil
	}
	name := strings.TrimPrefix(s.String(), "SIGNAL_")
	name = strings.NewReplacer("RTMINPLUS", "RTMIN+", "RTMAXMINUS", "RTMAX-").Replace(name)
	return new(v1.Signal(name))
}

func at(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
