package static

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func manifest(name, image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: c, image: %s}]}\n", name, image)
}

func TestParse(t *testing.T) {
	from := origin{"file", "/etc/m.yaml"}
	rules := Rules{
		Default: func(p *v1.Pod) { p.Spec.RestartPolicy = v1.RestartPolicyAlways },
		Validate: func(p *v1.Pod) field.ErrorList {
			if p.Spec.Containers[0].Image == "" {
				return field.ErrorList{field.Required(field.NewPath("spec", "containers").Index(0).Child("image"), "")}
			}
			return nil
		},
	}
	pods, err := parse([]byte(manifest("a", "x")+"---\n"+`{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"b","namespace":"kube-system","uid":"given"},"spec":{"containers":[{"image":"y"}]}}]}`), from, "Node1", rules)
	if err != nil || len(pods) != 2 {
		t.Fatalf("%d pods, %v", len(pods), err)
	}
	a, b := pods[0], pods[1]
	if a.Name != "a-node1" || a.Namespace != "default" || a.Spec.NodeName != "Node1" || len(a.UID) != 32 || a.Spec.RestartPolicy != v1.RestartPolicyAlways ||
		a.Annotations[AnnotationSource] != "file" || a.Annotations[AnnotationHash] != string(a.UID) || len(a.Spec.Tolerations) != 1 || a.Status.Phase != v1.PodPending {
		t.Errorf("pod: %+v", a)
	}
	if b.UID != "given" || b.Namespace != "kube-system" {
		t.Errorf("pod: %+v", b.ObjectMeta)
	}
	same, _ := parse([]byte(manifest("a", "x")), from, "Node1", rules)
	changed, _ := parse([]byte(manifest("a", "z")), from, "Node1", rules)
	elsewhere, _ := parse([]byte(manifest("a", "x")), from, "Node2", rules)
	if same[0].UID != a.UID || changed[0].UID == a.UID || elsewhere[0].UID == a.UID {
		t.Errorf("UIDs: %s %s %s %s", a.UID, same[0].UID, changed[0].UID, elsewhere[0].UID)
	}
	for text, want := range map[string]string{
		"":                                      "manifest is empty",
		"a: [":                                  "invalid manifest",
		"apiVersion: apps/v1\nkind: Deployment": `a Pod of apiVersion v1 is needed, not "Deployment" of "apps/v1"`,
		"apiVersion: v1\nkind: Pod":             "name is needed",
		manifest("a", `""`):                     "spec.containers[0].image: Required",
		strings.Replace(manifest("a", "x"), "spec: {", "spec: {serviceAccountName: s, ", 1):                                       "static pods may not reference serviceaccounts",
		strings.Replace(manifest("a", "x"), "spec: {", "spec: {volumes: [{name: v, secret: {secretName: s}}], ", 1):               "secrets (via secret volumes)",
		strings.Replace(manifest("a", "x"), "image: x", "image: x, envFrom: [{configMapRef: {name: m}}]", 1):                      "may not reference configmaps",
		strings.Replace(manifest("a", "x"), "spec: {", "spec: {volumes: [{name: v, persistentVolumeClaim: {claimName: c}}], ", 1): "persistentvolumeclaims",
	} {
		if _, err := parse([]byte(text), from, "n", rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

// follow runs a source until the test ends and returns what it sets: names and images.
func follow(t *testing.T, cfg Config) <-chan string {
	t.Helper()
	cfg.NodeName, cfg.Log = "n", slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	sets, done := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(done)
		_ = NewSource(cfg).Run(ctx, func(pods []*v1.Pod) {
			var names []string
			for _, pod := range pods {
				names = append(names, pod.Name+"="+pod.Spec.Containers[0].Image)
				if pod.Annotations[AnnotationSeen] == "" {
					t.Errorf("%s was never seen", pod.Name)
				}
			}
			sets <- strings.Join(names, " ")
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return sets
}

func expect(t *testing.T, sets <-chan string, want string) {
	t.Helper()
	for {
		select {
		case got := <-sets:
			if got == want {
				return
			}
			t.Logf("set %q", got)
		case <-time.After(15 * time.Second):
			t.Fatalf("never set %q", want)
		}
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	// As editors do: whole, by a rename.
	temporary := filepath.Join(dir, ".tmp")
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", manifest("a", "x"))
	sets := follow(t, Config{Path: dir})
	expect(t, sets, "a-n=x")
	write(t, dir, "b.json", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"},"spec":{"containers":[{"name":"c","image":"y"}]}}`)
	expect(t, sets, "a-n=x b-n=y")
	// A slip stops neither the others nor the pod that was.
	write(t, dir, "a.yaml", "oops: [")
	write(t, dir, "b.json", manifest("b", "y2"))
	expect(t, sets, "a-n=x b-n=y2")
	write(t, dir, "a.yaml", manifest("a", "x2"))
	expect(t, sets, "a-n=x2 b-n=y2")
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	expect(t, sets, "b-n=y2")
}

func TestFolderThatIsNone(t *testing.T) {
	expect(t, follow(t, Config{Path: filepath.Join(t.TempDir(), "none")}), "")
	expect(t, follow(t, Config{}), "")
}

func TestPage(t *testing.T) {
	var body atomic.Value
	body.Store(manifest("a", "x"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "k" {
			http.Error(w, "who?", http.StatusForbidden)
			return
		}
		fmt.Fprint(w, body.Load())
	}))
	defer server.Close()
	dir := t.TempDir()
	write(t, dir, "b.yaml", manifest("b", "y1"))
	cfg := Config{Path: dir, URL: server.URL, Header: http.Header{"X-Key": {"k"}}, Every: 5 * time.Millisecond, Cache: filepath.Join(t.TempDir(), "cache")}
	sets := follow(t, cfg)
	expect(t, sets, "a-n=x b-n=y1")
	body.Store("nonsense")
	body.Store(manifest("a", "x2"))
	expect(t, sets, "a-n=x2 b-n=y1")
	// The agent starts anew and the server is away: what it said holds, from the first list on.
	cfg.Header = nil
	if first := <-follow(t, cfg); first != "a-n=x2 b-n=y1" {
		t.Errorf("first list: %q", first)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestMirrors(t *testing.T) {
	ctx := context.Background()
	pods, err := parse([]byte(manifest("a", "x")+"---\n"+manifest("a", "x2")), origin{"file", "f"}, "n", Rules{})
	if err != nil {
		t.Fatal(err)
	}
	old, changed := pods[0], pods[1]
	client := fake.NewClientset()
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "node-uid"}}
	m := &Mirrors{Client: client, Node: func() *v1.Node { return node }}
	get := func() *v1.Pod {
		pod, err := client.CoreV1().Pods("default").Get(ctx, "a-n", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return pod
	}
	for range 2 {
		if pod, err := m.Ensure(ctx, old); err != nil || pod == nil {
			t.Fatal(pod, err)
		}
	}
	mirror := get()
	owner := mirror.OwnerReferences[0]
	if mirror.Annotations[AnnotationMirror] != string(old.UID) || owner.Kind != "Node" || owner.UID != "node-uid" || !*owner.Controller {
		t.Errorf("mirror: %+v", mirror.ObjectMeta)
	}
	if _, err := m.Ensure(ctx, changed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("x2", get().Spec.Containers[0].Image); diff != "" {
		t.Error(diff)
	}
	if err := m.Remove(ctx, old.UID, "default", "a-n"); err != nil || get() == nil {
		t.Errorf("the mirror of the newer manifest is gone: %v", err)
	}
	for range 2 {
		if err := m.Remove(ctx, changed.UID, "default", "a-n"); err != nil || get() != nil {
			t.Errorf("the mirror is still there: %v", err)
		}
	}
	client.PrependReactor("*", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, context.DeadlineExceeded })
	if pod, err := m.Ensure(ctx, old); pod != nil || err != nil {
		t.Errorf("no API server: %v %v", pod, err)
	}
	client.PrependReactor("*", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("no") })
	if _, err := m.Ensure(ctx, old); err == nil {
		t.Error("a refusal is no error")
	}
}

// An agent that may only look at its own pods is forbidden to look for one that is not there.
func TestMirrorsOfAnAgentThatIsHeldToItsPods(t *testing.T) {
	pods, err := parse([]byte(manifest("a", "x")), origin{"file", "f"}, "n", Rules{})
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset()
	client.PrependReactor("get", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(v1.Resource("pods"), "a-n", errors.New("no relationship found"))
	})
	m := &Mirrors{Client: client, Node: func() *v1.Node { return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: "node-uid"}} }}
	if pod, err := m.Ensure(t.Context(), pods[0]); err != nil || pod == nil {
		t.Errorf("not made: %v, %v", pod, err)
	}
	if err := m.Remove(t.Context(), pods[0].UID, "default", "another"); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
}

// FuzzManifest: no file makes the reader panic; what it takes is a pod of this node,
// and the same pod at the next look.
func FuzzManifest(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: x}]}\n---\nnull\n"))
	f.Add([]byte(`{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"name":"b","namespace":"n"},"spec":{"volumes":[{"name":"v","secret":{"secretName":"s"}}]}}]}`))
	f.Add([]byte("kind: ["))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pods, err := parse(data, origin{"file", "/place"}, "Node", Rules{})
		if err != nil {
			return
		}
		again, err := parse(data, origin{"file", "/place"}, "Node", Rules{})
		if err != nil || len(again) != len(pods) {
			t.Fatalf("at the next look: %d pods, not %d; %v", len(again), len(pods), err)
		}
		for i, p := range pods {
			if p.UID == "" || p.UID != again[i].UID || p.Namespace == "" || p.Spec.NodeName != "Node" || !strings.HasSuffix(p.Name, "-node") || reference(p) != "" {
				t.Errorf("taken: %+v, then %+v", p, again[i])
			}
		}
	})
}
