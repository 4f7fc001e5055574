package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testServer(t *testing.T) *server {
	t.Helper()
	t.Setenv("POD_NAME", "first")
	t.Setenv("POD_NAMESPACE", "default")
	t.Setenv("POD_IP", "10.0.0.7")
	t.Setenv("NODE_NAME", "here")
	dir := t.TempDir()
	for name, body := range map[string]string{
		"info/labels": "app=\"quick\"\nnote=\"a \\\"b\\\"\"\nbroken\n", "config/greeting": "<b>hi</b>\n", "config/..data": "no",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &server{options: options{configDir: filepath.Join(dir, "config"), infoDir: filepath.Join(dir, "info")}, began: time.Now()}
}

func get(t *testing.T, s *server, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	s.routes().ServeHTTP(w, r)
	return w
}

func TestShow(t *testing.T) {
	s := testServer(t)
	var got facts
	if err := json.Unmarshal(get(t, s, "/", "application/json").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := facts{
		Pod: "first", Namespace: "default", IP: "10.0.0.7", Node: "here", Uptime: got.Uptime, Requests: 1,
		Labels: map[string]string{"app": "quick", "note": `a "b"`}, Config: map[string]string{"greeting": "<b>hi</b>"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	html := get(t, s, "/", "text/html,application/xhtml+xml,*/*;q=0.8").Body.String()
	if !strings.Contains(html, "&lt;b&gt;hi&lt;/b&gt;") || strings.Contains(html, "<b>") {
		t.Errorf("a value is not escaped:\n%s", html)
	}
	if text := get(t, s, "/", "*/*").Body.String(); !strings.Contains(text, "  pod        first\n") || !strings.Contains(text, "  greeting   <b>hi</b>\n") {
		t.Errorf("text:\n%s", text)
	}
	if w := get(t, s, "/none", ""); w.Code != http.StatusNotFound {
		t.Errorf("/none: %d", w.Code)
	}
}

func TestProbes(t *testing.T) {
	for name, c := range map[string]struct {
		failAfter      time.Duration
		stopping       bool
		health, readys int
	}{
		"well":     {health: 200, readys: 200},
		"not yet":  {failAfter: time.Hour, health: 200, readys: 200},
		"failing":  {failAfter: time.Nanosecond, health: 500, readys: 503},
		"stopping": {stopping: true, health: 200, readys: 503},
	} {
		s := testServer(t)
		s.options.failAfter = c.failAfter
		s.began = s.began.Add(-time.Second)
		s.stopping.Store(c.stopping)
		if h, r := get(t, s, "/healthz", "").Code, get(t, s, "/readyz", "").Code; h != c.health || r != c.readys {
			t.Errorf("%s: healthz %d, readyz %d", name, h, r)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "17": 17, "64Mi": 64 << 20, "1Gi": 1 << 30, "5k": 5000, "2M": 2e6} {
		var s size
		if err := s.Set(in); err != nil || int64(s) != want {
			t.Errorf("%s: %d, %v", in, s, err)
		}
	}
	for _, in := range []string{"", "x", "-1", "1.5Gi", "Mi"} {
		if err := new(size).Set(in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}
