package kinds

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// TestStock holds our rules against the answers of the stock v1.37.2 API server
// to the same objects, byte for byte: errors, warnings, defaults, columns, rows.
//
// A file of testdata is a valid object and cases: "== name [op]", a YAML patch of
// it (for an update: of the old one; what follows "@new" is a patch of that),
// "---", and the answer. The answers were recorded from stock strategies and
// printers, not written by hand. Ops: create, default, prepare and updated (the
// object that the server makes of it), row, columns, update, and each subresource.
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
			base, cases, ok := strings.Cut(string(data), "\n== ")
			if !ok {
				t.Fatal("no cases")
			}
			for _, c := range strings.Split(cases, "\n== ") {
				head, body, _ := strings.Cut(c, "\n")
				patch, want, ok := strings.Cut("\n"+body, "\n---\n")
				if !ok {
					t.Fatalf("%s: no answer recorded", head)
				}
				name, op, _ := strings.Cut(head, " ")
				t.Run(name, func(t *testing.T) {
					got := answer(t, base, op, patch+"\n")
					if diff := cmp.Diff(strings.TrimSpace(comparable(want)), strings.TrimSpace(comparable(got))); diff != "" {
						t.Errorf("-stock +ours:\n%s", diff)
					}
				})
			}
		})
	}
}

var (
	// structValue is a refused value that is not a single one.
	structValue = regexp.MustCompile(`(?m)( value: )(?:[\[{].*[\]}]|null)(: |$)`)
	// changedValue is one that was refused for being another than before.
	changedValue = regexp.MustCompile(`(?m)( value: ).*(: field is immutable)$`)
)

// comparable cuts structs: stock prints the names of Go fields there, we print
// those of the API. And of some fields that may not change it shows no value.
func comparable(answer string) string {
	answer = changedValue.ReplaceAllString(structValue.ReplaceAllString(answer, "$1…$2"), "$1…$2")
	lines := strings.Split(answer, "\n")
	for i := range lines {
		lines[i], _, _ = strings.Cut(lines[i], `\n@@`)
	}
	return strings.Join(lines, "\n")
}

func answer(t *testing.T, base, op, patch string) string {
	t.Helper()
	raw := parse(t, base)
	s := serverOf(t, raw)
	oldPatch, newPatch, isUpdate := strings.Cut(patch, "\n@new\n")
	raw = merge(raw, parse(t, oldPatch))
	obj, err := s.decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if isUpdate {
		old := obj
		if obj, err = s.decode(merge(raw, parse(t, newPatch))); err != nil {
			t.Fatal(err)
		}
		if op == "updated" {
			accessor(obj).SetResourceVersion("1")
			s.prepareUpdate(s.request("update"), "update", obj, old)
			return s.show(t, obj)
		}
		return s.update(op, obj, old)
	}
	switch op {
	case "default":
		return s.show(t, obj)
	case "prepare":
		s.prepare(s.request("create"), obj)
		return s.show(t, obj)
	case "row":
		return lines(t, s.row(obj, metav1.Now()))
	case "columns":
		return columns(t, s, obj)
	}
	return s.create(obj)
}

func columns(t *testing.T, s *server, _ runtime.Object) string {
	list := s.Columns
	if list == nil {
		list = meta.PlainColumns()
	}
	all := make([]any, len(list))
	for i := range list {
		all[i] = list[i]
	}
	return lines(t, all...)
}

func lines(t *testing.T, values ...any) string {
	t.Helper()
	var out []string
	for _, value := range values {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(data))
	}
	return strings.Join(out, "\n")
}

func serverOf(t *testing.T, raw any) *server {
	t.Helper()
	object, _ := raw.(map[string]any)
	version, _ := object["apiVersion"].(string)
	kind, _ := object["kind"].(string)
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resources() {
		if r.GroupVersion == gv && r.Kind == kind {
			return &server{Resource: r}
		}
	}
	t.Fatalf("%s %s is not served", version, kind)
	return nil
}

func parse(t *testing.T, text string) (out any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// merge is a JSON merge patch that leaves to as it was; nil patches nothing.
func merge(to, patch any) any {
	if patch == nil {
		return to
	}
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	out := map[string]any{}
	if old, ok := to.(map[string]any); ok {
		for key, value := range old {
			out[key] = value
		}
	}
	for key, value := range p {
		if value == nil {
			delete(out, key)
		} else {
			out[key] = merge(out[key], value)
		}
	}
	return out
}
