package static

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Config says where manifests are. Path and URL may each be empty.
type Config struct {
	NodeName string
	// Path is a folder of manifests or one manifest.
	Path string
	// URL is asked with Header.
	URL    string
	Header http.Header
	Rules  Rules
	// Cache is a file that keeps the URL's last good answer; empty is none.
	Cache string
	// FileEvery is how often the folder is looked through, whatever the kernel told of it, Every how often the URL is asked; 0 is every 20 s.
	FileEvery, Every time.Duration
	// Event tells users of manifests that can't be used ("InvalidManifest"); nil tells nobody.
	Event func(reason, message string)
	Log   *slog.Logger
}

// Source is all static pods of a node.
type Source struct{ cfg Config }

// NewSource makes a Source.
func NewSource(cfg Config) *Source {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Every <= 0 {
		cfg.Every = lookEvery
	}
	if cfg.Event == nil {
		cfg.Event = func(string, string) {}
	}
	if cfg.FileEvery <= 0 {
		cfg.FileEvery = lookEvery
	}
	return &Source{cfg}
}

// Run calls set with all pods, at first and each time that they changed, never two calls at a time, until ctx ends.
func (s *Source) Run(ctx context.Context, set func([]*v1.Pod)) error {
	all := &merged{set: set, parts: map[string][]*v1.Pod{}}
	for _, place := range []string{s.cfg.Path, s.cfg.URL} {
		if place != "" {
			all.awaited++
		}
	}
	var tasks sync.WaitGroup
	if s.cfg.Path != "" {
		f := &folder{path: s.cfg.Path, node: s.cfg.NodeName, rules: s.cfg.Rules, log: s.cfg.Log, event: s.cfg.Event, every: s.cfg.FileEvery}
		tasks.Go(func() { f.run(ctx, func(pods []*v1.Pod) { all.put("file", pods) }) })
	}
	if s.cfg.URL != "" {
		p := &page{url: s.cfg.URL, node: s.cfg.NodeName, header: s.cfg.Header, rules: s.cfg.Rules, log: s.cfg.Log, event: s.cfg.Event, client: &http.Client{Timeout: 10 * time.Second}, every: s.cfg.Every, cache: s.cfg.Cache}
		tasks.Go(func() { p.run(ctx, func(pods []*v1.Pod) { all.put("http", pods) }) })
	}
	if s.cfg.Path == "" && s.cfg.URL == "" {
		set(nil)
	}
	tasks.Wait()
	<-ctx.Done()
	return ctx.Err()
}

// merged is the list of both sources. Nothing is told before each has been heard once: a list that lacks one would end its pods.
type merged struct {
	set     func([]*v1.Pod)
	awaited int

	mu    sync.Mutex
	parts map[string][]*v1.Pod
	seen  map[types.UID]string
	// told is the last list's UIDs, nil before the first.
	told []types.UID
}

func (m *merged) put(part string, pods []*v1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[part] = pods
	if len(m.parts) < m.awaited {
		return
	}
	list := distinct(flatten(m.parts))
	uids := make([]types.UID, 0, len(list))
	for i, pod := range list {
		list[i] = pod.DeepCopy()
		uids = append(uids, pod.UID)
	}
	if m.told != nil && slices.Equal(uids, m.told) {
		return
	}
	m.told = uids
	m.seen = stampSeen(list, m.seen, time.Now())
	m.set(list)
}

// flatten lists the pods of all places in the order of the places.
func flatten(places map[string][]*v1.Pod) []*v1.Pod {
	var out []*v1.Pod
	for _, place := range slices.Sorted(maps.Keys(places)) {
		out = append(out, places[place]...)
	}
	return out
}

// distinct keeps the first of several pods of one name: two could not both be.
func distinct(pods []*v1.Pod) []*v1.Pod {
	type name struct{ namespace, name string }
	seen := map[name]bool{}
	out := make([]*v1.Pod, 0, len(pods))
	for _, pod := range pods {
		if key := (name{pod.Namespace, pod.Name}); !seen[key] {
			seen[key] = true
			out = append(out, pod)
		}
	}
	slices.SortStableFunc(out, func(a, b *v1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}
