package core

import (
	"cmp"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// An Event tells what happened to an object. events.k8s.io serves the same
// objects in another shape and with stricter rules.
func events() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "events",
		Singular:     "event",
		Kind:         "Event",
		ShortNames:   []string{"ev"},
		Namespaced:   true,
		New:          func() runtime.Object { return &corev1.Event{} },
		NewList:      func() runtime.Object { return &corev1.EventList{} },
		Check:        meta.Check(func(e *corev1.Event) field.ErrorList { return CheckEvent(e, "reportingComponent") }),
		CheckName:    func(string, bool) []string { return nil }, // clients have always put any name here
		Update: resource.Update{
			CheckUpdate:    meta.CheckUpdate(func(e, _ *corev1.Event) field.ErrorList { return CheckEvent(e, "reportingComponent") }),
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Fields:  meta.Fields(eventFields),
		Columns: EventColumns(),
		Row:     meta.Row(EventRow),
	}
}

func eventFields(e *corev1.Event) fields.Set {
	return fields.Set{
		"involvedObject.kind":            e.InvolvedObject.Kind,
		"involvedObject.namespace":       e.InvolvedObject.Namespace,
		"involvedObject.name":            e.InvolvedObject.Name,
		"involvedObject.uid":             string(e.InvolvedObject.UID),
		"involvedObject.apiVersion":      e.InvolvedObject.APIVersion,
		"involvedObject.resourceVersion": e.InvolvedObject.ResourceVersion,
		"involvedObject.fieldPath":       e.InvolvedObject.FieldPath,
		"reason":                         e.Reason,
		"reportingComponent":             e.ReportingController,
		"source":                         cmp.Or(e.Source.Component, e.ReportingController),
		"type":                           e.Type,
	}
}

// The longest reason, action, instance and message of an event, by the API.
const (
	maxEventWord    = 128
	maxEventMessage = 1024
)

// CheckEvent holds what both groups ask of an event. An event with eventTime was
// written by a client of the newer kind and is held to more. controllerField is
// what the group calls the field of the reporting controller.
func CheckEvent(e *corev1.Event, controllerField string) field.ErrorList {
	about := field.NewPath("involvedObject", "namespace")
	mismatch := field.Invalid(about, e.InvolvedObject.Namespace, "does not match event.namespace")
	inDefault := e.Namespace == metav1.NamespaceDefault
	if e.EventTime.IsZero() {
		aboutCluster := e.InvolvedObject.Namespace == "" && inDefault // older clients put these there
		if !aboutCluster && e.Namespace != e.InvolvedObject.Namespace {
			return field.ErrorList{mismatch}
		}
		return nil
	}
	var errs field.ErrorList
	if e.InvolvedObject.Namespace == "" && !inDefault && e.Namespace != metav1.NamespaceSystem {
		errs = append(errs, mismatch)
	}
	controller := field.NewPath(controllerField)
	return meta.Join(errs,
		meta.Required(controller, e.ReportingController),
		meta.QualifiedName(controller, e.ReportingController),
		eventWord("reportingInstance", e.ReportingInstance),
		eventWord("action", e.Action),
		eventWord("reason", e.Reason),
		atMost("message", e.Message, maxEventMessage),
	)
}

func eventWord(name, value string) field.ErrorList {
	return append(meta.Required(field.NewPath(name), value), atMost(name, value, maxEventWord)...)
}

func atMost(name, value string, limit int) field.ErrorList {
	if len(value) <= limit {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath(name), "", fmt.Sprintf("can have at most %d characters", limit))}
}

// EventColumns and EventRow show events of both groups.
func EventColumns() []metav1.TableColumnDefinition {
	docs := corev1.Event{}.SwaggerDoc()
	return meta.Table(
		meta.String("Last Seen", docs["lastTimestamp"]),
		meta.String("Type", docs["type"]),
		meta.String("Reason", docs["reason"]),
		meta.String("Object", docs["involvedObject"]),
		meta.Wide(meta.String("Subobject", corev1.ObjectReference{}.SwaggerDoc()["fieldPath"])),
		meta.Wide(meta.String("Source", docs["source"])),
		meta.String("Message", docs["message"]),
		meta.Wide(meta.String("First Seen", docs["firstTimestamp"])),
		meta.Wide(meta.String("Count", docs["count"])),
		meta.Wide(meta.Name()),
	)
}

func EventRow(e *corev1.Event, now metav1.Time) []any {
	first := meta.Age(e.FirstTimestamp, now)
	if e.FirstTimestamp.IsZero() {
		first = meta.MicroAge(e.EventTime, now)
	}
	last, count := first, e.Count
	if !e.LastTimestamp.IsZero() {
		last = meta.Age(e.LastTimestamp, now)
	}
	if e.Series != nil {
		last, count = meta.MicroAge(e.Series.LastObservedTime, now), e.Series.Count
	} else if count == 0 {
		count = 1 // a single event of the newer kind has no count
	}
	object := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name != "" {
		object += "/" + e.InvolvedObject.Name
	}
	return []any{
		last, e.Type, e.Reason, object, e.InvolvedObject.FieldPath, eventSource(e),
		strings.TrimSpace(e.Message), first, int64(count), e.Name,
	}
}

func eventSource(e *corev1.Event) string {
	component := cmp.Or(e.Source.Component, e.ReportingController)
	if instance := cmp.Or(e.Source.Host, e.ReportingInstance); instance != "" {
		return component + ", " + instance
	}
	return component
}
