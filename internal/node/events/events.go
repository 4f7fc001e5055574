// Package events records what happens to pods as Events of the API, with the
// reasons and messages that clients of Kubernetes know. Recording never blocks:
// events are correlated (a crash loop counts up one event instead of making a
// thousand) and sent in the background, and are dropped rather than waited for.
package events

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/proa-project/proa/internal/node/podlife"
)

// component is the source of the node's events: tools filter by this name.
const component = "kubelet"

// Recorder records events about pods and their containers.
type Recorder struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
}

// New starts a recorder that sends to the API until Shutdown.
func New(ctx context.Context, client kubernetes.Interface, nodeName string) *Recorder {
	b := record.NewBroadcaster(record.WithContext(ctx))
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return &Recorder{broadcaster: b, recorder: b.NewRecorder(scheme.Scheme, v1.EventSource{Component: component, Host: nodeName})}
}

// Shutdown ends the sending.
func (r *Recorder) Shutdown() { r.broadcaster.Shutdown() }

// Record an event that the pod machine, or an action, gave rise to.
func (r *Recorder) Record(pod *v1.Pod, e podlife.Event) {
	kind := v1.EventTypeNormal
	if e.Warning {
		kind = v1.EventTypeWarning
	}
	r.recorder.Event(Reference(pod, e.Container), kind, e.Reason, e.Message)
}

// Reference names a pod, or a container of it, as the object of an event.
func Reference(pod *v1.Pod, container string) *v1.ObjectReference {
	return &v1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		ResourceVersion: pod.ResourceVersion, FieldPath: fieldPath(pod, container),
	}
}

func fieldPath(pod *v1.Pod, container string) string {
	if container == "" {
		return ""
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == container {
			return fmt.Sprintf("spec.initContainers{%s}", container)
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == container {
			return fmt.Sprintf("spec.ephemeralContainers{%s}", container)
		}
	}
	return fmt.Sprintf("spec.containers{%s}", container)
}
