package core

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"

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
		Check:        checkEventCreation,
		CheckName:    func(string, bool) []string { return nil }, // clients have always put any name here
		Update: resource.Update{
			CheckUpdate:    checkEventUpdate,
			Unconditional:  true,
			CreateOnUpdate: true,
		},
		Fields:  meta.Fields(eventFields),
		Columns: eventColumns(),
		Row:     meta.Row(eventRow),
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

// byNewGroup tells a request for events.k8s.io, which serves the same objects and
// is held to more.
func byNewGroup(ctx context.Context) bool {
	info, ok := request.RequestInfoFrom(ctx)
	return ok && info.APIGroup == eventsv1.GroupName
}

func checkEventCreation(ctx context.Context, obj runtime.Object) field.ErrorList {
	e := obj.(*corev1.Event)
	if !byNewGroup(ctx) {
		return checkEvent(e, "reportingComponent")
	}
	errs := meta.Join(
		checkEvent(e, "reportingController"),
		meta.Invalid(field.NewPath("metadata", "name"), e.Name, apivalidation.NameIsDNSSubdomain(e.Name, false)),
		checkSeries(e.Series),
	)
	if e.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", fmt.Sprintf("has invalid value: %v", e.Type)))
	}
	unset := func(name string, isUnset bool) {
		if !isUnset {
			errs = append(errs, field.Invalid(field.NewPath(name), "", "needs to be unset"))
		}
	}
	unset("firstTimestamp", e.FirstTimestamp.IsZero())
	unset("lastTimestamp", e.LastTimestamp.IsZero())
	unset("count", e.Count == 0)
	unset("source", e.Source == corev1.EventSource{})
	return errs
}

// checkEventUpdate: of a new event only the series changes. A client may have
// sent its time with more than the microseconds that are kept.
func checkEventUpdate(ctx context.Context, obj, before runtime.Object) field.ErrorList {
	e, old := obj.(*corev1.Event), before.(*corev1.Event)
	if !byNewGroup(ctx) {
		return checkEvent(e, "reportingComponent")
	}
	errs := checkEvent(e, "reportingController")
	if !equality.Semantic.DeepEqual(e.Series, old.Series) {
		errs = append(errs, checkSeries(e.Series)...)
	}
	same := func(name string, value, old any) {
		errs = append(errs, meta.Unchanged(field.NewPath(name), value, old)...)
	}
	same("involvedObject", e.InvolvedObject, old.InvolvedObject)
	same("reason", e.Reason, old.Reason)
	same("message", e.Message, old.Message)
	same("source", e.Source, old.Source)
	same("firstTimestamp", e.FirstTimestamp, old.FirstTimestamp)
	same("lastTimestamp", e.LastTimestamp, old.LastTimestamp)
	same("count", e.Count, old.Count)
	same("type", e.Type, old.Type)
	same("eventTime", keptTime(e.EventTime), keptTime(old.EventTime))
	same("action", e.Action, old.Action)
	same("related", e.Related, old.Related)
	same("reportingController", e.ReportingController, old.ReportingController)
	same("reportingInstance", e.ReportingInstance, old.ReportingInstance)
	return errs
}

// keptTime is a time as precise as it is stored.
func keptTime(t metav1.MicroTime) metav1.MicroTime {
	return metav1.NewMicroTime(t.Truncate(time.Microsecond).UTC())
}

func checkSeries(s *corev1.EventSeries) field.ErrorList {
	var errs field.ErrorList
	if s == nil {
		return nil
	}
	if s.Count < 2 {
		errs = append(errs, field.Invalid(field.NewPath("series.count"), "", "should be at least 2"))
	}
	if s.LastObservedTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("series.lastObservedTime"), ""))
	}
	return errs
}

// checkEvent holds what both groups ask of an event. An event with eventTime was
// written by a client of the newer kind and is held to more. controllerField is
// what the group calls the field of the reporting controller.
func checkEvent(e *corev1.Event, controllerField string) field.ErrorList {
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

func eventColumns() []metav1.TableColumnDefinition {
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

func eventRow(e *corev1.Event, now metav1.Time) []any {
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
