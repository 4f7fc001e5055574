package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// past is what an earlier run left: our records, the keeper's statuses, and the
// snapshots and mount points by their names.
type past struct {
	sandboxes       map[string]*sandboxRecord
	containers      map[string]*containerRecord
	keptSandboxes   map[string]keeper.SandboxStatus
	keptContainers  map[string]keeper.ContainerStatus
	snapshots, dirs []string
}

// plan says what goes on and what is cleaned up. Lists are sorted.
type plan struct {
	adoptSandboxes, adoptContainers []string
	// dropSandboxes and dropContainers are half-made, half-removed or unknown to
	// one side; whatever is left of them goes.
	dropSandboxes, dropContainers []string
	dropSnapshots, dropDirs       []string
}

// reconcile decides, for every ID that anybody knows:
//
//	sandbox    complete record            adopted; not ready if the keeper has it not
//	           incomplete or no record    dropped: nobody was told of it
//	container  record and keeper, of an
//	           adopted sandbox            adopted
//	           one of the two             dropped: its creation or removal was cut off
//
// Snapshots and mount points that belong to no adopted container are dropped.
func reconcile(p past) plan {
	var out plan
	adopted := map[string]bool{}
	for _, id := range union(p.sandboxes, p.keptSandboxes) {
		r := p.sandboxes[id]
		if r != nil && r.Complete && r.Config.GetMetadata() != nil {
			adopted[id] = true
			out.adoptSandboxes = append(out.adoptSandboxes, id)
		} else {
			out.dropSandboxes = append(out.dropSandboxes, id)
		}
	}
	used := map[string]bool{}
	for _, id := range union(p.containers, p.keptContainers) {
		r := p.containers[id]
		_, kept := p.keptContainers[id]
		if r == nil || !kept || !adopted[r.SandboxID] || r.Config.GetMetadata() == nil {
			out.dropContainers = append(out.dropContainers, id)
			continue
		}
		out.adoptContainers = append(out.adoptContainers, id)
		used[id] = true
		for _, v := range r.Volumes {
			used[v] = true
		}
	}
	for _, key := range slices.Sorted(slices.Values(p.snapshots)) {
		if !used[key] {
			out.dropSnapshots = append(out.dropSnapshots, key)
		}
	}
	for _, dir := range slices.Sorted(slices.Values(p.dirs)) {
		if !used[dir] {
			out.dropDirs = append(out.dropDirs, dir)
		}
	}
	return out
}

func union[A, B any](a map[string]A, b map[string]B) []string {
	ids := slices.Collect(maps.Keys(a))
	ids = append(ids, slices.Collect(maps.Keys(b))...)
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (s *Service) readPast(ctx context.Context) (past, error) {
	p := past{keptSandboxes: map[string]keeper.SandboxStatus{}, keptContainers: map[string]keeper.ContainerStatus{}}
	var err error
	if p.sandboxes, err = load[sandboxRecord](s.store.sandboxes()); err != nil {
		return p, err
	}
	if p.containers, err = load[containerRecord](s.store.containers()); err != nil {
		return p, err
	}
	sandboxes, err := s.cfg.Keeper.Sandboxes(ctx)
	if err != nil {
		return p, err
	}
	for _, st := range sandboxes {
		p.keptSandboxes[st.ID] = st
	}
	containers, err := s.cfg.Keeper.Containers(ctx)
	if err != nil {
		return p, err
	}
	for _, st := range containers {
		p.keptContainers[st.ID] = st
	}
	if p.snapshots, err = s.cfg.Images.Keys(ctx); err != nil {
		return p, fmt.Errorf("list snapshots: %w", err)
	}
	entries, err := os.ReadDir(s.cfg.ContainersDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	for _, e := range entries {
		p.dirs = append(p.dirs, e.Name())
	}
	return p, nil
}

// restore takes over what goes on and cleans up the rest. What can't be cleaned
// now is logged and tried again at the next start: it must not keep the node down.
func (s *Service) restore(ctx context.Context) error {
	p, err := s.readPast(ctx)
	if err != nil {
		return err
	}
	todo := reconcile(p)
	for _, id := range todo.adoptSandboxes {
		r := p.sandboxes[id]
		s.sandboxes[id] = &sandbox{id: id, record: *r, status: p.keptSandboxes[id], containers: map[string]*container{}}
		s.names[podName(r.Config.Metadata)] = id
	}
	for _, id := range todo.adoptContainers {
		r := p.containers[id]
		sb := s.sandboxes[r.SandboxID]
		c := newContainer(sb, *r, p.keptContainers[id])
		s.containers[id], sb.containers[id] = c, c
		s.names[containerName(sb.id, r.Config.Metadata)] = id
	}
	s.clean(ctx, todo)
	return nil
}

// clean undoes in the order that live removal does: processes, mounts, snapshots.
func (s *Service) clean(ctx context.Context, todo plan) {
	report := func(what, id string, err error) {
		if err != nil {
			s.cfg.Log.Warn("clean up after an earlier run", "what", what, "id", id, "err", err)
		}
	}
	for _, id := range todo.dropContainers {
		report("container", id, s.cfg.Keeper.Remove(ctx, id))
	}
	for _, dir := range todo.dropDirs {
		report("mounts", dir, s.unmountAll(dir))
	}
	for _, key := range todo.dropSnapshots {
		report("snapshot", key, s.cfg.Images.Remove(ctx, key))
	}
	for _, id := range todo.dropContainers {
		report("record", id, s.store.removeContainer(id))
	}
	for _, id := range todo.dropSandboxes {
		err := errors.Join(s.cfg.Keeper.StopSandbox(ctx, id), s.cfg.Network.Detach(ctx, id))
		if err == nil {
			err = errors.Join(s.cfg.Keeper.RemoveSandbox(ctx, id), s.store.removeSandbox(id))
		}
		report("sandbox", id, err)
	}
}
