package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openSubPath opens what subPath names in the volume's folder, making folders that are missing, as a path descriptor that no
// later change of links can redirect. Links within the volume are followed; what ends outside is refused: containers write to
// volumes and may plant links while we look.
//
// The links are resolved first, by name; then the result, which has none left, is opened by the kernel with links forbidden,
// so that a link planted in between is an error and not a way out.
func openSubPath(volume, subPath string) (*os.File, error) {
	if filepath.IsAbs(subPath) {
		return nil, fmt.Errorf("error SubPath `%s` must not be an absolute path", subPath)
	}
	for part := range strings.SplitSeq(subPath, "/") {
		if part == ".." {
			return nil, fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", subPath)
		}
	}
	base, err := filepath.EvalSymlinks(volume)
	if err != nil {
		return nil, fmt.Errorf("resolve volume: %w", err)
	}
	exists, missing, err := resolveWithin(base, filepath.Clean(subPath))
	if err != nil {
		return nil, err
	}
	root, err := os.OpenFile(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if len(missing) > 0 {
		if err := makeFolders(root, exists, missing); err != nil {
			return nil, fmt.Errorf("create subPath %s: %w", subPath, err)
		}
	}
	return openBeneath(root, filepath.Join(append([]string{exists}, missing...)...))
}

// resolveWithin splits subPath into what exists, resolved and relative to base, and the names that are still missing.
func resolveWithin(base, subPath string) (exists string, missing []string, err error) {
	for rest := subPath; ; rest = filepath.Dir(rest) {
		full := filepath.Join(base, rest)
		resolved, err := filepath.EvalSymlinks(full)
		if err == nil {
			rel, err := filepath.Rel(base, resolved)
			if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
				return "", nil, fmt.Errorf("subpath %q not within volume path %q", resolved, base)
			}
			return rel, missing, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || rest == "." {
			return "", nil, err
		}
		if _, err := os.Lstat(full); err == nil {
			return "", nil, fmt.Errorf("subpath %q is a link to what does not exist", full)
		}
		missing = append([]string{filepath.Base(rest)}, missing...)
	}
}

func openBeneath(root *os.File, rel string) (*os.File, error) {
	fd, err := unix.Openat2(int(root.Fd()), rel, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s within the volume: %w", rel, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(root.Name(), rel)), nil
}

// makeFolders makes the missing folders one by one, each in the descriptor of its parent, with the permissions of the volume.
func makeFolders(root *os.File, exists string, missing []string) error {
	info, err := root.Stat()
	if err != nil {
		return err
	}
	parent, err := openBeneath(root, exists)
	if err != nil {
		return err
	}
	defer func() { parent.Close() }()
	for _, name := range missing {
		err := unix.Mkdirat(int(parent.Fd()), name, posixBits(info.Mode()))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		child, openErr := openBeneath(parent, name)
		if openErr != nil {
			return openErr
		}
		parent.Close()
		parent = child
		if err == nil {
			// mkdirat is subject to the umask; chmod reaches a path descriptor through /proc.
			if err := os.Chmod(fdPath(child), info.Mode()); err != nil {
				return err
			}
		}
	}
	return nil
}

func fdPath(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }

// pin bind mounts source at target and leaves alone a target that already shows it. A target that shows something else (an
// updated ConfigMap's old file, seen by a container that is gone) is replaced.
func pin(source *os.File, target string) error {
	same, isMount, err := shows(target, source)
	if err != nil {
		return err
	}
	if isMount && same {
		return nil
	}
	if isMount {
		if err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount old subpath %s: %w", target, err)
		}
	}
	if err := makeTarget(source, target); err != nil {
		return err
	}
	if err := unix.Mount(fdPath(source), target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind mount subpath on %s: %w", target, err)
	}
	return nil
}

func shows(target string, source *os.File) (same, isMount bool, err error) {
	isMount, err = mounted(target)
	if err != nil || !isMount {
		return false, false, err
	}
	have, err := os.Stat(target)
	if err != nil {
		return false, true, err
	}
	want, err := source.Stat()
	if err != nil {
		return false, true, err
	}
	return os.SameFile(have, want), true, nil
}

// makeTarget makes what a bind mount needs underneath: a folder for a folder, a file for anything else.
func makeTarget(source *os.File, target string) error {
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if have, err := os.Lstat(target); err == nil && have.IsDir() != info.IsDir() {
		if err := os.Remove(target); err != nil {
			return err
		}
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o750)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	file, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return err
	}
	return file.Close()
}
