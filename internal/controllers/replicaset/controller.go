// Package replicaset keeps the pods of ReplicaSets.
package replicaset

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
	"github.com/proa-project/proa/internal/controllers/replicas"
)

// Component that events are from.
const Component = "replicaset-controller"

type api struct {
	client kubernetes.Interface
	lister listers.ReplicaSetLister
}

var _ replicas.API = api{}

// New watches ReplicaSets and pods.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	sets, pods := factory.Apps().V1().ReplicaSets(), factory.Core().V1().Pods().Informer()
	control, err := podcontrol.New(client, pods, recorder, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"), clock)
	if err != nil {
		return nil, err
	}
	return replicas.New("replicaset", api{client, sets.Lister()}, control, sets.Informer(), pods, clock)
}

func (a api) Get(namespace, name string) (replicas.Set, error) {
	rs, err := a.lister.ReplicaSets(namespace).Get(name)
	if err != nil {
		return replicas.Set{}, err
	}
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		selector = labels.Nothing() // the API lets none in
	}
	s := replicas.Set{
		Object: rs, Replicas: 1, MinReady: rs.Spec.MinReadySeconds, Selector: selector, Template: &rs.Spec.Template,
		Status: replicas.Status{
			Replicas: rs.Status.Replicas, FullyLabeled: rs.Status.FullyLabeledReplicas, Ready: rs.Status.ReadyReplicas,
			Available: rs.Status.AvailableReplicas, ObservedGeneration: rs.Status.ObservedGeneration,
		},
	}
	if rs.Spec.Replicas != nil {
		s.Replicas = *rs.Spec.Replicas
	}
	if rs.Status.TerminatingReplicas != nil {
		s.Status.Terminating = *rs.Status.TerminatingReplicas
	}
	for _, c := range rs.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure {
			s.Status.Failure = &replicas.Failure{Since: c.LastTransitionTime, Reason: c.Reason, Message: c.Message}
		}
	}
	return s, nil
}

func (a api) Live(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return a.client.AppsV1().ReplicaSets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (a api) UpdateStatus(ctx context.Context, s replicas.Set, now replicas.Status) error {
	rs := s.Object.(*appsv1.ReplicaSet).DeepCopy()
	st := &rs.Status
	st.Replicas, st.FullyLabeledReplicas, st.ReadyReplicas, st.AvailableReplicas = now.Replicas, now.FullyLabeled, now.Ready, now.Available
	st.TerminatingReplicas, st.ObservedGeneration = &now.Terminating, now.ObservedGeneration
	st.Conditions = slices.DeleteFunc(st.Conditions, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure })
	if f := now.Failure; f != nil {
		st.Conditions = append(st.Conditions, appsv1.ReplicaSetCondition{
			Type: appsv1.ReplicaSetReplicaFailure, Status: v1.ConditionTrue, LastTransitionTime: f.Since, Reason: f.Reason, Message: f.Message,
		})
	}
	_, err := a.client.AppsV1().ReplicaSets(rs.Namespace).UpdateStatus(ctx, rs, metav1.UpdateOptions{})
	return err
}

func (a api) Siblings(s replicas.Set) (uids []types.UID) {
	owner := metav1.GetControllerOfNoCopy(s.Object)
	if owner == nil {
		return []types.UID{s.Object.GetUID()}
	}
	sets, err := a.lister.ReplicaSets(s.Object.GetNamespace()).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, rs := range sets {
		if ref := metav1.GetControllerOfNoCopy(rs); ref != nil && ref.UID == owner.UID {
			uids = append(uids, rs.UID)
		}
	}
	return uids
}

func (a api) Matching(pod *v1.Pod) (keys []string) {
	sets, err := a.lister.ReplicaSets(pod.Namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, rs := range sets {
		selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(pod.Labels)) {
			keys = append(keys, rs.Namespace+"/"+rs.Name)
		}
	}
	return keys
}
