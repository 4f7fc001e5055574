package core

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/warning"
	"sigs.k8s.io/yaml"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// TestStock holds our rules against the answers of the stock v1.37.2 API server
// to the same objects, byte for byte: errors, warnings, defaults, rows.
//
// testdata/*.txt is cases: "== name [op] [kind]", a YAML patch of a small valid
// object (for an update: of the old one, "@new", of the new one), "---", and the
// answer. The answers were recorded from stock strategies, not written by hand.
// Ops: create (errors and warnings), prepare and default (the object), row, and
// each way of updating.
func TestStock(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range strings.Split("\n"+string(data), "\n== ")[1:] {
				head, body, _ := strings.Cut(c, "\n")
				patch, want, ok := strings.Cut(body, "---\n")
				if !ok {
					t.Fatalf("%s: no answer recorded", head)
				}
				t.Run(strings.ReplaceAll(head, " ", "_"), func(t *testing.T) {
					got := answer(t, strings.Fields(head)[1:], patch)
					if diff := cmp.Diff(strings.TrimSpace(comparable(want)), strings.TrimSpace(comparable(got))); diff != "" {
						t.Errorf("-stock +ours:\n%s", diff)
					}
				})
			}
		})
	}
}

// structValue is a refused value that is not a single one.
var structValue = regexp.MustCompile(`(?m)( value: )[\[{].*[\]}](: |$)`)

// comparable cuts structs, and the diff that a refused update prints: stock
// prints the names of Go fields there, we print those of the API.
func comparable(answer string) string {
	lines := strings.Split(structValue.ReplaceAllString(answer, "$1…$2"), "\n")
	for i := range lines {
		lines[i], _, _ = strings.Cut(lines[i], `\n@@`)
	}
	return strings.Join(lines, "\n")
}

var (
	container = []any{map[string]any{"name": "c", "image": "nginx:1"}}
	bases     = map[string]map[string]any{
		"Pod":         {"metadata": map[string]any{"name": "p", "namespace": "default"}, "spec": map[string]any{"containers": container}},
		"Node":        {"metadata": map[string]any{"name": "n"}},
		"Namespace":   {"metadata": map[string]any{"name": "ns"}},
		"PodTemplate": {"metadata": map[string]any{"name": "t", "namespace": "default"}, "template": map[string]any{"spec": map[string]any{"containers": container}}},
	}
)

func resourceOf(kind string) resource.Resource {
	return map[string]func() resource.Resource{"Pod": Pods, "Node": Nodes, "Namespace": Namespaces, "PodTemplate": PodTemplates}[kind]()
}

// patched makes an object of a base and a YAML merge patch, as a client's request
// does: decoded and defaulted.
func patched(t testing.TB, r resource.Resource, base any, patch string) (runtime.Object, any) {
	t.Helper()
	var p any
	if err := yaml.Unmarshal([]byte(patch), &p); err != nil {
		t.Fatal(err)
	}
	raw := base
	if p != nil {
		raw = mergePatch(throughJSON[any](t, base), p)
	}
	obj := r.New()
	data, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, obj); err != nil {
		t.Fatal(err)
	}
	r.Default(obj)
	obj.(metav1.Object).SetUID("u")
	return obj, raw
}

func throughJSON[T any](t testing.TB, v any) (out T) {
	t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mergePatch(to, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out, ok := to.(map[string]any)
	if !ok {
		out = map[string]any{}
	}
	for key, value := range p {
		if value == nil {
			delete(out, key)
		} else {
			out[key] = mergePatch(out[key], value)
		}
	}
	return out
}

type warnings []string

func (w *warnings) AddWarning(_, text string) { *w = append(*w, text) }

// answer does what the server does with a request, and prints the outcome.
func answer(t *testing.T, words []string, patch string) string {
	t.Helper()
	op, kind := "create", "Pod"
	for _, word := range words {
		if bases[word] != nil {
			kind = word
		} else {
			op = word
		}
	}
	r := resourceOf(kind)
	said := &warnings{}
	ctx := warning.WithWarningRecorder(context.Background(), said)
	oldPatch, newPatch, isUpdate := strings.Cut(patch, "@new\n")
	obj, raw := patched(t, r, bases[kind], oldPatch)
	if isUpdate {
		old := obj
		obj, _ = patched(t, r, raw, newPatch)
		return outcome(update(ctx, r, op, obj, old), *said)
	}
	switch op {
	case "default":
		return show(t, kind, obj)
	case "prepare":
		prepare(ctx, r, obj)
		return show(t, kind, obj)
	case "row":
		return row(t, r, obj)
	default:
		prepare(ctx, r, obj)
		errs := check(ctx, r, obj)
		if len(errs) == 0 && r.Warn != nil {
			*said = append(*said, r.Warn(ctx, obj)...)
		}
		return outcome(errs, *said)
	}
}

func prepare(ctx context.Context, r resource.Resource, obj runtime.Object) {
	if r.Generation {
		obj.(metav1.Object).SetGeneration(1)
	}
	if r.Prepare != nil {
		r.Prepare(ctx, obj)
	}
}

// check is the server's: metadata, then the kind's own.
func check(ctx context.Context, r resource.Resource, obj runtime.Object) field.ErrorList {
	name := r.CheckName
	if name == nil {
		name = apivalidation.NameIsDNSSubdomain
	}
	m, at := obj.(metav1.Object), field.NewPath("metadata")
	return meta.Join(
		apivalidation.ValidateObjectMetaAccessor(m, r.Namespaced, name, at),
		meta.Finalizers(at.Child("finalizers"), m.GetFinalizers()),
		r.Check(ctx, obj),
	)
}

func update(ctx context.Context, r resource.Resource, op string, obj, old runtime.Object) field.ErrorList {
	u := r.Update
	if op != "update" {
		u = r.Subresources[op]
	}
	for _, m := range []metav1.Object{obj.(metav1.Object), old.(metav1.Object)} {
		m.SetResourceVersion("1")
	}
	u.PrepareUpdate(ctx, obj, old)
	m, at := obj.(metav1.Object), field.NewPath("metadata")
	errs := meta.Join(
		apivalidation.ValidateObjectMetaAccessorUpdate(m, old.(metav1.Object), at),
		meta.Finalizers(at.Child("finalizers"), m.GetFinalizers()),
		u.CheckUpdate(ctx, obj, old),
	)
	if len(errs) == 0 && u.WarnUpdate != nil {
		for _, w := range u.WarnUpdate(ctx, obj, old) {
			warning.AddWarning(ctx, "", w)
		}
	}
	return errs
}

// outcome sorts errors, for stock goes through maps in no order.
func outcome(errs field.ErrorList, said []string) string {
	var lines []string
	for _, err := range errs {
		lines = append(lines, "error: "+strings.ReplaceAll(err.Error(), "\n", `\n`))
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	for _, w := range said {
		lines = append(lines, "warning: "+w)
	}
	if len(lines) == 0 {
		return "ok"
	}
	return strings.Join(lines, "\n")
}

func show(t *testing.T, kind string, obj runtime.Object) string {
	t.Helper()
	obj.GetObjectKind().SetGroupVersionKind(v1.SchemeGroupVersion.WithKind(kind))
	out, err := yaml.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func row(t *testing.T, r resource.Resource, obj runtime.Object) string {
	t.Helper()
	out, err := json.Marshal(r.Row(obj, metav1.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	lines := string(out)
	if r.RowConditions == nil {
		return lines
	}
	if conditions := r.RowConditions(obj); len(conditions) > 0 {
		out, err := json.Marshal(conditions)
		if err != nil {
			t.Fatal(err)
		}
		lines += fmt.Sprintf("\n%s", out)
	}
	return lines
}

// recordedPatches are the patches of all cases for pods: input for properties and fuzzing.
func recordedPatches(t testing.TB) []map[string]any {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var patches []map[string]any
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range strings.Split("\n"+string(data), "\n== ")[1:] {
			head, body, _ := strings.Cut(c, "\n")
			input, _, _ := strings.Cut(body, "---\n")
			if words := strings.Fields(head); bases[words[len(words)-1]] != nil {
				continue // another kind
			}
			for part := range strings.SplitSeq(input, "@new\n") {
				var patch map[string]any
				if err := yaml.Unmarshal([]byte(part), &patch); err != nil {
					t.Fatal(err)
				}
				patches = append(patches, patch)
			}
		}
	}
	return patches
}
