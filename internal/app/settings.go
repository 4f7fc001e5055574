package app

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/proa-project/proa/internal/cli"
	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/node/settings"
	"github.com/proa-project/proa/internal/node/stats"
)

func (s *server) readSettings() (err error) {
	if s.settings, err = nodeSettings(s.config.Node, s.layout, s.log); err != nil {
		return err
	}
	socket := runtimeSocket(s.config.CRISocket, s.settings.RuntimeSocket, s.cluster.Runtime)
	s.config.CRISocket = socket
	if socket == s.cluster.Runtime {
		return nil
	}
	s.cluster.Runtime = socket
	if _, err := os.Stat(s.layout.Cluster()); err != nil {
		return nil // a node that has not joined yet: kept when it has
	}
	return s.cluster.save(s.layout.Cluster())
}

// ownRuntime is what the user says to leave a runtime outside.
const ownRuntime = "own"

// runtimeSocket is the first that is named: by a flag, in the file, or by what was so
// before. A runtime that was forgotten would leave its pods running beside new ones.
func runtimeSocket(named ...string) string {
	switch socket := cmp.Or(named...); {
	case socket == ownRuntime:
		return ""
	case strings.HasPrefix(socket, "/"):
		return "unix://" + socket
	default:
		return socket
	}
}

// nodeSettings are what the user says about the node: in the file that a flag
// names, or else the one in the data folder if there is one, and by flags.
func nodeSettings(c cli.NodeConfig, l layout.Layout, log *slog.Logger) (*settings.Settings, error) {
	path := c.File
	if path == "" {
		path = l.Kubelet()
	}
	said := &kubelet.KubeletConfiguration{}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.File == "":
	case err != nil:
		return nil, fmt.Errorf("node configuration: %w", err)
	default:
		var ignored []string
		if said, ignored, err = settings.Parse(data); err != nil {
			return nil, fmt.Errorf("node configuration %s: %w", path, err)
		}
		if len(ignored) > 0 {
			log.Warn("Settings of the node without effect here", "file", path, "fields", strings.Join(ignored, ", "))
		}
	}
	flags := applyFlags(said, c)
	s, err := settings.New(*said, stats.Apart(l.Data, l.Images()))
	if err = errors.Join(flags, err); err != nil {
		return nil, fmt.Errorf("node configuration: %w", err)
	}
	s.Register.Labels, err = labelsOf(c.Labels)
	return s, err
}

// applyFlags lets flags, where they were given, override the file.
func applyFlags(to *kubelet.KubeletConfiguration, c cli.NodeConfig) error {
	var errs []error
	if c.ManifestPath != "" {
		to.StaticPodPath = c.ManifestPath
	}
	if c.ManifestURL != "" {
		to.StaticPodURL = c.ManifestURL
	}
	for _, h := range c.ManifestURLHeaders {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			errs = append(errs, fmt.Errorf("--manifest-url-header %q: want name:value", h))
			continue
		}
		if to.StaticPodURLHeader == nil {
			to.StaticPodURLHeader = map[string][]string{}
		}
		to.StaticPodURLHeader[name] = append(to.StaticPodURLHeader[name], value)
	}
	if c.MaxPods != 0 {
		to.MaxPods = int32(c.MaxPods)
	}
	if len(c.EvictionHard) > 0 {
		to.EvictionHard = map[string]string{}
	}
	for _, t := range c.EvictionHard {
		signal, amount, ok := strings.Cut(t, "<")
		if !ok {
			errs = append(errs, fmt.Errorf("--eviction-hard %q: want signal<amount, like memory.available<100Mi", t))
			continue
		}
		to.EvictionHard[signal] = amount
	}
	for _, t := range c.Taints {
		taint, err := taintOf(t)
		errs = append(errs, err)
		to.RegisterWithTaints = append(to.RegisterWithTaints, taint)
	}
	return errors.Join(errs...)
}

// taintOf reads key=value:effect, or key:effect.
func taintOf(text string) (v1.Taint, error) {
	what, effect, ok := strings.Cut(text, ":")
	key, value, _ := strings.Cut(what, "=")
	if !ok {
		return v1.Taint{}, fmt.Errorf("--register-with-taints %q: want key=value:effect", text)
	}
	return v1.Taint{Key: key, Value: value, Effect: v1.TaintEffect(effect)}, nil
}

func labelsOf(pairs []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		if !ok {
			return nil, fmt.Errorf("--node-labels %q: want key=value", p)
		}
		labels[key] = value
	}
	if errs := metav1validation.ValidateLabels(labels, field.NewPath("--node-labels")); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return labels, nil
}
