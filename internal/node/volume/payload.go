package volume

import (
	"errors"
	"fmt"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// File is one file of a volume as it must stand on disk.
type File struct {
	Data []byte
	Mode int32
	// User owns the file where it isn't root.
	User *int64
}

// Payload is the contents of a volume: relative slash paths to files.
type Payload map[string]File

// Limits of Linux paths (limits.h), checked before anything is written.
const (
	maxNameLength = 255
	maxPathLength = 4096
)

// defaultFileMode is what the API fills in; it only matters for static pods that skipped defaulting.
const defaultFileMode = 0o644

// ownership says who must be able to read the files: it decides modes and owners of tokens and trust bundles.
type ownership struct {
	fsGroup *int64
	fsUser  *int64
}

func configMapPayload(cm *v1.ConfigMap, items []v1.KeyToPath, mode *int32, user *int64, optional bool) (Payload, error) {
	values := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for key, value := range cm.Data {
		values[key] = []byte(value)
	}
	for key, value := range cm.BinaryData {
		values[key] = value
	}
	return keysPayload(values, items, mode, user, optional, "configmap references non-existent config key: %s")
}

func secretPayload(secret *v1.Secret, items []v1.KeyToPath, mode *int32, user *int64, optional bool) (Payload, error) {
	return keysPayload(secret.Data, items, mode, user, optional, "references non-existent secret key: %s")
}

// keysPayload places all keys, or only the listed ones at their paths.
func keysPayload(values map[string][]byte, items []v1.KeyToPath, mode *int32, user *int64, optional bool, missing string) (Payload, error) {
	out := Payload{}
	if len(items) == 0 {
		for key, value := range values {
			out[key] = File{Data: value, Mode: modeOr(nil, mode), User: user}
		}
		return out, nil
	}
	for _, item := range items {
		value, ok := values[item.Key]
		if !ok {
			if optional {
				continue
			}
			return nil, fmt.Errorf(missing, item.Key)
		}
		out[path.Clean(item.Path)] = File{Data: value, Mode: modeOr(item.Mode, mode), User: userOr(item.User, user)}
	}
	return out, nil
}

func modeOr(mode, fallback *int32) int32 {
	switch {
	case mode != nil:
		return *mode
	case fallback != nil:
		return *fallback
	}
	return defaultFileMode
}

func userOr(user, fallback *int64) *int64 {
	if user != nil {
		return user
	}
	return fallback
}

// credentialFile is a token or trust bundle: kept from other users as soon as it is known who reads it. With a group, 0600
// becomes 0640 when the group takes ownership.
func credentialFile(data []byte, mode *int32, user *int64, own ownership) File {
	file := File{Data: data, Mode: modeOr(nil, mode), User: userOr(user, own.fsUser)}
	if file.User != nil || own.fsGroup != nil {
		file.Mode = 0o600
	}
	return file
}

// commonUser returns the user that every container of the pod runs as, or nil when they differ or one leaves it to its image.
func commonUser(pod *v1.Pod) *int64 {
	var common *int64
	for _, c := range allContainers(pod) {
		user := runAsUser(pod, c)
		if user == nil || (common != nil && *common != *user) {
			return nil
		}
		common = user
	}
	return common
}

func runAsUser(pod *v1.Pod, c *v1.Container) *int64 {
	if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
		return c.SecurityContext.RunAsUser
	}
	if pod.Spec.SecurityContext != nil {
		return pod.Spec.SecurityContext.RunAsUser
	}
	return nil
}

func allContainers(pod *v1.Pod) []*v1.Container {
	var all []*v1.Container
	for i := range pod.Spec.InitContainers {
		all = append(all, &pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	for i := range pod.Spec.EphemeralContainers {
		all = append(all, (*v1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	return all
}

// validate refuses paths that could leave the volume or clash with the writer's own names ("..data", "..2026_…").
func (p Payload) validate() error {
	for name := range p {
		if err := validatePath(name); err != nil {
			return err
		}
	}
	return p.validateTree()
}

func validatePath(name string) error {
	switch {
	case name == "" || name == ".":
		return errors.New("invalid path: must not be empty")
	case path.IsAbs(name):
		return fmt.Errorf("invalid path: must be relative path: %s", name)
	case len(name) > maxPathLength:
		return fmt.Errorf("invalid path: must be less than or equal to %d characters", maxPathLength)
	case strings.HasPrefix(name, ".."):
		return fmt.Errorf("invalid path: must not start with '..': %s", name)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("invalid path: must not contain NUL: %q", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return fmt.Errorf("invalid path: must not contain '..': %s", name)
		case len(part) > maxNameLength:
			return fmt.Errorf("invalid path: filenames must be less than or equal to %d characters", maxNameLength)
		}
	}
	return nil
}

// validateTree refuses a path that is a file for one entry and a folder for another.
func (p Payload) validateTree() error {
	for name := range p {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, clash := p[dir]; clash {
				return fmt.Errorf("invalid path: %s is a file and a folder of %s", dir, name)
			}
		}
	}
	return nil
}
