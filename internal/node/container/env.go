package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Sources are where an environment's values come from besides the pod. An
// absent ConfigMap or Secret is an error for which apierrors.IsNotFound holds.
type Sources struct {
	ConfigMap func(namespace, name string) (*v1.ConfigMap, error)
	Secret    func(namespace, name string) (*v1.Secret, error)
	// Services of the whole cluster; those that the pod is told of are picked.
	Services []*v1.Service
	// Volume is the host directory of one of the pod's volumes, for fileKeyRef.
	Volume func(name string) (string, error)
}

// Env is a container's environment.
type Env struct {
	values map[string]string
	order  []string
}

// Map is name → value; it is not to be changed.
func (e *Env) Map() map[string]string { return e.values }

func (e *Env) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.order = append(e.order, name)
	}
	e.values[name] = value
}

// Environment resolves the environment of c: services first, then envFrom, then
// env, each overriding what came before. Its error is the message of
// CreateContainerConfigError.
func Environment(pod *v1.Pod, c *v1.Container, node Node, sources Sources) (*Env, error) {
	r := resolver{pod: pod, container: c, node: node, sources: sources, env: &Env{values: map[string]string{}}}
	for _, from := range c.EnvFrom {
		if err := r.from(from); err != nil {
			return nil, err
		}
	}
	links := serviceEnv(pod, sources.Services)
	lookup := func(name string) (string, bool) {
		if v, ok := r.env.values[name]; ok {
			return v, true
		}
		v, ok := links[name]
		return v, ok
	}
	for i := range c.Env {
		v := &c.Env[i]
		if v.ValueFrom == nil || v.Value != "" {
			r.env.set(v.Name, Expand(v.Value, lookup))
			continue
		}
		value, found, err := r.value(v.ValueFrom)
		if err != nil {
			return nil, err
		}
		if found {
			r.env.set(v.Name, value)
		}
	}
	for _, name := range sortedKeys(links) {
		if _, ok := r.env.values[name]; !ok {
			r.env.set(name, links[name])
		}
	}
	return r.env, nil
}

type resolver struct {
	pod       *v1.Pod
	container *v1.Container
	node      Node
	sources   Sources
	env       *Env
}

func (r *resolver) from(from v1.EnvFromSource) error {
	switch {
	case from.ConfigMapRef != nil:
		m, err := r.sources.ConfigMap(r.pod.Namespace, from.ConfigMapRef.Name)
		if err != nil {
			return ignoreMissing(err, from.ConfigMapRef.Optional)
		}
		for _, k := range sortedKeys(m.Data) {
			r.env.set(from.Prefix+k, m.Data[k])
		}
	case from.SecretRef != nil:
		s, err := r.sources.Secret(r.pod.Namespace, from.SecretRef.Name)
		if err != nil {
			return ignoreMissing(err, from.SecretRef.Optional)
		}
		for _, k := range sortedKeys(s.Data) {
			r.env.set(from.Prefix+k, string(s.Data[k]))
		}
	}
	return nil
}

// value of one variable; not found is for what is optional and absent.
func (r *resolver) value(from *v1.EnvVarSource) (value string, found bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = fieldValue(r.pod, from.FieldRef.FieldPath, r.node)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err = resourceValue(r.pod, r.container, from.ResourceFieldRef, r.node.Allocatable)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		return r.configMapKey(from.ConfigMapKeyRef)
	case from.SecretKeyRef != nil:
		return r.secretKey(from.SecretKeyRef)
	case from.FileKeyRef != nil:
		return r.fileKey(from.FileKeyRef)
	}
	return "", true, nil
}

func (r *resolver) configMapKey(ref *v1.ConfigMapKeySelector) (string, bool, error) {
	m, err := r.sources.ConfigMap(r.pod.Namespace, ref.Name)
	if err != nil {
		return "", false, ignoreMissing(err, ref.Optional)
	}
	value, ok := m.Data[ref.Key]
	if !ok && !isTrue(ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, r.pod.Namespace, ref.Name)
	}
	return value, ok, nil
}

func (r *resolver) secretKey(ref *v1.SecretKeySelector) (string, bool, error) {
	s, err := r.sources.Secret(r.pod.Namespace, ref.Name)
	if err != nil {
		return "", false, ignoreMissing(err, ref.Optional)
	}
	value, ok := s.Data[ref.Key]
	if !ok && !isTrue(ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, r.pod.Namespace, ref.Name)
	}
	return string(value), ok, nil
}

// maxEnvFile bounds what is read of a file that a container wrote.
const maxEnvFile = 64 << 10

func (r *resolver) fileKey(ref *v1.FileKeySelector) (string, bool, error) {
	dir, err := r.sources.Volume(ref.VolumeName)
	if err != nil {
		return "", false, fmt.Errorf("cannot find the volume %q referenced by FileKeyRef", ref.VolumeName)
	}
	data, err := readWithin(dir, ref.Path)
	if errors.Is(err, os.ErrNotExist) && isTrue(ref.Optional) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("couldn't read environment file %q of volume %q: %w", ref.Path, ref.VolumeName, err)
	}
	for line := range strings.Lines(data) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if ok && strings.TrimSpace(key) == ref.Key {
			return unquote(value), true, nil
		}
	}
	if isTrue(ref.Optional) {
		return "", false, nil
	}
	return "", false, fmt.Errorf("environment variable key %q not found in file %q", ref.Key, filepath.Join(ref.VolumeName, ref.Path))
}

// readWithin reads a file below dir; links that lead out of it are not followed.
func readWithin(dir, path string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	data, err := root.ReadFile(path)
	if len(data) > maxEnvFile {
		return "", fmt.Errorf("larger than %d bytes", maxEnvFile)
	}
	return string(data), err
}

func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && (s[0] == '\'' || s[0] == '"') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// Expand replaces $(NAME) by its value. $$ is a plain $, and a reference to what
// is not there stays as it is.
func Expand(text string, lookup func(name string) (string, bool)) string {
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(text, "$")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteByte('$')
			text = after[1:]
		case strings.HasPrefix(after, "("):
			name, rest, closed := strings.Cut(after[1:], ")")
			value, known := lookup(name)
			switch {
			case !closed:
				out.WriteString("$(")
				text = after[1:]
			case known:
				out.WriteString(value)
				text = rest
			default:
				out.WriteString("$(" + name + ")")
				text = rest
			}
		default:
			out.WriteByte('$')
			text = after
		}
	}
}

func expandAll(list []string, env *Env) []string {
	lookup := func(name string) (string, bool) {
		v, ok := env.values[name]
		return v, ok
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = Expand(s, lookup)
	}
	return out
}

func ignoreMissing(err error, optional *bool) error {
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil
	}
	return err
}

func isTrue(b *bool) bool { return b != nil && *b }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
