package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// subPathsFolder holds the pinned subPath mounts of a pod: <volume>/<container>/<index of the mount>.
const subPathsFolder = "volume-subpaths"

// Mounts lists what the container's volumeMounts come to. env is the container's environment, for subPathExpr.
func (m *Manager) Mounts(_ context.Context, pod *v1.Pod, c *v1.Container, env map[string]string) ([]*runtimeapi.Mount, error) {
	out := make([]*runtimeapi.Mount, 0, len(c.VolumeMounts))
	for i := range c.VolumeMounts {
		mount, err := m.mount(pod, c, i, env)
		if err != nil {
			return nil, err
		}
		out = append(out, mount)
	}
	return out, nil
}

func (m *Manager) mount(pod *v1.Pod, c *v1.Container, index int, env map[string]string) (*runtimeapi.Mount, error) {
	want := &c.VolumeMounts[index]
	vol := findVolume(pod, want.Name)
	if vol == nil {
		return nil, fmt.Errorf("volume %q of container %q is not among the pod's", want.Name, c.Name)
	}
	subPath, err := expandSubPath(want, c.Name, env)
	if err != nil {
		return nil, err
	}
	propagation, err := propagationOf(want)
	if err != nil {
		return nil, err
	}
	recursive, err := m.recursiveReadOnly(pod, want)
	if err != nil {
		return nil, fmt.Errorf("failed to resolve recursive read-only mode: %w", err)
	}
	out := &runtimeapi.Mount{
		ContainerPath:     want.MountPath,
		Readonly:          want.ReadOnly || vol.Image != nil,
		RecursiveReadOnly: recursive,
		Propagation:       propagation,
		MountOptions:      want.BindMountOptions,
	}
	if !filepath.IsAbs(out.ContainerPath) {
		out.ContainerPath = "/" + out.ContainerPath
	}
	if vol.Image != nil {
		// The agent has pulled it; the runtime mounts it.
		out.Image, out.ImageSubPath = &runtimeapi.ImageSpec{Image: vol.Image.Reference, UserSpecifiedImage: vol.Image.Reference}, subPath
		return out, nil
	}
	target := filepath.Join(m.podDir(pod.UID), subPathsFolder, vol.Name, c.Name, strconv.Itoa(index))
	hostPath, readOnly, err := m.hostPath(pod, vol)
	if err != nil {
		return nil, err
	}
	out.Readonly = out.Readonly || readOnly
	if out.HostPath, err = source(vol, hostPath, subPath, target); err != nil {
		return nil, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", want.Name, c.Name, err)
	}
	return out, nil
}

// source is what is mounted: the volume, or what its subPath names, pinned at target.
func source(vol *v1.Volume, hostPath, subPath, target string) (string, error) {
	if vol.HostPath != nil {
		// Of no type: a missing folder is made, as upstream's runtimes do. (Of another type, it is there.)
		if _, err := os.Lstat(hostPath); errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(hostPath, 0o755); err != nil {
				return "", err
			}
		}
	}
	if subPath == "" {
		return hostPath, nil
	}
	return target, pinSubPath(hostPath, subPath, target)
}

func pinSubPath(hostPath, subPath, target string) error {
	source, err := openSubPath(hostPath, subPath)
	if err != nil {
		return err
	}
	defer source.Close()
	return pin(source, target)
}

func findVolume(pod *v1.Pod, name string) *v1.Volume {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v v1.Volume) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return &pod.Spec.Volumes[i]
}

// writtenByUs tells volumes whose contents come from the API; no container may write to them.
func writtenByUs(vol *v1.Volume) bool {
	return vol.ConfigMap != nil || vol.Secret != nil || vol.DownwardAPI != nil || vol.Projected != nil
}

func propagationOf(want *v1.VolumeMount) (runtimeapi.MountPropagation, error) {
	if want.MountPropagation == nil {
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE, nil
	}
	switch *want.MountPropagation {
	case v1.MountPropagationNone:
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE, nil
	case v1.MountPropagationHostToContainer:
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, nil
	case v1.MountPropagationBidirectional:
		return runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL, nil
	}
	return 0, fmt.Errorf("invalid MountPropagation mode: %q", *want.MountPropagation)
}

func (m *Manager) recursiveReadOnly(pod *v1.Pod, want *v1.VolumeMount) (bool, error) {
	if want.RecursiveReadOnly == nil || *want.RecursiveReadOnly == v1.RecursiveReadOnlyDisabled {
		return false, nil
	}
	if !want.ReadOnly {
		return false, fmt.Errorf("volume %q requested recursive read-only mode, but it is not read-only", want.Name)
	}
	if p := want.MountPropagation; p != nil && *p != v1.MountPropagationNone {
		return false, fmt.Errorf("volume %q requested recursive read-only mode, but it is not compatible with propagation %q", want.Name, *p)
	}
	handler := ""
	if pod.Spec.RuntimeClassName != nil {
		handler = *pod.Spec.RuntimeClassName
	}
	supported := m.cfg.RecursiveReadOnly != nil && m.cfg.RecursiveReadOnly(handler)
	switch *want.RecursiveReadOnly {
	case v1.RecursiveReadOnlyIfPossible:
		return supported, nil
	case v1.RecursiveReadOnlyEnabled:
		if !supported {
			return false, fmt.Errorf("volume %q requested recursive read-only mode, but it is not supported by the runtime", want.Name)
		}
		return true, nil
	}
	return false, fmt.Errorf("unknown recursive read-only mode %q", *want.RecursiveReadOnly)
}

// expandSubPath returns subPath, or subPathExpr with its $(NAME)s filled in; an unset or empty variable is an error, since the
// mount would silently be of another folder.
func expandSubPath(want *v1.VolumeMount, container string, env map[string]string) (string, error) {
	if want.SubPathExpr == "" {
		return want.SubPath, nil
	}
	expanded, missing := expand(want.SubPathExpr, env)
	if len(missing) > 0 {
		slices.Sort(missing)
		return "", fmt.Errorf("failed to expand subPathExpr for volumeMount %q of container %q: %w", want.Name, container,
			errors.New("missing value for "+strings.Join(slices.Compact(missing), ", ")))
	}
	return expanded, nil
}

// expand replaces $(NAME); $$ is a dollar sign, so $$(NAME) stays $(NAME). What isn't a reference stays as it is.
func expand(text string, env map[string]string) (out string, missing []string) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String(), missing
		}
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			text = after[1:]
		case strings.HasPrefix(after, "(") && strings.Contains(after, ")"):
			name, rest, _ := strings.Cut(after[1:], ")")
			if env[name] == "" {
				missing = append(missing, name)
			}
			b.WriteString(env[name])
			text = rest
		default:
			b.WriteByte('$')
			text = after
		}
	}
}
