package imagegc

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"pgregory.net/rapid"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func ago(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }

func TestDecide(t *testing.T) {
	images := []Image{
		{ID: "used", Bytes: 50, InUse: true, Detected: ago(99)},
		{ID: "pinned", Bytes: 50, Pinned: true, Detected: ago(99)},
		{ID: "young", Bytes: 50, Detected: ago(1)},
		{ID: "recent", Bytes: 30, Detected: ago(99), LastUsed: ago(5)},
		{ID: "never", Bytes: 10, Detected: ago(90)},
		{ID: "older", Bytes: 10, Detected: ago(99)},
	}
	for name, tc := range map[string]struct {
		disk   Disk
		need   int64
		policy Policy
		want   string
		miss   int64
	}{
		"room":         {Disk{1000, 160}, 0, DefaultPolicy(), "", 0},
		"full":         {Disk{1000, 150}, 0, DefaultPolicy(), "older never recent", 0},
		"fuller":       {Disk{1000, 100}, 0, DefaultPolicy(), "older never recent", 50},
		"asked for":    {Disk{1000, 500}, 15, DefaultPolicy(), "older never", 0},
		"too old":      {Disk{1000, 500}, 0, Policy{HighPercent: 85, LowPercent: 80, MaxAge: 95 * time.Minute}, "older", 0},
		"unknown disk": {Disk{}, 0, DefaultPolicy(), "", 0},
	} {
		plan := Decide(images, tc.disk, tc.policy, tc.need, now)
		var ids []string
		for _, image := range plan.Remove {
			ids = append(ids, image.ID)
		}
		if got := strings.Join(ids, " "); got != tc.want || plan.Missing != tc.miss {
			t.Errorf("%s: %q missing %d, want %q missing %d", name, got, plan.Missing, tc.want, tc.miss)
		}
	}
}

func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		images := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Image {
			return Image{Bytes: rapid.Int64Range(0, 100).Draw(t, "bytes"), Pinned: rapid.Bool().Draw(t, "pinned"), InUse: rapid.Bool().Draw(t, "used"), Detected: ago(rapid.IntRange(0, 100).Draw(t, "age"))}
		})).Draw(t, "images")
		disk := Disk{Capacity: rapid.Int64Range(0, 1000).Draw(t, "capacity")}
		disk.Available = rapid.Int64Range(0, disk.Capacity).Draw(t, "available")
		p := DefaultPolicy()
		plan := Decide(images, disk, p, 0, now)
		freed := int64(0)
		for i, image := range plan.Remove {
			if image.InUse || image.Pinned || now.Sub(image.Detected) < p.MinAge {
				t.Fatalf("removes %+v", image)
			}
			if freed >= plan.Need {
				t.Fatalf("removal %d is more than needed", i)
			}
			freed += image.Bytes
		}
		if plan.Missing != max(plan.Need-freed, 0) {
			t.Fatalf("missing %d of %d after %d", plan.Missing, plan.Need, freed)
		}
	})
}

type store struct {
	images  []*runtimeapi.Image
	removed []string
}

func (s *store) ListImages(context.Context, *runtimeapi.ListImagesRequest) (*runtimeapi.ListImagesResponse, error) {
	return &runtimeapi.ListImagesResponse{Images: s.images}, nil
}

func (s *store) RemoveImage(_ context.Context, r *runtimeapi.RemoveImageRequest) (*runtimeapi.RemoveImageResponse, error) {
	s.removed = append(s.removed, r.Image.Image)
	return &runtimeapi.RemoveImageResponse{}, nil
}

func (s *store) ListContainers(context.Context, *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return &runtimeapi.ListContainersResponse{Containers: []*runtimeapi.Container{{ImageRef: "repo@sha256:2"}}}, nil
}

func TestCollect(t *testing.T) {
	s := &store{images: []*runtimeapi.Image{{Id: "1", Size: 10}, {Id: "2", Size: 10, RepoDigests: []string{"repo@sha256:2"}}, {Id: "3", Size: 10, Pinned: true}}}
	at, reports := now, []string{}
	c, err := New(Config{Images: s, Runtime: s, Disk: func() (Disk, error) { return Disk{100, 5}, nil }, Now: func() time.Time { return at }, Report: func(reason, _ string) { reports = append(reports, reason) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Collect(context.Background(), 0); err == nil || s.removed != nil {
		t.Errorf("just seen: removed %v, %v", s.removed, err)
	}
	at = at.Add(3 * time.Minute)
	freed, err := c.Collect(context.Background(), 0)
	if freed != 10 || err == nil {
		t.Errorf("freed %d of 15, %v", freed, err)
	}
	if diff := cmp.Diff([]string{"1"}, s.removed); diff != "" {
		t.Error(diff)
	}
	if freed, err := c.RemoveUnused(context.Background()); freed != 0 || err != nil {
		t.Errorf("nothing is left, and nobody complains: freed %d, %v", freed, err)
	}
	if diff := cmp.Diff([]string{"FreeDiskSpaceFailed", "FreeDiskSpaceFailed"}, reports); diff != "" {
		t.Error(diff)
	}
}
