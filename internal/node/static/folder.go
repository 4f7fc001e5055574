package static

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	v1 "k8s.io/api/core/v1"
)

const (
	// lookEvery is how often a source is looked through whatever inotify said: upstream's interval.
	lookEvery = 20 * time.Second
	// settle is waited after a change, so that a file that is being written is read once, whole.
	settle = 20 * time.Millisecond
	// maxManifest bounds what is read of a file or an answer.
	maxManifest = 10 << 20
)

// folder reads manifests below a path: a folder's files (not its folders, nor names that begin with a dot), or one file.
type folder struct {
	path, node string
	rules      Rules
	log        *slog.Logger
	event      func(reason, message string)
	every      time.Duration
	// good are the pods that each file described when it last was in order; told are complaints that the log has.
	good map[string][]*v1.Pod
	told map[string]string
}

// run calls set with all pods, at first and whenever the folder changed, until ctx ends.
func (f *folder) run(ctx context.Context, set func([]*v1.Pod)) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		f.log.Warn("manifests are not watched, only looked through", "path", f.path, "every", f.every, "err", err)
		watcher = &fsnotify.Watcher{}
	} else {
		defer watcher.Close()
	}
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	for {
		// The watch first, so that no change falls between; it is set again each time, as the folder may be another one.
		if watcher.Events != nil {
			f.watch(watcher)
		}
		set(f.read())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-watcher.Errors:
		case <-watcher.Events:
			if !settled(ctx, watcher) {
				return
			}
		}
	}
}

func (f *folder) watch(watcher *fsnotify.Watcher) {
	// A folder that doesn't exist holds no manifests; the one above sees it come.
	path := f.path
	err := watcher.Add(path)
	for ; errors.Is(err, fs.ErrNotExist) && path != "/"; err = watcher.Add(path) {
		path = filepath.Dir(path)
	}
	if err != nil {
		f.complain(f.path, err)
	}
}

// settled waits until nothing has happened for a moment.
func settled(ctx context.Context, watcher *fsnotify.Watcher) bool {
	timer := time.NewTimer(settle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-watcher.Events:
			timer.Reset(settle)
		case <-timer.C:
			return true
		}
	}
}

// read returns the pods of all files.
func (f *folder) read() []*v1.Pod {
	names, err := f.files()
	if err != nil {
		f.complain(f.path, err)
		return flatten(f.good)
	}
	good := map[string][]*v1.Pod{}
	for _, name := range names {
		pods, err := f.readFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			f.complain(name, err)
			pods = f.good[name]
		default:
			delete(f.told, name)
		}
		good[name] = pods
	}
	f.good = good
	return flatten(good)
}

func (f *folder) files() ([]string, error) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return []string{f.path}, nil
	}
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, filepath.Join(f.path, entry.Name()))
		}
	}
	return names, nil
}

func (f *folder) readFile(name string) ([]*v1.Pod, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil
	}
	if info.Size() > maxManifest {
		return nil, errors.New("manifest is larger than 10 MiB")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parse(data, origin{"file", name}, f.node, f.rules)
}

// invalidManifest is the reason of events on manifests that can't be used.
const invalidManifest = "InvalidManifest"

// complain tells what is wrong with a file once, not every 20 s.
func (f *folder) complain(name string, err error) {
	if f.told[name] == err.Error() {
		return
	}
	if f.told == nil {
		f.told = map[string]string{}
	}
	f.told[name] = err.Error()
	f.log.Error("static pod manifest not used", "file", name, "err", err)
	f.event(invalidManifest, fmt.Sprintf("static pod manifest %s not used: %v", name, err))
}
