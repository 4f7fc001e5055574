package volume

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// mountNFS has mount(8) do it: the protocol's version is agreed on by its helper, mount.nfs, which the node must have.
func mountNFS(ctx context.Context, b *backing, dir string) error {
	if is, err := mounted(dir); err != nil || is {
		return err
	}
	var options []string
	if b.readOnly || b.source.NFS.ReadOnly {
		options = append(options, "ro")
	}
	if b.volume != nil {
		options = append(options, b.volume.Spec.MountOptions...)
	}
	args := []string{"-t", "nfs"}
	if options = slices.Compact(options); len(options) > 0 {
		args = append(args, "-o", strings.Join(options, ","))
	}
	source := b.source.NFS.Server + ":" + b.source.NFS.Path
	if out, err := exec.CommandContext(ctx, "mount", append(args, "--", source, dir)...).CombinedOutput(); err != nil {
		return fmt.Errorf("mount failed: %w\nMounting command: mount\nMounting arguments: %s %s %s\nOutput: %s", err, strings.Join(args, " "), source, dir, out)
	}
	return nil
}
