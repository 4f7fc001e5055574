package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
)

// hostPathKinds are the checks in words: what the type of a hostPath asks for.
var hostPathKinds = map[v1.HostPathType]string{
	v1.HostPathDirectoryOrCreate: "directory",
	v1.HostPathDirectory:         "directory",
	v1.HostPathFileOrCreate:      "file",
	v1.HostPathFile:              "file",
	v1.HostPathSocket:            "socket file",
	v1.HostPathCharDev:           "character device",
	v1.HostPathBlockDev:          "block device",
}

// checkHostPath makes what the type lets it make and refuses what doesn't fit. An unset type checks nothing; a missing
// folder is made then when a container mounts it.
func checkHostPath(source *v1.HostPathVolumeSource) error {
	if source.Type == nil || *source.Type == v1.HostPathUnset {
		return nil
	}
	expected, known := hostPathKinds[*source.Type]
	if !known {
		return fmt.Errorf("%s is an invalid volume type", *source.Type)
	}
	info, err := os.Stat(source.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && *source.Type == v1.HostPathDirectoryOrCreate:
		return os.MkdirAll(source.Path, 0o755)
	case errors.Is(err, fs.ErrNotExist) && *source.Type == v1.HostPathFileOrCreate:
		return createFile(source.Path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("hostPath type check failed: %s is not a %s", source.Path, expected)
	case err != nil:
		return fmt.Errorf("hostPath type check failed, %s is not a %s, unable to determine its type: %w", source.Path, expected, err)
	}
	if have := kindOf(info.Mode()); have != expected {
		return fmt.Errorf("hostPath type check failed: %s is not a %s, it's a %s", source.Path, expected, have)
	}
	return nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode.IsRegular():
		return "file"
	case mode&fs.ModeSocket != 0:
		return "socket file"
	case mode&fs.ModeCharDevice != 0:
		return "character device"
	case mode&fs.ModeDevice != 0:
		return "block device"
	}
	return "other kind of file"
}

// createFile doesn't make parent folders: with FileOrCreate those are the user's business.
func createFile(name string) error {
	file, err := os.OpenFile(filepath.Clean(name), os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return file.Close()
}
