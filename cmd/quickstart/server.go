package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

type server struct {
	options  options
	began    time.Time
	requests atomic.Int64
	stopping atomic.Bool
}

// facts are what the page shows. They are read anew for every request: labels and
// ConfigMap may change while the pod runs.
type facts struct {
	Pod       string            `json:"pod"`
	Namespace string            `json:"namespace"`
	IP        string            `json:"ip"`
	Node      string            `json:"node"`
	Labels    map[string]string `json:"labels"`
	Config    map[string]string `json:"config"`
	Uptime    string            `json:"uptime"`
	Requests  int64             `json:"requests"`
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.show)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		s.probe(w, http.StatusInternalServerError, false)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s.probe(w, http.StatusServiceUnavailable, s.stopping.Load())
	})
	return mux
}

func (s *server) probe(w http.ResponseWriter, bad int, stopping bool) {
	switch age := time.Since(s.began); {
	case stopping:
		http.Error(w, "stopping", bad)
	case s.options.failAfter > 0 && age >= s.options.failAfter:
		http.Error(w, "failing since --fail-after="+s.options.failAfter.String(), bad)
	default:
		fmt.Fprintln(w, "ok")
	}
}

func (s *server) show(w http.ResponseWriter, r *http.Request) {
	f := s.facts()
	log.Printf("%s %s from %s", r.Method, r.URL.Path, r.RemoteAddr)
	accept := r.Header.Get("Accept")
	w.Header().Set("Vary", "Accept")
	switch {
	case strings.Contains(accept, "application/json"):
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(f) // a client that went away
	case strings.Contains(accept, "text/html"):
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, page(f))
	default:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, text(f))
	}
}

func (s *server) facts() facts {
	f := facts{
		Pod: os.Getenv("POD_NAME"), Namespace: os.Getenv("POD_NAMESPACE"), IP: os.Getenv("POD_IP"), Node: os.Getenv("NODE_NAME"),
		Labels: readLabels(filepath.Join(s.options.infoDir, "labels")), Config: readValues(s.options.configDir),
		Uptime: time.Since(s.began).Round(time.Second).String(), Requests: s.requests.Add(1),
	}
	if f.Pod == "" {
		f.Pod, _ = os.Hostname() // which is the pod's name, unless it says otherwise
	}
	return f
}

// readLabels reads what a downwardAPI volume holds: key="value" lines, quoted as
// in Go.
func readLabels(path string) map[string]string {
	out := map[string]string{}
	file, err := os.Open(path)
	if err != nil {
		return out
	}
	defer file.Close()
	for scan := bufio.NewScanner(file); scan.Scan(); {
		key, quoted, ok := strings.Cut(scan.Text(), "=")
		if value, err := strconv.Unquote(quoted); ok && err == nil {
			out[key] = value
		}
	}
	return out
}

// readValues reads a ConfigMap volume: a file a key. Names that begin with two
// dots are the volume's own.
func readValues(dir string) map[string]string {
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return out
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		if data, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil {
			out[e.Name()] = strings.TrimRight(string(data), "\n")
		}
	}
	return out
}
