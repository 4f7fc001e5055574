// Package build makes the prebuilt specifications from a server's routes. Only
// the generator imports it: it is the slow way that prebuilding saves.
package build

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	restful "github.com/emicklei/go-restful/v3"
	"k8s.io/apimachinery/pkg/runtime"
	apiopenapi "k8s.io/apiserver/pkg/endpoints/openapi"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/proa-project/proa/internal/apiserver/openapi/definitions"
	"github.com/proa-project/proa/internal/apiserver/openapi/definitions/extensions"
)

// Media types, by the ending of the files that hold them.
var (
	v2Types = map[string]string{"json": "application/json", "pb": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
	v3Types = map[string]string{"json": "application/json", "pb": "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"}
)

// Write puts the specifications of the routes in c into dir. scheme has the
// external types, and no hub: its names would leak out.
func Write(dir, version string, scheme *runtime.Scheme, c *restful.Container) error {
	namer := apiopenapi.NewDefinitionNamer(scheme)
	v2 := genericserver.DefaultOpenAPIConfig(allDefinitions, namer)
	v2.Info.Title, v2.Info.Version = "Kubernetes", version
	v2.SecurityDefinitions = &spec.SecurityDefinitions{"BearerToken": {SecuritySchemeProps: spec.SecuritySchemeProps{
		Type: "apiKey", Name: "authorization", In: "header", Description: "Bearer Token authentication"}}}
	v2.DefaultSecurity = []map[string][]string{{"BearerToken": {}}}
	v3 := genericserver.DefaultOpenAPIV3Config(allDefinitions, namer)
	v3.Info.Title, v3.Info.Version = "Kubernetes", version

	m := mux.NewPathRecorderMux("openapi")
	o := routes.OpenAPI{Config: v2, V3Config: v3}
	o.InstallV2(c, m)
	o.InstallV3(c, m)

	if err := save(m, "/openapi/v2", filepath.Join(dir, "v2"), v2Types); err != nil {
		return err
	}
	index, err := get(m, "/openapi/v3", "application/json")
	if err != nil {
		return err
	}
	var paths struct{ Paths map[string]any }
	if err := json.Unmarshal(index, &paths); err != nil {
		return err
	}
	for path := range paths.Paths {
		if !strings.HasPrefix(path, "api") {
			continue // /version and the like: no kinds
		}
		if err := save(m, "/openapi/v3/"+path, filepath.Join(dir, "v3", strings.ReplaceAll(path, "/", "__")), v3Types); err != nil {
			return err
		}
	}
	return nil
}

func allDefinitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	all := definitions.GetOpenAPIDefinitions(ref)
	maps.Copy(all, extensions.GetOpenAPIDefinitions(ref))
	return all
}

func save(h http.Handler, path, file string, types map[string]string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	for ending, contentType := range types {
		body, err := get(h, path, contentType)
		if err != nil {
			return err
		}
		if err := saveGzip(file+"."+ending+".gz", body); err != nil {
			return err
		}
	}
	return nil
}

func get(h http.Handler, path, accept string) ([]byte, error) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, fmt.Errorf("%s as %s: %d %s", path, accept, w.Code, w.Body)
	}
	return w.Body.Bytes(), nil
}

func saveGzip(file string, body []byte) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(body); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}
