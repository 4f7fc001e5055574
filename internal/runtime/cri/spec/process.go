package spec

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// defaultPath is for images that say nothing; what every runtime uses.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func setProcess(in *Input, s *specs.Spec) error {
	args, err := arguments(in)
	if err != nil {
		return err
	}
	sc := in.security()
	s.Process.Args = args
	s.Process.Cwd = workingDir(in)
	s.Process.Env = environment(in)
	s.Process.Terminal = in.Config.GetTty()
	s.Process.NoNewPrivileges = sc.GetNoNewPrivs()
	score := max(int(in.Config.GetLinux().GetResources().GetOomScoreAdj()), in.Host.MinOOMScoreAdj)
	s.Process.OOMScoreAdj = &score
	return nil
}

// arguments follow the table of the Kubernetes documentation: a command replaces
// entrypoint and cmd of the image, args alone replace its cmd.
func arguments(in *Input) ([]string, error) {
	command, args := in.Config.Command, in.Config.Args
	if len(command) == 0 {
		command = in.Image.Entrypoint
		if len(args) == 0 {
			args = in.Image.Cmd
		}
	}
	out := append(append([]string{}, command...), args...)
	if len(out) == 0 {
		return nil, invalid("no command specified: neither the container nor its image has one")
	}
	return out, nil
}

func workingDir(in *Input) string {
	for _, dir := range []string{in.Config.WorkingDir, in.Image.WorkingDir} {
		if dir != "" {
			return dir
		}
	}
	return "/"
}

// environment is the image's, then what a runtime adds, then the container's own;
// a later value replaces an earlier one in its place.
func environment(in *Input) []string {
	env := append([]string{}, in.Image.Env...)
	if !hasKey(env, "PATH") {
		env = append([]string{defaultPath}, env...)
	}
	if in.Config.Tty {
		env = setEnv(env, "TERM", "xterm")
	}
	hostname := in.Pod.GetHostname()
	if hostname == "" {
		hostname = in.Host.Hostname
	}
	env = setEnv(env, "HOSTNAME", hostname)
	for _, kv := range in.Config.Envs {
		env = setEnv(env, kv.Key, envValue(kv))
	}
	return env
}

func envValue(kv *runtimeapi.KeyValue) string { return string(kv.Value) }

func hasKey(env []string, key string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, key+"=") {
			return true
		}
	}
	return false
}

func setEnv(env []string, key, value string) []string {
	for i, e := range env {
		if k, _, _ := strings.Cut(e, "="); k == key {
			env[i] = key + "=" + value
			return env
		}
	}
	return append(env, key+"="+value)
}
