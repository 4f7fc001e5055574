// Package replicationcontroller keeps the pods of ReplicationControllers.
package replicationcontroller

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
	"github.com/proa-project/proa/internal/controllers/replicas"
)

// Component that events are from.
const Component = "replication-controller"

type api struct {
	client kubernetes.Interface
	lister listers.ReplicationControllerLister
}

var _ replicas.API = api{}

// New watches ReplicationControllers and pods.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	sets, pods := factory.Core().V1().ReplicationControllers(), factory.Core().V1().Pods().Informer()
	control, err := podcontrol.New(client, pods, recorder, v1.SchemeGroupVersion.WithKind("ReplicationController"), clock)
	if err != nil {
		return nil, err
	}
	return replicas.New("replicationcontroller", api{client, sets.Lister()}, control, sets.Informer(), pods, clock)
}

func (a api) Get(namespace, name string) (replicas.Set, error) {
	rc, err := a.lister.ReplicationControllers(namespace).Get(name)
	if err != nil {
		return replicas.Set{}, err
	}
	s := replicas.Set{
		Object: rc, Replicas: 1, MinReady: rc.Spec.MinReadySeconds, Selector: labels.SelectorFromSet(rc.Spec.Selector), Template: rc.Spec.Template,
		Status: replicas.Status{
			Replicas: rc.Status.Replicas, FullyLabeled: rc.Status.FullyLabeledReplicas, Ready: rc.Status.ReadyReplicas,
			Available: rc.Status.AvailableReplicas, ObservedGeneration: rc.Status.ObservedGeneration,
		},
	}
	if s.Template == nil {
		s.Template = &v1.PodTemplateSpec{}
	}
	if rc.Spec.Replicas != nil {
		s.Replicas = *rc.Spec.Replicas
	}
	for _, c := range rc.Status.Conditions {
		if c.Type == v1.ReplicationControllerReplicaFailure {
			s.Status.Failure = &replicas.Failure{Since: c.LastTransitionTime, Reason: c.Reason, Message: c.Message}
		}
	}
	return s, nil
}

func (a api) Live(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return a.client.CoreV1().ReplicationControllers(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (a api) UpdateStatus(ctx context.Context, s replicas.Set, now replicas.Status) error {
	had := s.Status
	if had.Terminating = now.Terminating; had == now {
		return nil // this kind does not show terminating pods
	}
	rc := s.Object.(*v1.ReplicationController).DeepCopy()
	st := &rc.Status
	st.Replicas, st.FullyLabeledReplicas, st.ReadyReplicas, st.AvailableReplicas = now.Replicas, now.FullyLabeled, now.Ready, now.Available
	st.ObservedGeneration = now.ObservedGeneration
	st.Conditions = slices.DeleteFunc(st.Conditions, func(c v1.ReplicationControllerCondition) bool {
		return c.Type == v1.ReplicationControllerReplicaFailure
	})
	if f := now.Failure; f != nil {
		st.Conditions = append(st.Conditions, v1.ReplicationControllerCondition{
			Type: v1.ReplicationControllerReplicaFailure, Status: v1.ConditionTrue, LastTransitionTime: f.Since, Reason: f.Reason, Message: f.Message,
		})
	}
	_, err := a.client.CoreV1().ReplicationControllers(rc.Namespace).UpdateStatus(ctx, rc, metav1.UpdateOptions{})
	return err
}

func (a api) Siblings(s replicas.Set) []types.UID { return []types.UID{s.Object.GetUID()} }

func (a api) Matching(pod *v1.Pod) (keys []string) {
	sets, err := a.lister.ReplicationControllers(pod.Namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, rc := range sets {
		if len(rc.Spec.Selector) > 0 && labels.SelectorFromSet(rc.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			keys = append(keys, rc.Namespace+"/"+rc.Name)
		}
	}
	return keys
}
