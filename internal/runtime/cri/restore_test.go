package cri

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

func TestReconcile(t *testing.T) {
	podConfig := &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "p"}}
	config := &runtimeapi.ContainerConfig{Metadata: &runtimeapi.ContainerMetadata{Name: "c"}}
	got := reconcile(past{
		sandboxes: map[string]*sandboxRecord{
			"pod":     {Config: podConfig, Complete: true},
			"lost":    {Config: podConfig, Complete: true}, // the keeper forgot it
			"half":    {Config: podConfig},
			"corrupt": {},
		},
		keptSandboxes: map[string]keeper.SandboxStatus{"pod": {}, "half": {}, "stray": {}},
		containers: map[string]*containerRecord{
			"app":        {SandboxID: "pod", Config: config, Volumes: []string{"app-volume-0"}},
			"uncreated":  {SandboxID: "pod", Config: config},
			"orphan":     {SandboxID: "half", Config: config},
			"unreadable": {},
		},
		keptContainers: map[string]keeper.ContainerStatus{"app": {}, "orphan": {}, "unrecorded": {}, "unreadable": {}},
		snapshots:      []string{"old", "app", "app-volume-0", "uncreated"},
		dirs:           []string{"app", "uncreated", "old"},
	})
	want := plan{
		adoptSandboxes:  []string{"lost", "pod"},
		adoptContainers: []string{"app"},
		dropSandboxes:   []string{"corrupt", "half", "stray"},
		dropContainers:  []string{"orphan", "uncreated", "unreadable", "unrecorded"},
		dropSnapshots:   []string{"old", "uncreated"},
		dropDirs:        []string{"old", "uncreated"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(plan{})); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func TestReconcileOfNothing(t *testing.T) {
	if diff := cmp.Diff(plan{}, reconcile(past{}), cmp.AllowUnexported(plan{})); diff != "" {
		t.Error(diff)
	}
}
