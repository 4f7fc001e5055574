package execute

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// credentials for the image from the pod's pull secrets, the closest match first.
// A secret that can't be read is passed over, as another may do.
func (e *Executor) credentials(ctx context.Context, pod *v1.Pod, image string) pullTry {
	t := pullTry{image: image}
	for _, ref := range pod.Spec.ImagePullSecrets {
		if ref.Name == "" {
			continue
		}
		secret, err := e.Objects.Secret(ctx, pod.Namespace, ref.Name)
		if err != nil {
			t.missing = append(t.missing, ref.Name)
			continue
		}
		t.secrets = append(t.secrets, parseSecret(secret)...)
	}
	t.fit = match(t.secrets, image)
	return t
}

// credential is one entry of a docker config file.
type credential struct {
	secret   string // that it is from
	registry string // host[:port][/path], "*" standing for a part of the host
	auth     *runtimeapi.AuthConfig
}

type dockerEntry struct {
	Username, Password, Auth     string
	IdentityToken, RegistryToken string
}

func parseSecret(s *v1.Secret) []credential {
	var entries map[string]dockerEntry
	switch s.Type {
	case v1.SecretTypeDockerConfigJson:
		var file struct {
			Auths map[string]dockerEntry `json:"auths"`
		}
		if json.Unmarshal(s.Data[v1.DockerConfigJsonKey], &file) != nil {
			return nil
		}
		entries = file.Auths
	case v1.SecretTypeDockercfg:
		if json.Unmarshal(s.Data[v1.DockerConfigKey], &entries) != nil {
			return nil
		}
	}
	var out []credential
	for registry, entry := range entries {
		out = append(out, credential{secret: s.Name, registry: normalize(registry), auth: entry.config()})
	}
	return out
}

func (d dockerEntry) config() *runtimeapi.AuthConfig {
	user, password := d.Username, d.Password
	if d.Auth != "" && user == "" {
		if b, err := base64.StdEncoding.DecodeString(d.Auth); err == nil {
			user, password, _ = strings.Cut(string(b), ":")
		}
	}
	return &runtimeapi.AuthConfig{Username: user, Password: password, IdentityToken: d.IdentityToken, RegistryToken: d.RegistryToken}
}

// normalize drops what docker login writes around the host: a scheme, an API version.
func normalize(registry string) string {
	registry = strings.TrimPrefix(strings.TrimPrefix(registry, "https://"), "http://")
	registry = strings.TrimSuffix(registry, "/")
	for _, version := range []string{"/v1", "/v2"} {
		registry = strings.TrimSuffix(registry, version)
	}
	if registry == "index.docker.io" || registry == "registry-1.docker.io" {
		return "docker.io"
	}
	return registry
}

// match picks what is for the image: same host, path a prefix; longest path first.
func match(all []credential, image string) []credential {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return nil
	}
	var fit []credential
	for _, c := range all {
		if matches(c.registry, named.Name()) {
			fit = append(fit, c)
		}
	}
	slices.SortStableFunc(fit, func(a, b credential) int {
		if d := len(b.registry) - len(a.registry); d != 0 {
			return d
		}
		return strings.Compare(a.registry, b.registry)
	})
	return fit
}

func matches(registry, repository string) bool {
	wantHost, wantPath, _ := strings.Cut(registry, "/")
	host, rest, _ := strings.Cut(repository, "/")
	want, have := strings.Split(wantHost, "."), strings.Split(host, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want { // a star never spans a dot
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	return wantPath == "" || rest == wantPath || strings.HasPrefix(rest, wantPath+"/")
}
