package aggregation

import (
	"maps"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// target is another server, as requests see it. It is never changed.
type target struct {
	service   registrationv1.ServiceReference
	transport http.RoundTripper
	available bool
}

// routes say which other server answers for a version of a group. They are
// replaced, never changed.
type routes map[schema.GroupVersion]target

func (r routes) with(gv schema.GroupVersion, t target) routes {
	out := maps.Clone(r)
	if out == nil {
		out = routes{}
	}
	out[gv] = t
	return out
}

func (r routes) without(gv schema.GroupVersion) routes {
	out := maps.Clone(r)
	delete(out, gv)
	return out
}

// find the server for a path below /apis/, if it is another one.
func (r routes) find(path string) (target, bool) {
	group, version, ok := versionOf(path)
	if !ok {
		return target{}, false
	}
	t, ok := r[schema.GroupVersion{Group: group, Version: version}]
	return t, ok
}

// versionOf /apis/<group>/<version>/….
func versionOf(path string) (group, version string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/apis/")
	if !ok {
		return "", "", false
	}
	group, rest, ok = strings.Cut(rest, "/")
	version, _, _ = strings.Cut(rest, "/")
	return group, version, ok && version != ""
}
