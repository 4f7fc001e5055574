package loop

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// statusPatch is the difference between the object's status and the new one, as a
// strategic merge patch tied to the object's UID; nil if there is none.
//
// The library's general differ would encode both statuses whole and decode them
// again, for each of the few changes in a pod's start. Here only what has changed is
// encoded, field by field, as the fields' tags say how lists are merged.
func statusPatch(object *v1.Pod, status v1.PodStatus) ([]byte, error) {
	changes := map[string]any{}
	before, after := reflect.ValueOf(&object.Status).Elem(), reflect.ValueOf(&status).Elem()
	for i, f := range statusFields {
		was, now := before.Field(i), after.Field(i)
		if equality.Semantic.DeepEqual(was.Interface(), now.Interface()) {
			continue
		}
		if err := f.diff(changes, was, now); err != nil {
			return nil, fmt.Errorf("compare statuses: %w", err)
		}
	}
	if len(changes) == 0 {
		return nil, nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": object.UID}, "status": changes})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	return body, nil
}

// statusField is a field of a pod's status, in JSON.
type statusField struct {
	name     string
	key      int      // of merged lists: the element's field that identifies it; -1: not merged
	json     string   // its name
	elements []string // of merged lists: the names of the elements' fields
}

var statusFields = fieldsOf(reflect.TypeFor[v1.PodStatus]())

func fieldsOf(t reflect.Type) []statusField {
	var out []statusField
	for i := range t.NumField() {
		f := statusField{name: jsonName(t.Field(i)), key: -1}
		if mergeKey := t.Field(i).Tag.Get("patchMergeKey"); mergeKey != "" {
			element := t.Field(i).Type.Elem()
			for j := range element.NumField() {
				f.elements = append(f.elements, jsonName(element.Field(j)))
				if f.elements[j] == mergeKey {
					f.key, f.json = j, mergeKey
				}
			}
		}
		out = append(out, f)
	}
	return out
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// diff adds to the changes what makes the field's old value the new one.
func (f statusField) diff(changes map[string]any, was, now reflect.Value) error {
	switch {
	case now.IsZero() || now.Kind() == reflect.Slice && now.Len() == 0:
		changes[f.name] = nil
	case f.key >= 0:
		f.diffList(changes, was, now)
	case !was.IsZero() && (now.Kind() == reflect.Map || now.Kind() == reflect.Pointer && !isScalar(now)):
		whole, err := replaced(now.Interface())
		if err != nil {
			return err
		}
		changes[f.name] = whole
	default:
		changes[f.name] = now.Interface()
	}
	return nil
}

// isScalar: in JSON it is one value, as times are.
func isScalar(v reflect.Value) bool {
	_, ok := v.Interface().(json.Marshaler)
	return ok
}

// replaced is an object that takes the place of another, as without the directive
// its keys would be added to those of the other.
func replaced(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var whole map[string]any
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, err
	}
	whole["$patch"] = "replace"
	return whole, nil
}

// diffList of elements that are known by a key: those that changed, those that are
// gone, and the order of all.
func (f statusField) diffList(changes map[string]any, was, now reflect.Value) {
	var elements, order []any
	var kept []string
	for i := range now.Len() {
		element, key := now.Index(i), now.Index(i).Field(f.key).String()
		kept = append(kept, key)
		order = append(order, map[string]any{f.json: key})
		if old, ok := f.find(was, key); !ok {
			elements = append(elements, element.Interface())
		} else if changes := f.diffElement(old, element); changes != nil {
			elements = append(elements, changes)
		}
	}
	for i := range was.Len() {
		if key := was.Index(i).Field(f.key).String(); !slices.Contains(kept, key) {
			elements = append(elements, map[string]any{"$patch": "delete", f.json: key})
		}
	}
	if len(elements) > 0 {
		changes[f.name] = elements
	} else if f.name == "conditions" {
		return // another order alone means nothing; of addresses, the first is the pod's
	}
	changes["$setElementOrder/"+f.name] = order
}

// diffElement is what changed in an element, nil for nothing: what it had and has no
// more must be said.
func (f statusField) diffElement(was, now reflect.Value) map[string]any {
	var changes map[string]any
	for i, name := range f.elements {
		if equality.Semantic.DeepEqual(was.Field(i).Interface(), now.Field(i).Interface()) {
			continue
		}
		if changes == nil {
			changes = map[string]any{f.json: now.Field(f.key).Interface()}
		}
		changes[name] = now.Field(i).Interface()
		if now.Field(i).IsZero() {
			changes[name] = nil
		}
	}
	return changes
}

func (f statusField) find(list reflect.Value, key string) (reflect.Value, bool) {
	for i := range list.Len() {
		if list.Index(i).Field(f.key).String() == key {
			return list.Index(i), true
		}
	}
	return reflect.Value{}, false
}
