package apiserver

import (
	goversion "go/version"
	"runtime"

	"k8s.io/apimachinery/pkg/util/version"
	apiversion "k8s.io/apimachinery/pkg/version"
	"k8s.io/component-base/compatibility"
)

// KubernetesVersion is the release whose API is served.
const KubernetesVersion = "1.37.2"

// gitVersion is what clients compare themselves with; the build part says whose it is.
const gitVersion = "v" + KubernetesVersion + "+proa"

// effectiveVersion answers /version as proa, where the library would take the
// figures of its own build.
type effectiveVersion struct {
	compatibility.MutableEffectiveVersion
}

func newEffectiveVersion() compatibility.EffectiveVersion {
	v := version.MustParse(KubernetesVersion)
	floor := v.WithPatch(0).SubtractMinor(3)
	return effectiveVersion{compatibility.NewEffectiveVersion(v, false, floor, floor)}
}

func (e effectiveVersion) Info() *apiversion.Info {
	v := e.BinaryVersion()
	return &apiversion.Info{
		Major:        version.Itoa(v.Major()),
		Minor:        version.Itoa(v.Minor()),
		GitVersion:   gitVersion,
		GitTreeState: "clean",
		GoVersion:    goversion.Lang(runtime.Version()),
		Compiler:     runtime.Compiler,
		Platform:     runtime.GOOS + "/" + runtime.GOARCH,
	}
}
