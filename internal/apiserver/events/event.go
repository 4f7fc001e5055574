package events

import (
	"strings"

	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// Events of this group are the core group's in another shape: stored, checked
// and shown there. Here is only what differs on the wire.
func events() resource.Resource {
	return resource.Resource{
		GroupVersion: eventsv1.SchemeGroupVersion,
		Name:         "events",
		Singular:     "event",
		Kind:         "Event",
		ShortNames:   []string{"ev"},
		Namespaced:   true,
		New:          func() runtime.Object { return &eventsv1.Event{} },
		NewList:      func() runtime.Object { return &eventsv1.EventList{} },
		Update:       resource.Update{Unconditional: true, CreateOnUpdate: true},
		Fields:       meta.Fields(eventFields),
		StoredField:  storedField,
	}
}

// storedField is the core group's name of a field.
func storedField(name string) string {
	if name == "reportingController" {
		return "reportingComponent"
	}
	if rest, ok := strings.CutPrefix(name, "regarding."); ok {
		return "involvedObject." + rest
	}
	return name
}

func eventFields(e *eventsv1.Event) fields.Set {
	return fields.Set{
		"regarding.kind":            e.Regarding.Kind,
		"regarding.namespace":       e.Regarding.Namespace,
		"regarding.name":            e.Regarding.Name,
		"regarding.uid":             string(e.Regarding.UID),
		"regarding.apiVersion":      e.Regarding.APIVersion,
		"regarding.resourceVersion": e.Regarding.ResourceVersion,
		"regarding.fieldPath":       e.Regarding.FieldPath,
		"reason":                    e.Reason,
		"reportingController":       e.ReportingController,
		"type":                      e.Type,
	}
}
