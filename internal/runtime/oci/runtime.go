package oci

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Runtime starts containers. Make it with New.
type Runtime struct {
	root   string // one folder a container, libcontainer's
	limits limits
	x32    bool // the kernel runs x32 programs

	programs *programs

	mu sync.Mutex
	// prepared containers wait for their Start, which needs what libcontainer
	// made; dropped right after.
	prepared map[string]*libcontainer.Container
	// plain containers leave nothing behind but their cgroup, which is the
	// caller's, and their state; libcontainer needs not be asked.
	plain map[string]bool
}

// New uses root for libcontainer's state.
func New(root string) (*Runtime, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("state of containers: %w", err)
	}
	l, err := currentLimits()
	if err != nil {
		return nil, err
	}
	return &Runtime{root: root, limits: l, x32: hasX32(), programs: newPrograms(), prepared: map[string]*libcontainer.Container{}, plain: map[string]bool{}}, nil
}

// Stdio of a process; with TTY only the size counts.
type Stdio struct {
	TTY                   bool
	Stdin, Stdout, Stderr *os.File // nil = /dev/null
}

// Prepare makes the container and its init process, which then waits for Start.
// The terminal is the master end with TTY. The process is the caller's child,
// to be waited for by its PID and by nobody else.
func (r *Runtime) Prepare(id string, spec *specs.Spec, io Stdio) (pid int, terminal *os.File, err error) {
	config, err := r.config(id, spec)
	if err != nil {
		return 0, nil, err
	}
	if err := chownStdio(config, io); err != nil {
		return 0, nil, err
	}
	process, err := newProcess(spec.Process)
	if err != nil {
		return 0, nil, err
	}
	process.Init = true
	process.ExtraFiles = r.programs.of(config.Seccomp)
	c, err := libcontainer.Create(r.root, id, config)
	if err != nil {
		return 0, nil, fmt.Errorf("create container: %w", err)
	}
	pid, terminal, err = start(c, process, io)
	if err != nil {
		return 0, nil, errors.Join(err, r.discard(c))
	}
	r.mu.Lock()
	r.prepared[id] = c
	if isPlain(config) {
		r.plain[id] = true
	}
	r.mu.Unlock()
	return pid, terminal, nil
}

func isPlain(c *configs.Config) bool {
	return c.Cgroups.Path != "" && len(c.Hooks[configs.Poststop]) == 0 && c.IntelRdt == nil
}

// discard removes what a failed start left behind.
func (r *Runtime) discard(c *libcontainer.Container) error {
	if err := c.Destroy(); err != nil {
		return fmt.Errorf("clean up after a failed start: %w", err)
	}
	return nil
}

// Start lets the prepared process run the container's command. quota is set
// once the command runs: libcontainer compiles the seccomp profile inside the
// container, and a small quota would stretch that by hundreds of milliseconds.
func (r *Runtime) Start(id string) error {
	r.mu.Lock()
	c := r.prepared[id]
	delete(r.prepared, id)
	r.mu.Unlock()
	if c == nil {
		var err error
		if c, err = libcontainer.Load(r.root, id); err != nil {
			return fmt.Errorf("load container: %w", err)
		}
	}
	return c.Exec()
}

// Exec starts one more process in a running container.
func (r *Runtime) Exec(id string, p *specs.Process, io Stdio) (pid int, terminal *os.File, err error) {
	c, err := libcontainer.Load(r.root, id)
	if err != nil {
		return 0, nil, fmt.Errorf("load container: %w", err)
	}
	p = r.limits.clampProcess(p)
	process, err := newProcess(p)
	if err != nil {
		return 0, nil, err
	}
	config := c.Config()
	process.ExtraFiles = r.programs.of(config.Seccomp)
	return start(c, process, io)
}

// Delete removes libcontainer's state of the container, and what else libcontainer
// has made of it except for a cgroup that the spec names. No process may be left.
func (r *Runtime) Delete(id string) error {
	r.mu.Lock()
	plain := r.plain[id]
	delete(r.prepared, id)
	delete(r.plain, id)
	r.mu.Unlock()
	if plain {
		return os.RemoveAll(filepath.Join(r.root, id))
	}
	c, err := libcontainer.Load(r.root, id)
	if errors.Is(err, libcontainer.ErrNotExist) {
		return os.RemoveAll(filepath.Join(r.root, id))
	}
	if err != nil {
		// A state that can't be read must not keep the container for ever; the
		// cgroup is removed by its path by the caller.
		return errors.Join(fmt.Errorf("load container: %w", err), os.RemoveAll(filepath.Join(r.root, id)))
	}
	return c.Destroy()
}

// config makes libcontainer's configuration, with what this process may not do
// clamped to what it may, and without the CPU quota (see Start).
func (r *Runtime) config(id string, spec *specs.Spec) (*configs.Config, error) {
	clamped := *spec
	clamped.Process = r.limits.clampProcess(spec.Process)
	clamped.Linux = withoutQuota(spec.Linux)
	if !r.x32 {
		clamped.Linux = withoutX32(clamped.Linux)
	}
	config, err := specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: id, Spec: &clamped})
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	return config, nil
}

// withoutQuota is l with the CPU quota left for later.
func withoutQuota(l *specs.Linux) *specs.Linux {
	if l.Resources == nil || l.Resources.CPU == nil || l.Resources.CPU.Quota == nil {
		return l
	}
	linux, resources, cpu := *l, *l.Resources, *l.Resources.CPU
	cpu.Quota, cpu.Burst = nil, nil
	resources.CPU, linux.Resources = &cpu, &resources
	return &linux
}

// withoutX32 is l without seccomp rules for an ABI that the kernel does not have:
// with each one, compiling the profile at every start takes twice as long.
func withoutX32(l *specs.Linux) *specs.Linux {
	if l.Seccomp == nil || !slices.Contains(l.Seccomp.Architectures, specs.ArchX32) {
		return l
	}
	linux, profile := *l, *l.Seccomp
	profile.Architectures = slices.DeleteFunc(slices.Clone(profile.Architectures), func(a specs.Arch) bool { return a == specs.ArchX32 })
	linux.Seccomp = &profile
	return &linux
}

// chownStdio gives the streams to the container's root, which can't open
// /dev/stdout otherwise when it is not the host's.
func chownStdio(config *configs.Config, io Stdio) error {
	uid, err := config.HostRootUID()
	if err != nil {
		return fmt.Errorf("user of the container's root: %w", err)
	}
	gid, err := config.HostRootGID()
	if err != nil {
		return fmt.Errorf("group of the container's root: %w", err)
	}
	if uid == 0 && gid == 0 {
		return nil
	}
	for _, f := range []*os.File{io.Stdin, io.Stdout, io.Stderr} {
		if f == nil {
			continue
		}
		if err := unix.Fchown(int(f.Fd()), uid, gid); err != nil {
			return fmt.Errorf("chown %s: %w", f.Name(), err)
		}
	}
	return nil
}
