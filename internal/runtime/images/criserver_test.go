package images_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/images/registrytest"
)

func TestCRI(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p"})
	s := open(t)
	c := images.NewCRIServer(s)
	b := build(t, tricky(false))
	ref := reg.Push(t, "app:1", b)
	spec := func(ref string) *runtimeapi.ImageSpec { return &runtimeapi.ImageSpec{Image: ref} }

	if st, err := c.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: spec(ref)}); err != nil || st.Image != nil {
		t.Errorf("status of an absent image: %v, %v", st, err)
	}
	if _, err := c.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: spec(ref)}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("pull without credentials: %v", err)
	}
	if _, err := c.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: spec("a b")}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("pull of a bad name: %v", err)
	}
	auth := &runtimeapi.AuthConfig{Auth: base64.StdEncoding.EncodeToString([]byte("u:p"))}
	pulled, err := c.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: spec(ref), Auth: auth})
	if err != nil || pulled.ImageRef != b.ID() {
		t.Fatalf("pull: %v, %v", pulled, err)
	}

	st, err := c.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: spec(pulled.ImageRef), Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	want := &runtimeapi.Image{
		Id: b.ID(), RepoTags: []string{ref}, RepoDigests: []string{reg.Host + "/app@" + b.Target.Digest.String()},
		Size: st.Image.Size, Uid: &runtimeapi.Int64Value{Value: 1000}, Spec: &runtimeapi.ImageSpec{Image: b.ID()},
	}
	if diff := cmp.Diff(want, st.Image, protocmp.Transform()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	var info struct {
		ImageSpec struct{ Config struct{ User string } }
	}
	if err := json.Unmarshal([]byte(st.Info["info"]), &info); err != nil || info.ImageSpec.Config.User != "1000:1000" {
		t.Errorf("info %q: %v", st.Info["info"], err)
	}
	for filter, n := range map[string]int{"": 1, ref: 1, "absent": 0} {
		list, err := c.ListImages(t.Context(), &runtimeapi.ListImagesRequest{Filter: &runtimeapi.ImageFilter{Image: spec(filter)}})
		if err != nil || len(list.Images) != n {
			t.Errorf("list %q: %v, %v", filter, list, err)
		}
	}
	fs, err := c.ImageFsInfo(t.Context(), &runtimeapi.ImageFsInfoRequest{})
	if err != nil || fs.ImageFilesystems[0].UsedBytes.Value == 0 || fs.ImageFilesystems[0].Timestamp == 0 || len(fs.ContainerFilesystems) != 1 {
		t.Errorf("file systems: %v, %v", fs, err)
	}
	for range 2 { // the second finds nothing, which is no error
		if _, err := c.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: spec(ref)}); err != nil {
			t.Error(err)
		}
	}
	checkEmpty(t, s)
}

func TestPinned(t *testing.T) {
	s := open(t)
	archive := ociArchive(t, build(t, tricky(false)), "app:1")
	if _, err := s.Import(t.Context(), bytes.NewReader(archive), images.ImportOptions{Pinned: true}); err != nil {
		t.Fatal(err)
	}
	// A later import or pull of the same image does not take the pin away.
	if _, err := s.Import(t.Context(), bytes.NewReader(archive), images.ImportOptions{Names: []string{"app:2"}}); err != nil {
		t.Fatal(err)
	}
	list, err := images.NewCRIServer(s).ListImages(t.Context(), nil)
	if err != nil || len(list.Images) != 1 || !list.Images[0].Pinned {
		t.Errorf("%v, %v", list, err)
	}
}

// The challenge of a registry with a token server, and the two kinds of tokens.
func TestTokens(t *testing.T) {
	img := build(t, tricky(false))
	reg := newFakeRegistry(t, img)
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		form := r.FormValue("grant_type")
		ok := form == "refresh_token" && r.FormValue("refresh_token") == "identity" ||
			form == "password" && r.FormValue("username") == "u" && r.FormValue("password") == "p" ||
			user == "u" && password == "p"
		if !ok || !strings.Contains(r.FormValue("scope"), "repository:app:pull") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write([]byte(`{"access_token":"good","token":"good","expires_in":300}`))
	}))
	t.Cleanup(tokens.Close)
	guard := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer good" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`/token",service="test",scope="repository:app:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	reg.set(func() {
		reg.manifest = guard
		reg.blob = func(w http.ResponseWriter, r *http.Request, _ []byte) bool { return guard(w, r) }
	})
	for name, c := range map[string]struct {
		auth *images.Auth
		ok   bool
	}{
		"anonymous": {nil, false},
		"wrong":     {&images.Auth{Username: "u", Password: "x"}, false},
		"password":  {&images.Auth{Username: "u", Password: "p"}, true},
		"identity":  {&images.Auth{IdentityToken: "identity"}, true},
		"registry":  {&images.Auth{RegistryToken: "good"}, true},
	} {
		s := open(t)
		_, err := s.Pull(t.Context(), reg.ref(), images.PullOptions{Auth: c.auth})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if !c.ok && !errors.Is(err, images.ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
