package node

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// simAPI is as much of an API server as a node's pods need, and fast: versions,
// watches that start where a list ended, graceful deletion, finalizers, status
// patches. It holds the agent to what no agent may do.
type simAPI struct {
	mu      sync.Mutex
	version int
	pods    map[string]*v1.Pod // by name; they are never changed, only replaced
	log     []watch.Event      // every change, in the order of their versions
	watches []*watch.RaceFreeFakeWatcher
	patches []string
	wrong   []string // what the agent did that none may
}

func newSimAPI() *simAPI { return &simAPI{pods: map[string]*v1.Pod{}} }

// client of one agent: point is called before and after every write, and may end
// the agent.
func (a *simAPI) client(point func(name string) error) *fake.Clientset {
	c := &fake.Clientset{}
	c.AddReactor("*", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		write := action.GetVerb() == "patch" || action.GetVerb() == "delete"
		if write {
			if err := point("API " + action.GetVerb() + " before"); err != nil {
				return true, nil, err
			}
		}
		obj, err := a.serve(action)
		if write {
			name := "API " + action.GetVerb() + " after"
			if err := point(name); err != nil {
				return true, nil, err
			}
		}
		return true, obj, err
	})
	c.AddWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		return true, a.watch(action.(clienttesting.WatchActionImpl)), nil
	})
	return c
}

func (a *simAPI) serve(action clienttesting.Action) (runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	resource := action.GetResource().Resource
	switch x := action.(type) {
	case clienttesting.ListAction:
		if resource == "pods" {
			return a.list(), nil
		}
		return &v1.ServiceList{}, nil
	case clienttesting.PatchActionImpl:
		return a.patch(x)
	case clienttesting.DeleteActionImpl:
		return nil, a.finish(x)
	case clienttesting.CreateActionImpl:
		return x.Object, nil // events
	case clienttesting.GetAction:
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, x.GetName())
	}
	return nil, apierrors.NewMethodNotSupported(schema.GroupResource{Resource: resource}, action.GetVerb())
}

func (a *simAPI) list() *v1.PodList {
	list := &v1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(a.version)}}
	for _, p := range a.pods {
		list.Items = append(list.Items, *p)
	}
	return list
}

func (a *simAPI) watch(action clienttesting.WatchActionImpl) watch.Interface {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := watch.NewRaceFreeFake()
	if action.GetResource().Resource != "pods" {
		return w
	}
	from, _ := strconv.Atoi(action.ListOptions.ResourceVersion)
	for _, e := range a.log[min(from, len(a.log)):] {
		w.Action(e.Type, e.Object)
	}
	a.watches = append(a.watches, w)
	return w
}

// put stores a new version of a pod and tells whoever watches.
func (a *simAPI) put(kind watch.EventType, pod *v1.Pod) *v1.Pod {
	a.version++
	pod.ResourceVersion = strconv.Itoa(a.version)
	if kind == watch.Deleted {
		delete(a.pods, pod.Name)
	} else {
		a.pods[pod.Name] = pod
	}
	a.log = append(a.log, watch.Event{Type: kind, Object: pod})
	a.watches = slices.DeleteFunc(a.watches, func(w *watch.RaceFreeFakeWatcher) bool { return w.IsStopped() })
	for _, w := range a.watches {
		w.Action(kind, pod)
	}
	return pod
}

// patch of a status, in the form that the agent's sender has.
func (a *simAPI) patch(x clienttesting.PatchActionImpl) (runtime.Object, error) {
	old := a.pods[x.Name]
	a.patches = append(a.patches, x.Name+" "+string(x.Patch))
	var patch struct {
		Metadata metav1.ObjectMeta
	}
	if err := json.Unmarshal(x.Patch, &patch); err != nil {
		return nil, err
	}
	resource := schema.GroupResource{Resource: "pods"}
	if old == nil {
		return nil, apierrors.NewNotFound(resource, x.Name)
	}
	if patch.Metadata.UID != old.UID {
		return nil, apierrors.NewConflict(resource, x.Name, nil)
	}
	pod := *old
	if err := applyStatus(&pod.Status, x.Patch); err != nil {
		return nil, err
	}
	a.check(old, &pod)
	if equality.Semantic.DeepEqual(old.Status, pod.Status) {
		a.fault("patch of %s changes nothing: %s", x.Name, x.Patch)
	}
	return a.put(watch.Modified, &pod), nil
}

// applyStatus: fields are replaced, but for the lists that are merged by a key.
func applyStatus(s *v1.PodStatus, patch []byte) error {
	var fields struct{ Status map[string]json.RawMessage }
	if err := json.Unmarshal(patch, &fields); err != nil {
		return err
	}
	next := *s.DeepCopy()
	conditions, podIPs, hostIPs := next.Conditions, next.PodIPs, next.HostIPs
	for name := range fields.Status {
		clearField(&next, name)
	}
	replaced := bytes.ReplaceAll(patch, []byte(`"$patch":"replace",`), nil)
	if err := json.Unmarshal(replaced, &struct{ Status *v1.PodStatus }{&next}); err != nil {
		return err
	}
	var err error
	merge := func(name string, into func(data json.RawMessage) error) {
		if data, ok := fields.Status[name]; ok && string(data) != "null" && err == nil {
			err = into(data)
		}
	}
	merge("conditions", func(data json.RawMessage) (err error) {
		next.Conditions, err = mergeList(conditions, data, func(c v1.PodCondition) string { return string(c.Type) })
		return err
	})
	merge("podIPs", func(data json.RawMessage) (err error) {
		next.PodIPs, err = mergeList(podIPs, data, func(ip v1.PodIP) string { return ip.IP })
		return err
	})
	merge("hostIPs", func(data json.RawMessage) (err error) {
		next.HostIPs, err = mergeList(hostIPs, data, func(ip v1.HostIP) string { return ip.IP })
		return err
	})
	if err != nil {
		return err
	}
	*s = next
	return nil
}

// mergeList as a strategic merge patch does it.
func mergeList[T any](list []T, patch json.RawMessage, key func(T) string) ([]T, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(patch, &raw); err != nil {
		return nil, err
	}
	for _, data := range raw {
		var element T
		var directive struct {
			Patch string `json:"$patch"`
		}
		if err := json.Unmarshal(data, &element); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &directive); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(old T) bool { return key(old) == key(element) })
		if i >= 0 {
			var err error
			if element, err = merged(list[i], data); err != nil {
				return nil, err
			}
		}
		switch {
		case directive.Patch == "delete" && i >= 0:
			list = slices.Delete(list, i, i+1)
		case i >= 0:
			list[i] = element
		default:
			list = append(list, element)
		}
	}
	return list, nil
}

// merged is an element with what a patch says of it: null takes a field away, and
// what it leaves out stays.
func merged[T any](old T, patch json.RawMessage) (T, error) {
	out := old
	if !bytes.Contains(patch, []byte("null")) {
		return out, json.Unmarshal(patch, &out)
	}
	out = *new(T)
	fields := map[string]json.RawMessage{}
	whole, err := json.Marshal(old)
	if err == nil {
		err = json.Unmarshal(whole, &fields)
	}
	if err == nil {
		err = json.Unmarshal(patch, &fields)
	}
	if err == nil {
		whole, err = json.Marshal(fields)
	}
	if err == nil {
		err = json.Unmarshal(whole, &out)
	}
	return out, err
}

// clearField that is about to be replaced, as decoding adds to lists and maps.
func clearField(s *v1.PodStatus, name string) {
	switch name {
	case "conditions":
		s.Conditions = nil
	case "containerStatuses":
		s.ContainerStatuses = nil
	case "initContainerStatuses":
		s.InitContainerStatuses = nil
	case "ephemeralContainerStatuses":
		s.EphemeralContainerStatuses = nil
	case "podIPs":
		s.PodIPs = nil
	case "hostIPs":
		s.HostIPs = nil
	case "allocatedResources":
		s.AllocatedResources = nil
	case "resources":
		s.Resources = nil
	}
}

// check what holds of every change of a pod's status.
func (a *simAPI) check(old, pod *v1.Pod) {
	was, now := old.Status, pod.Status
	if (was.Phase == v1.PodSucceeded || was.Phase == v1.PodFailed) && now.Phase != was.Phase {
		a.fault("%s: phase %s became %s", pod.Name, was.Phase, now.Phase)
	}
	for _, c := range now.ContainerStatuses {
		for _, o := range was.ContainerStatuses {
			if o.Name == c.Name && c.RestartCount < o.RestartCount {
				a.fault("%s: restarts of %s went from %d to %d", pod.Name, c.Name, o.RestartCount, c.RestartCount)
			}
		}
		if c.Ready && c.State.Running == nil {
			a.fault("%s: %s is ready and does not run", pod.Name, c.Name)
		}
	}
	if pod.DeletionTimestamp == nil && was.ObservedGeneration > now.ObservedGeneration {
		a.fault("%s: observed generation went from %d to %d", pod.Name, was.ObservedGeneration, now.ObservedGeneration)
	}
}

// finish is the agent's own deletion, the end of a graceful one.
func (a *simAPI) finish(x clienttesting.DeleteActionImpl) error {
	pod := a.pods[x.Name]
	resource := schema.GroupResource{Resource: "pods"}
	if pod == nil {
		return apierrors.NewNotFound(resource, x.Name)
	}
	if u := x.DeleteOptions.Preconditions.UID; *u != pod.UID {
		return apierrors.NewConflict(resource, x.Name, nil)
	}
	if pod.DeletionTimestamp == nil {
		a.fault("%s was deleted by the agent, unasked", x.Name)
	}
	if pod.Status.Phase != v1.PodSucceeded && pod.Status.Phase != v1.PodFailed {
		a.fault("%s was deleted as %s", x.Name, pod.Status.Phase)
	}
	if len(pod.Finalizers) > 0 {
		held := *pod
		held.DeletionGracePeriodSeconds = new(int64(0))
		a.put(watch.Modified, &held)
		return nil
	}
	gone := *pod
	a.put(watch.Deleted, &gone)
	return nil
}
