package csi

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long after a change the folder is looked at: a socket is made
// before somebody listens on it.
const settle = 20 * time.Millisecond

// sockets below dir, each with its inode's number and time: a driver that starts
// anew makes another socket at the same place.
func sockets(dir string) (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case entry.Type()&fs.ModeSocket == 0 || entry.Name()[0] == '.':
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		found[path] = info.ModTime().String()
		return nil
	})
	return found, err
}

// watchSockets calls seen with the sockets that are there, first at once and then
// at each change below dir, until ctx ends.
func watchSockets(ctx context.Context, dir string, seen func(map[string]string)) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	for {
		if err := watchFolders(watcher, dir); err != nil {
			return err
		}
		now, err := sockets(dir)
		if err != nil {
			return err
		}
		seen(now)
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-watcher.Events:
			if !open {
				return errors.New("the watch of " + dir + " ended")
			}
		case <-watcher.Errors: // an overflow: look again
		}
		drain(ctx, watcher)
	}
}

// drain lets a burst of changes pass.
func drain(ctx context.Context, watcher *fsnotify.Watcher) {
	for {
		select {
		case <-watcher.Events:
		case <-time.After(settle):
			return
		case <-ctx.Done():
			return
		}
	}
}

func watchFolders(watcher *fsnotify.Watcher, dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.IsDir() {
			return err
		}
		return watcher.Add(path)
	})
}
