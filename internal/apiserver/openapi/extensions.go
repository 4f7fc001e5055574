package openapi

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	apiopenapi "k8s.io/apiserver/pkg/endpoints/openapi"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/proa-project/proa/internal/apiserver/openapi/definitions/extensions"
)

// Extensions is the configuration that the library's server of custom
// resources insists on. It has only that server's own types, so it costs little.
func Extensions(s *runtime.Scheme) *common.OpenAPIV3Config {
	namer := apiopenapi.NewDefinitionNamer(s)
	c := genericserver.DefaultOpenAPIV3Config(extensions.GetOpenAPIDefinitions, namer)
	c.GetDefinitionName = func(name string) (string, spec.Extensions) {
		name, ext := namer.GetDefinitionName(name)
		return name, withoutHub(ext)
	}
	c.Info.Title = "Kubernetes"
	return c
}

// withoutHub drops the kinds that only this process knows.
func withoutHub(ext spec.Extensions) spec.Extensions {
	kinds, ok := ext[kindExtension].([]any)
	if !ok {
		return ext
	}
	var kept []any
	for _, k := range kinds {
		if m, ok := k.(map[string]any); !ok || !strings.HasPrefix(asString(m["version"]), "__") {
			kept = append(kept, k)
		}
	}
	return spec.Extensions{kindExtension: kept}
}

func asString(v any) string {
	s, _ := v.(string)
	return s
}
