// Package registry serves an OCI layout to those who pull from it: many of the
// suite's pods ask to have their image pulled even where the node has it.
package registry

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// Registry that serves. It stands for every registry that the images' names say.
type Registry struct {
	dir    string
	tags   map[string]v1.Descriptor // repository:tag, without the registry's host
	types  map[string]string        // media types of manifests, by digest
	server *http.Server
	Port   int
}

// nameAnnotation holds an image's name in a layout's index, as containerd writes it.
const nameAnnotation = "io.containerd.image.name"

// Serve the layout in dir at a free port of all addresses, until Close.
func Serve(dir string) (*Registry, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &Registry{dir: dir, tags: map[string]v1.Descriptor{}, types: map[string]string{}}
	for _, d := range manifest.Manifests {
		_, name, _ := strings.Cut(d.Annotations[nameAnnotation], "/")
		r.tags[name] = d
		r.types[d.Digest.String()] = string(d.MediaType)
	}
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r.Port = listener.Addr().(*net.TCPAddr).Port
	r.server = &http.Server{Handler: r}
	go func() { _ = r.server.Serve(listener) }() // ends by Close
	return r, nil
}

// Close ends it.
func (r *Registry) Close() error { return r.server.Close() }

// ServeHTTP answers the part of the distribution API that pulls need:
// /v2/, /v2/REPOSITORY/manifests/TAG-OR-DIGEST and /v2/REPOSITORY/blobs/DIGEST.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.TrimPrefix(req.URL.Path, "/v2/")
	if path == "" {
		return
	}
	digest, mediaType := "", "application/octet-stream"
	if repository, reference, ok := strings.Cut(path, "/manifests/"); ok {
		digest = reference
		if d, tagged := r.tags[repository+":"+reference]; tagged {
			digest = d.Digest.String()
		}
		mediaType = r.types[digest]
	} else {
		_, digest, _ = strings.Cut(path, "/blobs/")
	}
	hash, err := v1.NewHash(digest)
	if err != nil || mediaType == "" {
		http.NotFound(w, req)
		return
	}
	blob, err := os.Open(filepath.Join(r.dir, "blobs", hash.Algorithm, hash.Hex))
	if err != nil {
		http.NotFound(w, req)
		return
	}
	defer blob.Close()
	info, err := blob.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest)
	http.ServeContent(w, req, "", info.ModTime(), blob)
}
