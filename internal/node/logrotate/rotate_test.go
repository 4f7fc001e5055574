package logrotate

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPlan(t *testing.T) {
	names := []string{"0.log", "1.log.20260101-000000", "0.log.20260101-000001.gz", "0.log.20260101-000002.gz", "0.log.20260101-000002",
		"0.log.20260101-000003", "0.log.20260101-000004.tmp", "0.log.mine"}
	want := plan{remove: []string{"0.log.20260101-000002", "0.log.20260101-000004.tmp", "0.log.20260101-000001.gz"}, compress: []string{"0.log.20260101-000003"}}
	if diff := cmp.Diff(want, planFor("0.log", names, 2), cmp.AllowUnexported(plan{})); diff != "" {
		t.Error(diff)
	}
}

// writer is a runtime with one container that writes a log.
type writer struct {
	path      string
	reopenErr error
}

func (w *writer) ListContainers(context.Context, *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	return &runtimeapi.ListContainersResponse{Containers: []*runtimeapi.Container{{Id: "c"}}}, nil
}

func (w *writer) ContainerStatus(context.Context, *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{LogPath: w.path}}, nil
}

func (w *writer) ReopenContainerLog(context.Context, *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	if w.reopenErr != nil {
		return nil, w.reopenErr
	}
	return &runtimeapi.ReopenContainerLogResponse{}, os.WriteFile(w.path, nil, 0o600)
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	w := &writer{path: filepath.Join(dir, "0.log")}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	r, err := New(Config{Runtime: w, MaxSize: 10, MaxFiles: 4, Now: func() time.Time { now = now.Add(time.Second); return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"small", "first log", "second log", "third log!", "fourth log", "fifth log!"} {
		if err := os.WriteFile(w.path, []byte(strings.Repeat(text, 1+len(text)/9)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.RotateAll(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		got[entry.Name()] = read(t, filepath.Join(dir, entry.Name()))
	}
	want := map[string]string{
		"0.log": "", "0.log.20260101-000005": "fifth log!fifth log!",
		"0.log.20260101-000004.gz": "fourth logfourth log", "0.log.20260101-000003.gz": "third log!third log!",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	w.reopenErr = errors.New("no runtime")
	if err := os.WriteFile(w.path, []byte("must not be lost"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.RotateAll(context.Background()); err == nil || read(t, w.path) != "must not be lost" {
		t.Errorf("a log that can't be reopened: %v", err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var in io.Reader = file
	if strings.HasSuffix(name, ".gz") {
		if in, err = gzip.NewReader(file); err != nil {
			t.Fatal(err)
		}
	}
	data, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
