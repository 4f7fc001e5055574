package execute

import (
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// pullTry is how a pull was tried, for the hint of what would make it succeed.
type pullTry struct {
	image   string
	secrets []credential // of the pod, whatever they are for
	fit     []credential // for this image
	missing []string     // secrets that could not be read
}

// pullHints: what the text of an error means, and what to do about it.
var pullHints = []struct {
	says []string
	hint func(t pullTry, host string) string
}{
	{[]string{"401", "403", "unauthorized", "denied", "authorization failed", "insufficient_scope", "no basic auth"}, authHint},
	{[]string{"not found", "404", "manifest unknown", "name unknown"}, func(_ pullTry, host string) string {
		return host + " has no such image or tag: check the name"
	}},
	{[]string{"http response to https client"}, func(_ pullTry, host string) string {
		return host + " speaks HTTP: say so in registries.yaml"
	}},
	{[]string{"x509", "certificate"}, func(_ pullTry, host string) string {
		return "the node does not trust " + host + "'s certificate: registries.yaml can name its authority"
	}},
	{[]string{"no such host", "connection refused", "no route to host", "network is unreachable", "i/o timeout", "deadline exceeded", "server misbehaving"},
		func(_ pullTry, host string) string {
			return "the node does not reach " + host + ": registries.yaml can name a mirror, `proa image import` brings the image in without one"
		}},
}

func (t pullTry) hint(err error) string {
	text, host := strings.ToLower(err.Error()), "the registry"
	if named, err := reference.ParseNormalizedNamed(t.image); err == nil {
		host = reference.Domain(named)
	}
	for _, h := range pullHints {
		if slices.ContainsFunc(h.says, func(s string) bool { return strings.Contains(text, s) }) {
			return h.hint(t, host)
		}
	}
	return ""
}

// authHint compares what the registry asks for with what the pod's secrets are for.
func authHint(t pullTry, host string) string {
	switch {
	case len(t.missing) > 0:
		return fmt.Sprintf("%s asks for a password, and secret %s can't be read: create it in the pod's namespace", host, strings.Join(t.missing, ", "))
	case len(t.fit) > 0:
		return fmt.Sprintf("%s refuses the password of secret %s for this image", host, names(t.fit))
	case len(t.secrets) > 0:
		var are []string
		for _, c := range t.secrets {
			are = append(are, fmt.Sprintf("secret %s is for %s", c.secret, c.registry))
		}
		return fmt.Sprintf("%s asks for a password: %s", host, strings.Join(slices.Compact(are), ", "))
	}
	return host + " asks for a password: name a secret for it (kubectl create secret docker-registry) in the pod's imagePullSecrets"
}

func names(list []credential) string {
	var out []string
	for _, c := range list {
		out = append(out, c.secret)
	}
	return strings.Join(slices.Compact(out), ", ")
}
