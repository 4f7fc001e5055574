package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/munnerz/goautoneg"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

//go:embed prebuilt
var prebuilt embed.FS

// Handler serves /openapi/v2 and /openapi/v3: the prebuilt files as they are,
// and what custom resources add to them.
type Handler struct {
	// V2 and V3 hold what is not prebuilt: the CRD server writes to them.
	V2 *handler.OpenAPIService
	V3 *handler3.OpenAPIService

	// Others serve the v3 documents of their own group versions. Nil: there are none.
	Others Others

	custom *mux.PathRecorderMux // serves V2 and V3 alone
	index  func() (map[string]string, error)
}

// Others are servers that answer for some group versions.
type Others interface {
	// Remote lists them as paths of documents: apis/<group>/<version>.
	Remote() []string
	// OpenAPI serves the document of one of them; false if it is not one.
	OpenAPI(w http.ResponseWriter, r *http.Request, path string) bool
}

// NewHandler serves the prebuilt specifications.
func NewHandler() *Handler {
	h := &Handler{V2: handler.NewOpenAPIService(emptyV2()), V3: handler3.NewOpenAPIService(), custom: mux.NewPathRecorderMux("openapi")}
	h.V2.RegisterOpenAPIVersionedService(v2Path, h.custom)
	if err := h.V3.RegisterOpenAPIV3VersionedService(v3Path, h.custom); err != nil {
		panic(err) // it has no way to fail
	}
	h.index = sync.OnceValues(hashes)
	return h
}

const (
	v2Path = "/openapi/v2"
	v3Path = "/openapi/v3"
)

// Install registers the paths.
func (h *Handler) Install(m *mux.PathRecorderMux) {
	m.Handle(v2Path, http.HandlerFunc(h.serveV2))
	m.Handle(v3Path, http.HandlerFunc(h.serveIndex))
	m.HandlePrefix(v3Path+"/", http.HandlerFunc(h.serveV3))
}

// emptyV2 is the document that custom resources are added to.
func emptyV2() *spec.Swagger {
	return &spec.Swagger{SwaggerProps: spec.SwaggerProps{
		Swagger:     "2.0",
		Info:        &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: "custom"}},
		Paths:       &spec.Paths{},
		Definitions: spec.Definitions{},
	}}
}

// EmptyV2 is the base for the controller that publishes CRDs.
func EmptyV2() *spec.Swagger { return emptyV2() }

// An encoding of a document: the ending of its file and the types it answers to.
type encoding struct {
	ending, contentType string
	accepts             []string
}

var (
	v2Encodings = []encoding{
		{"json", "application/json", []string{"json"}},
		{"pb", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
			[]string{"com.github.proto-openapi.spec.v2.v1.0+protobuf", "com.github.proto-openapi.spec.v2@v1.0+protobuf"}},
	}
	v3Encodings = []encoding{
		{"json", "application/json", []string{"json"}},
		{"pb", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
			[]string{"com.github.proto-openapi.spec.v3.v1.0+protobuf", "com.github.proto-openapi.spec.v3@v1.0+protobuf"}},
	}
)

// negotiate picks the encoding that the client likes best.
func negotiate(r *http.Request, encodings []encoding) *encoding {
	accept := r.Header.Get("Accept")
	if accept == "" {
		accept = "*/*"
	}
	for _, clause := range goautoneg.ParseAccept(accept) {
		if clause.Type != "application" && clause.Type != "*" {
			continue
		}
		for i := range encodings {
			for _, a := range encodings[i].accepts {
				if clause.SubType == a || clause.SubType == "*" {
					return &encodings[i]
				}
			}
		}
	}
	return nil
}

func (h *Handler) serveV2(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	e := negotiate(r, v2Encodings)
	if e == nil {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	static, err := prebuilt.ReadFile("prebuilt/v2." + e.ending + ".gz")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	custom, err := h.ask(v2Path, e.contentType)
	if err != nil || !hasDefinitions(h) {
		serve(w, r, e, static)
		return
	}
	merged, err := merge(e, static, custom)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", e.contentType)
	w.Header().Set("Etag", strconv.Quote(hash(merged)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(merged))
}

// hasDefinitions tells whether any custom resource is published.
func hasDefinitions(h *Handler) bool {
	body, err := h.ask(v2Path, "application/json")
	return err == nil && bytes.Contains(body, []byte(`"definitions":{"`))
}

// merge adds custom resources to the prebuilt document. Protobuf messages merge
// by being written one after the other; of JSON only the two maps are.
func merge(e *encoding, staticGzip, custom []byte) ([]byte, error) {
	static, err := gunzip(staticGzip)
	if err != nil {
		return nil, err
	}
	if e.ending == "pb" {
		return append(custom, static...), nil // static last: its title and version win
	}
	var a, b map[string]json.RawMessage
	if err := json.Unmarshal(static, &a); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(custom, &b); err != nil {
		return nil, err
	}
	for _, key := range []string{"paths", "definitions"} {
		if a[key], err = join(a[key], b[key]); err != nil {
			return nil, err
		}
	}
	return json.Marshal(a)
}

// join two JSON objects; what both have is a's.
func join(a, b json.RawMessage) (json.RawMessage, error) {
	if len(b) == 0 {
		return a, nil
	}
	var joined, own map[string]json.RawMessage
	if err := json.Unmarshal(b, &joined); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(a, &own); err != nil {
		return nil, err
	}
	maps.Copy(joined, own)
	return json.Marshal(joined)
}

// ask reads what the CRD server publishes.
func (h *Handler) ask(path, accept string) ([]byte, error) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.custom.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, fmt.Errorf("custom resources' OpenAPI: status %d", w.Code)
	}
	return w.Body.Bytes(), nil
}

// serveIndex lists the documents of v3, each with the hash of its content.
func (h *Handler) serveIndex(w http.ResponseWriter, r *http.Request) {
	known, err := h.index()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	index := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	if body, err := h.ask(v3Path, "application/json"); err == nil {
		if err := json.Unmarshal(body, &index); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	for gv, hash := range known {
		index.Paths[gv] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: hashedURL(gv, hash)}
	}
	if h.Others != nil {
		for _, gv := range h.Others.Remote() { // without a hash: they may change without notice
			index.Paths[gv] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: path.Join(v3Path, gv)}
		}
	}
	body, err := json.Marshal(index)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Etag", strconv.Quote(hash(body)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func hashedURL(gv, hash string) string {
	u := url.URL{Path: path.Join(v3Path, gv), RawQuery: url.Values{"hash": {hash}}.Encode()}
	return u.String()
}

func (h *Handler) serveV3(w http.ResponseWriter, r *http.Request) {
	gv := strings.TrimPrefix(r.URL.Path, v3Path+"/")
	if h.Others != nil && h.Others.OpenAPI(w, r, gv) {
		return
	}
	known, err := h.index()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	want, ok := known[gv]
	if !ok {
		h.custom.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	e := negotiate(r, v3Encodings)
	if e == nil {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	if asked := r.URL.Query().Get("hash"); asked != "" {
		if asked != want {
			http.Redirect(w, r, hashedURL(gv, want), http.StatusMovedPermanently)
			return
		}
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).Format(time.RFC1123))
	}
	body, err := prebuilt.ReadFile("prebuilt/v3/" + strings.ReplaceAll(gv, "/", "__") + "." + e.ending + ".gz")
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Etag", strconv.Quote(want))
	serve(w, r, e, body)
}

// serve sends a gzip file, as it is to who takes gzip.
func serve(w http.ResponseWriter, r *http.Request, e *encoding, file []byte) {
	w.Header().Set("Content-Type", e.contentType)
	if w.Header().Get("Etag") == "" {
		w.Header().Set("Etag", strconv.Quote(hash(file)))
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
		return
	}
	body, err := gunzip(file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// hashes are those of the prebuilt v3 documents, by group version.
func hashes() (map[string]string, error) {
	files, err := fs.Glob(prebuilt, "prebuilt/v3/*.json.gz")
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(files))
	for _, f := range files {
		body, err := prebuilt.ReadFile(f)
		if err != nil {
			return nil, err
		}
		gv := strings.ReplaceAll(strings.TrimSuffix(path.Base(f), ".json.gz"), "__", "/")
		out[gv] = hash(body)
	}
	return out, nil
}

func hash(b []byte) string { return fmt.Sprintf("%X", sha512.Sum512(b)) }

func gunzip(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
