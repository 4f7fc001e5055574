package images

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind error
		code codes.Code
	}{
		{fmt.Errorf("x: %w", errdefs.ErrNotFound), ErrNotFound, codes.NotFound},
		{fmt.Errorf("no match for platform in manifest: %w", errdefs.ErrNotFound), ErrNoPlatform, codes.NotFound},
		{&url.Error{Op: "Get", Err: syscall.ECONNREFUSED}, ErrUnreachable, codes.Unavailable},
		{&url.Error{Op: "Get", Err: io.EOF}, ErrInterrupted, codes.Unavailable},
		{&net.DNSError{Err: "no such host"}, ErrUnreachable, codes.Unavailable},
		{remoteerrors.ErrUnexpectedStatus{StatusCode: 401}, ErrUnauthorized, codes.PermissionDenied},
		{remoteerrors.ErrUnexpectedStatus{StatusCode: 502}, ErrUnreachable, codes.Unavailable},
		{fmt.Errorf("x: %w", docker.ErrInvalidAuthorization), ErrUnauthorized, codes.PermissionDenied},
		{fmt.Errorf("write: %w", syscall.ENOSPC), ErrDiskFull, codes.ResourceExhausted},
		{errors.New("unexpected commit digest a, expected b"), ErrCorrupt, codes.DataLoss},
		{errors.New("anything else"), nil, codes.Internal},
	} {
		err := classify("pull", "x", c.err)
		if c.kind != nil && !errors.Is(err, c.kind) {
			t.Errorf("%v: %v, want %v", c.err, err, c.kind)
		}
		if got := status.Code(criError(err)); got != c.code {
			t.Errorf("%v: code %v, want %v", c.err, got, c.code)
		}
		if again := classify("import", "y", err); again.Error() != err.Error() {
			t.Errorf("%v was wrapped twice: %v", c.err, again)
		}
	}
	if got := criError(&Error{Op: "pull", Kind: ErrUnreachable}); !strings.HasPrefix(status.Convert(got).Message(), "RegistryUnavailable: ") {
		t.Errorf("%v: the node agent would not recognize it", got)
	}
}

func TestNormalize(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for in, want := range map[string]string{
		"nginx":                  "docker.io/library/nginx:latest",
		"me/app:1":               "docker.io/me/app:1",
		"localhost:5000/x":       "localhost:5000/x:latest",
		"registry.k8s.io/a/b:v1": "registry.k8s.io/a/b:v1",
		"x:1" + digest:           "docker.io/library/x" + digest,
	} {
		if got, err := Normalize(in); err != nil || got != want {
			t.Errorf("Normalize(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestAuthFromCRI(t *testing.T) {
	for name, c := range map[string]struct {
		in   *runtimeapi.AuthConfig
		want *Auth
		bad  bool
	}{
		"nil":      {},
		"empty":    {in: &runtimeapi.AuthConfig{ServerAddress: "x"}},
		"password": {in: &runtimeapi.AuthConfig{Username: "u", Password: "p"}, want: &Auth{Username: "u", Password: "p"}},
		"auth":     {in: &runtimeapi.AuthConfig{Auth: "dTpwOnE="}, want: &Auth{Username: "u", Password: "p:q"}},
		"identity": {in: &runtimeapi.AuthConfig{IdentityToken: "i"}, want: &Auth{IdentityToken: "i"}},
		"registry": {in: &runtimeapi.AuthConfig{RegistryToken: "r"}, want: &Auth{RegistryToken: "r"}},
		"garbage":  {in: &runtimeapi.AuthConfig{Auth: "???"}, bad: true},
		"no colon": {in: &runtimeapi.AuthConfig{Auth: "dQ=="}, bad: true},
	} {
		got, err := authFromCRI(c.in)
		if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != c.bad {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestEndpoints(t *testing.T) {
	r := Registries{Registries: map[string]Registry{
		"docker.io":        {Mirrors: []string{"http://127.0.0.1:5000", "https://m.example/hub/"}},
		"only.example":     {Mirrors: []string{"https://m.example/v2/x"}, MirrorOnly: true},
		"plain.example:80": {PlainHTTP: true},
		"*":                {Mirrors: []string{"https://all.example"}},
	}}
	for host, want := range map[string][]string{
		"docker.io":        {"http://127.0.0.1:5000/v2", "https://m.example/v2/hub", "https://registry-1.docker.io/v2"},
		"only.example":     {"https://m.example/v2/x"},
		"plain.example:80": {"http://plain.example:80/v2"},
		"localhost:5000":   {"https://all.example/v2", "http://localhost:5000/v2"},
		"other.example":    {"https://all.example/v2", "https://other.example/v2"},
	} {
		eps, err := r.endpoints(host)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range eps {
			got = append(got, e.Scheme+"://"+e.Host+e.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
	}
	for _, bad := range []Registries{
		{Registries: map[string]Registry{"x": {Mirrors: []string{"127.0.0.1:5000"}}}},
		{Registries: map[string]Registry{"x": {MirrorOnly: true}}},
		{Registries: map[string]Registry{"x": {CertFile: "a"}}},
	} {
		if bad.validate() == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
