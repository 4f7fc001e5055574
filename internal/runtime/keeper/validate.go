package keeper

import (
	"fmt"
	"strings"
)

// Protocol is the version of the wire format and of the meaning of requests.
const Protocol = 1

// validateID allows what libcontainer accepts, without names that mean something
// to a file system, and short enough for a cgroup. No regexp: this package is
// linked into the process that every container starts as.
func validateID(kind, id string) error {
	ok := id != "" && len(id) <= 128 && id[0] != '.' && id[0] != '-'
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '_' || c == '+' || c == '-' || c == '.'
	}
	if !ok {
		return fmt.Errorf("%s ID %q: %w", kind, id, ErrInvalid)
	}
	return nil
}

func validateCgroup(path string) error {
	if path == "" {
		return nil
	}
	if !strings.HasPrefix(path, "/") || path == "/" {
		return fmt.Errorf("cgroup %q is not an absolute path below the root: %w", path, ErrInvalid)
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("cgroup %q is not a clean path: %w", path, ErrInvalid)
		}
	}
	return nil
}

// Validate tells what is wrong with the request, as ErrInvalid.
func (s *Sandbox) Validate() error {
	if err := validateID("sandbox", s.ID); err != nil {
		return err
	}
	if err := validateCgroup(s.Cgroup); err != nil {
		return err
	}
	if len(s.Hostname) > 64 {
		return fmt.Errorf("hostname %q is longer than 64 characters: %w", s.Hostname, ErrInvalid)
	}
	if s.HostPID && s.SharePID {
		return fmt.Errorf("a sandbox shares the host's PID namespace or its own, not both: %w", ErrInvalid)
	}
	if (len(s.UIDMappings) == 0) != (len(s.GIDMappings) == 0) {
		return fmt.Errorf("user namespace needs mappings of users and of groups: %w", ErrInvalid)
	}
	if s.ShmSize < 0 {
		return fmt.Errorf("size of /dev/shm %d: %w", s.ShmSize, ErrInvalid)
	}
	return nil
}

// Validate tells what is wrong with the request, as ErrInvalid.
func (c *Container) Validate() error {
	if err := validateID("container", c.ID); err != nil {
		return err
	}
	if err := validateID("sandbox", c.SandboxID); err != nil {
		return err
	}
	switch {
	case c.Spec == nil, c.Spec.Process == nil, c.Spec.Root == nil, c.Spec.Linux == nil:
		return fmt.Errorf("container %s: spec needs process, root and linux: %w", c.ID, ErrInvalid)
	case len(c.Spec.Process.Args) == 0:
		return fmt.Errorf("container %s: no command specified: %w", c.ID, ErrInvalid)
	}
	return validateCgroup(c.Spec.Linux.CgroupsPath)
}

// Validate tells what is wrong with the request, as ErrInvalid.
func (e *Exec) Validate() error {
	if err := validateID("container", e.ContainerID); err != nil {
		return err
	}
	if e.Process == nil || len(e.Process.Args) == 0 {
		return fmt.Errorf("exec in %s: no command specified: %w", e.ContainerID, ErrInvalid)
	}
	return nil
}
