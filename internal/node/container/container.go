package container

import (
	"strconv"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Input is what a container's config takes besides the pod.
type Input struct {
	Attempt   int    // restarts so far
	Hash      string // of the container's spec, by which a change is noticed
	ImageRef  string // as the image service names the image that is present
	ImageUser ImageUser
	Env       *Env
	Mounts    []*runtimeapi.Mount
	Devices   []*runtimeapi.Device
	Userns    *runtimeapi.UserNamespace
	TargetID  string // container whose PID namespace an ephemeral container joins
	Grace     int64  // of the pod, seconds
}

// Config is the runtime's config of one run of a container. Its error is the
// message of CreateContainerConfigError.
func Config(pod *v1.Pod, c *v1.Container, node Node, in Input) (*runtimeapi.ContainerConfig, error) {
	security, err := securityContext(pod, c, node, in)
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ContainerConfig{
		Metadata:    &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: uint32(in.Attempt)},
		Image:       &runtimeapi.ImageSpec{Image: in.ImageRef, UserSpecifiedImage: c.Image},
		Command:     expandAll(c.Command, in.Env),
		Args:        expandAll(c.Args, in.Env),
		WorkingDir:  c.WorkingDir,
		Envs:        keyValues(in.Env),
		Mounts:      mapped(in.Mounts, in.Userns),
		Devices:     in.Devices,
		Labels:      containerLabels(pod, c),
		Annotations: containerAnnotations(c, in),
		LogPath:     LogPath(c.Name, in.Attempt),
		Stdin:       c.Stdin,
		StdinOnce:   c.StdinOnce,
		Tty:         c.TTY,
		StopSignal:  stopSignal(c),
		Linux: &runtimeapi.LinuxContainerConfig{
			Resources:       Resources(pod, c, node),
			SecurityContext: security,
		},
	}, nil
}

// mapped shows the owners of volumes as the pod's user namespace has them: root
// in the pod owns what root does on the node.
func mapped(mounts []*runtimeapi.Mount, userns *runtimeapi.UserNamespace) []*runtimeapi.Mount {
	for _, m := range mounts {
		m.UidMappings, m.GidMappings = userns.GetUids(), userns.GetGids()
	}
	return mounts
}

func keyValues(env *Env) []*runtimeapi.KeyValue {
	out := make([]*runtimeapi.KeyValue, 0, len(env.order))
	for _, name := range env.order {
		out = append(out, &runtimeapi.KeyValue{Key: name, Value: []byte(env.values[name])})
	}
	return out
}

func containerLabels(pod *v1.Pod, c *v1.Container) map[string]string {
	return map[string]string{
		LabelPodName: pod.Name, LabelPodNamespace: pod.Namespace, LabelPodUID: string(pod.UID), LabelContainerName: c.Name,
	}
}

func containerAnnotations(c *v1.Container, in Input) map[string]string {
	return map[string]string{
		AnnotationHash:          in.Hash,
		AnnotationRestartCount:  strconv.Itoa(in.Attempt),
		AnnotationMessagePath:   c.TerminationMessagePath,
		AnnotationMessagePolicy: string(c.TerminationMessagePolicy),
		AnnotationPodGrace:      strconv.FormatInt(in.Grace, 10),
	}
}

// stopSignal asked for; otherwise the image's, or the runtime's default.
func stopSignal(c *v1.Container) runtimeapi.Signal {
	if c.Lifecycle == nil || c.Lifecycle.StopSignal == nil {
		return runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT
	}
	return runtimeapi.Signal(runtimeapi.Signal_value["SIGNAL_"+string(*c.Lifecycle.StopSignal)])
}
