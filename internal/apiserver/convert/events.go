package convert

import (
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Events makes core/v1 Event the hub of events.k8s.io/v1 too.
func Events(s *runtime.Scheme) error {
	hub := schema.GroupVersion{Group: eventsv1.GroupName, Version: runtime.APIVersionInternal}
	s.AddKnownTypeWithName(hub.WithKind("Event"), &corev1.Event{})
	s.AddKnownTypeWithName(hub.WithKind("EventList"), &corev1.EventList{})
	return addAll(s,
		pair[eventsv1.Event, corev1.Event](eventToHub),
		pair[corev1.Event, eventsv1.Event](eventFromHub),
		pair[eventsv1.EventList, corev1.EventList](func(in *eventsv1.EventList, out *corev1.EventList) error {
			out.ListMeta = in.ListMeta
			return each(in.Items, &out.Items, eventToHub)
		}),
		pair[corev1.EventList, eventsv1.EventList](func(in *corev1.EventList, out *eventsv1.EventList) error {
			out.ListMeta = in.ListMeta
			return each(in.Items, &out.Items, eventFromHub)
		}))
}

func eventToHub(in *eventsv1.Event, out *corev1.Event) error {
	*out = corev1.Event{
		ObjectMeta: in.ObjectMeta, EventTime: in.EventTime,
		ReportingController: in.ReportingController, ReportingInstance: in.ReportingInstance,
		Action: in.Action, Reason: in.Reason, InvolvedObject: in.Regarding, Related: in.Related,
		Message: in.Note, Type: in.Type, Source: in.DeprecatedSource,
		FirstTimestamp: in.DeprecatedFirstTimestamp, LastTimestamp: in.DeprecatedLastTimestamp, Count: in.DeprecatedCount,
	}
	if in.Series != nil {
		out.Series = &corev1.EventSeries{Count: in.Series.Count, LastObservedTime: in.Series.LastObservedTime}
	}
	return nil
}

func eventFromHub(in *corev1.Event, out *eventsv1.Event) error {
	*out = eventsv1.Event{
		ObjectMeta: in.ObjectMeta, EventTime: in.EventTime,
		ReportingController: in.ReportingController, ReportingInstance: in.ReportingInstance,
		Action: in.Action, Reason: in.Reason, Regarding: in.InvolvedObject, Related: in.Related,
		Note: in.Message, Type: in.Type, DeprecatedSource: in.Source,
		DeprecatedFirstTimestamp: in.FirstTimestamp, DeprecatedLastTimestamp: in.LastTimestamp, DeprecatedCount: in.Count,
	}
	if in.Series != nil {
		out.Series = &eventsv1.EventSeries{Count: in.Series.Count, LastObservedTime: in.Series.LastObservedTime}
	}
	return nil
}

// pair lifts a typed conversion.
func pair[In, Out any](f func(*In, *Out) error) func(*runtime.Scheme) error {
	return func(s *runtime.Scheme) error {
		return s.AddConversionFunc((*In)(nil), (*Out)(nil), func(a, b any, _ conversion.Scope) error {
			return f(a.(*In), b.(*Out))
		})
	}
}

func addAll(s *runtime.Scheme, adds ...func(*runtime.Scheme) error) error {
	for _, add := range adds {
		if err := add(s); err != nil {
			return err
		}
	}
	return nil
}

func each[In, Out any](in []In, out *[]Out, f func(*In, *Out) error) error {
	if in == nil {
		*out = nil
		return nil
	}
	*out = make([]Out, len(in))
	for i := range in {
		if err := f(&in[i], &(*out)[i]); err != nil {
			return err
		}
	}
	return nil
}
