package kinds

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

func each(t *testing.T, check func(*testing.T, resource.Resource)) {
	for _, r := range resources() {
		t.Run(r.GroupVersion.String()+"/"+r.Name, func(t *testing.T) { check(t, r) })
	}
}

// TestNames: what discovery, routes and storage are made of fits together.
func TestNames(t *testing.T) {
	seen := map[string]string{}
	each(t, func(t *testing.T, r resource.Resource) {
		for _, name := range append([]string{r.Name, r.Singular}, r.ShortNames...) {
			key := r.GroupVersion.Group + "/" + name
			if other, taken := seen[key]; taken && other != r.Kind {
				t.Errorf("%s is %s too", key, other)
			}
			seen[key] = r.Kind
		}
		if r.Singular != strings.ToLower(r.Kind) {
			t.Errorf("singular of %s is %q", r.Kind, r.Singular)
		}
		if r.Name != strings.ToLower(r.Name) || r.Name == "" {
			t.Errorf("plural is %q", r.Name)
		}
		if got := reflect.TypeOf(r.New()).Elem().Name(); got != r.Kind {
			t.Errorf("New makes a %s", got)
		}
		list := reflect.TypeOf(r.NewList()).Elem()
		if list.Name() != r.Kind+"List" {
			t.Errorf("NewList makes a %s", list.Name())
		}
		if items, ok := list.FieldByName("Items"); !ok || items.Type.Elem() != reflect.TypeOf(r.New()).Elem() {
			t.Errorf("a %s holds no %s", list.Name(), r.Kind)
		}
		if _, ok := r.New().(metav1.Object); !ok {
			t.Error("no metadata")
		}
	})
}

// TestUntouched: paths that an update leaves alone exist in the kind, by the
// names of JSON, as managed fields have them.
func TestUntouched(t *testing.T) {
	each(t, func(t *testing.T, r resource.Resource) {
		ways := map[string]resource.Update{"update": r.Update}
		for name, sub := range r.Subresources {
			ways[name] = sub
		}
		for name, way := range ways {
			for _, path := range way.Reset {
				if !hasPath(reflect.TypeOf(r.New()).Elem(), path) {
					t.Errorf("%s leaves %v alone, which is not there", name, path)
				}
			}
		}
		_, hasStatus := reflect.TypeOf(r.New()).Elem().FieldByName("Status")
		if _, sub := r.Subresources["status"]; sub && !hasStatus {
			t.Error("the status subresource has no status to write")
		}
	})
}

func hasPath(typ reflect.Type, path []string) bool {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if len(path) == 0 {
		return true
	}
	if typ.Kind() == reflect.Map { // any key
		return hasPath(typ.Elem(), path[1:])
	}
	if typ.Kind() != reflect.Struct {
		return false
	}
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if name == path[0] {
			return hasPath(typ.Field(i).Type, path[1:])
		}
	}
	return false
}

// TestAnything: no object makes a hook fail, defaults are set once, and what is
// printed and selected by has a constant shape.
func TestAnything(t *testing.T) {
	now := metav1.NewTime(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	each(t, func(t *testing.T, r resource.Resource) {
		s := &server{Resource: r}
		keys := selectable(r, r.New())
		try(t, s, r.New(), now, keys)
		rapid.Check(t, func(t *rapid.T) {
			obj, old := draw(t, r, "object"), draw(t, r, "old")
			try(t, s, obj, now, keys)
			if r.Default != nil {
				r.Default(obj)
				r.Default(old)
				try(t, s, obj, now, keys)
			}
			s.create(obj.DeepCopyObject())
			for op := range r.Subresources {
				s.update(op, obj.DeepCopyObject(), old.DeepCopyObject())
			}
			s.update("update", obj.DeepCopyObject(), old.DeepCopyObject())
			s.said = nil
		})
	})
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func try(t failer, s *server, obj runtime.Object, now metav1.Time, keys string) {
	t.Helper()
	if s.Default != nil {
		once := obj.DeepCopyObject()
		s.Default(once)
		twice := once.DeepCopyObject()
		s.Default(twice)
		if !equality.Semantic.DeepEqual(once, twice) {
			t.Fatalf("defaults change what has them:\n%s\n%s", jsonOf(once), jsonOf(twice))
		}
	}
	columns := s.Columns
	if columns == nil {
		columns = meta.PlainColumns()
	}
	before := obj.DeepCopyObject()
	cells := s.row(obj, now)
	if len(cells) != len(columns) {
		t.Fatalf("%d cells in %d columns", len(cells), len(columns))
	}
	for i, cell := range cells {
		switch cell.(type) {
		case string, int64, bool, nil:
		default:
			t.Fatalf("cell %s is a %T", columns[i].Name, cell)
		}
	}
	if got := selectable(s.Resource, obj); got != keys {
		t.Fatalf("selectable by %s, not %s", got, keys)
	}
	if !equality.Semantic.DeepEqual(before, obj) {
		t.Fatalf("printing changed the object")
	}
}

func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func selectable(r resource.Resource, obj runtime.Object) string {
	if r.Fields == nil {
		return ""
	}
	return strings.Join(meta.Sorted(r.Fields(obj)), " ")
}

// draw fills an object at random. Most of it stays empty, as in objects that
// people write, and strings are those that something may depend on.
func draw(t *rapid.T, r resource.Resource, label string) runtime.Object {
	obj := r.New()
	fill(t, reflect.ValueOf(obj).Elem(), 0)
	accessor(obj).SetManagedFields(nil)
	accessor(obj).SetName(rapid.SampledFrom([]string{"a", "exempt", "system:x", "10.0.0.1", "A b", ""}).Draw(t, label))
	return obj
}

var texts = rapid.SampledFrom([]string{
	"", "a", "b.example.com", "example.com/x", "TCP", "UDP", "Always", "ClusterIP", "LoadBalancer", "ExternalName", "NodePort", "None",
	"IPv4", "IPv6", "10.0.0.1", "fd00::1", "10.0.0.0/8", "RollingUpdate", "OnDelete", "Recreate", "Indexed", "Exact", "Prefix",
	"Resource", "Limited", "Exempt", "Queue", "kubernetes.io/tls", "* * * * *", "-1", "100%", "\n", "é",
})

func fill(t *rapid.T, v reflect.Value, depth int) {
	if !v.CanSet() {
		return
	}
	some := func(n int) bool { return rapid.IntRange(0, n+depth/2).Draw(t, "some") == 0 }
	switch value := v.Addr().Interface().(type) {
	case *metav1.Time:
		*value = metav1.NewTime(time.Unix(int64(rapid.Int32().Draw(t, "time")), 0).UTC())
		return
	case *metav1.MicroTime:
		*value = metav1.NewMicroTime(time.Unix(int64(rapid.Int32().Draw(t, "time")), 0).UTC())
		return
	case *apiresource.Quantity:
		*value = apiresource.MustParse(rapid.SampledFrom([]string{"0", "1", "100m", "1Gi", "-1", "1e30", "0.5n"}).Draw(t, "quantity"))
		return
	case *intstr.IntOrString:
		if rapid.Bool().Draw(t, "number") {
			*value = intstr.FromInt32(rapid.Int32Range(-1, 100).Draw(t, "int"))
		} else {
			*value = intstr.FromString(texts.Draw(t, "text"))
		}
		return
	case *runtime.RawExtension:
		*value = runtime.RawExtension{Raw: []byte(rapid.SampledFrom([]string{"", "null", `{"a":1}`, "["}).Draw(t, "raw"))}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "TypeMeta" || v.Type().Field(i).Name == "ManagedFields" {
				continue
			}
			if embedded := depth < 2; embedded || some(1) {
				fill(t, v.Field(i), depth+1)
			}
		}
	case reflect.Pointer:
		if depth < 14 && some(1) {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), depth+1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(texts.Draw(t, "bytes")))
			return
		}
		if depth >= 14 || !some(1) {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 2).Draw(t, "length"), 2))
		for i := range v.Len() {
			fill(t, v.Index(i), depth+1)
		}
	case reflect.Map:
		if depth >= 14 || !some(1) {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 2).Draw(t, "length") {
			key, element := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, key, depth+1)
			fill(t, element, depth+1)
			v.SetMapIndex(key, element)
		}
	case reflect.String:
		v.SetString(texts.Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rapid.Int32Range(-1, 70000).Draw(t, "int")))
	case reflect.Interface:
	default:
		panic(fmt.Sprintf("a %s is not drawn", v.Type()))
	}
}
