package autoscale

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// The first metrics of a pod say how it starts, not how it works. The times are
// the field's.
const (
	cpuInitialization = 5 * time.Minute
	firstReadiness    = 30 * time.Second
)

// sample of a metric of one pod, in thousandths.
type sample struct {
	value  int64
	at     time.Time
	window time.Duration
}

// grouped are pods by what their metrics say: those of ready pods count as they
// are; of unready and missing ones something is assumed.
type grouped struct {
	ready            int
	unready, missing []string
	samples          map[string]sample // of ready pods
}

func group(pods []*v1.Pod, all map[string]sample, resource v1.ResourceName, now time.Time) grouped {
	g := grouped{samples: map[string]sample{}}
	for name, s := range all {
		g.samples[name] = s
	}
	for _, p := range pods {
		s, measured := all[p.Name]
		switch {
		case p.DeletionTimestamp != nil, p.Status.Phase == v1.PodFailed:
			delete(g.samples, p.Name)
		case p.Status.Phase == v1.PodPending, measured && resource == v1.ResourceCPU && starting(p, s, now):
			delete(g.samples, p.Name)
			g.unready = append(g.unready, p.Name)
		case !measured:
			g.missing = append(g.missing, p.Name)
		default:
			g.ready++
		}
	}
	return g
}

// starting: what the pod uses of CPU is not yet what it will.
func starting(p *v1.Pod, s sample, now time.Time) bool {
	ready := readiness(p)
	if ready == nil || p.Status.StartTime == nil {
		return true
	}
	began, turned := p.Status.StartTime.Time, ready.LastTransitionTime.Time
	if began.Add(cpuInitialization).After(now) {
		return ready.Status == v1.ConditionFalse || s.at.Before(turned.Add(s.window))
	}
	return ready.Status == v1.ConditionFalse && began.Add(firstReadiness).After(turned) // it never was ready
}

func readiness(p *v1.Pod) *v1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == v1.PodReady {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func readyPods(pods []*v1.Pod) (n int) {
	for _, p := range pods {
		if c := readiness(p); p.Status.Phase == v1.PodRunning && c != nil && c.Status == v1.ConditionTrue {
			n++
		}
	}
	return n
}

// requestsOf pods for a resource, in thousandths: of one container, of the pods as
// they ask as a whole, or of all their containers.
func requestsOf(pods []*v1.Pod, container string, name v1.ResourceName) (map[string]int64, error) {
	out := map[string]int64{}
	for _, p := range pods {
		n, err := requestOf(p, container, name)
		if err != nil {
			return nil, err
		}
		out[p.Name] = n
	}
	return out, nil
}

func requestOf(p *v1.Pod, container string, name v1.ResourceName) (sum int64, err error) {
	if container == "" && resourcehelper.IsPodLevelRequestsSet(p) {
		q, ok := resourcehelper.PodRequests(p, resourcehelper.PodResourcesOptions{})[name]
		if !ok {
			return 0, fmt.Errorf("missing pod-level request for %s in Pod %s", name, p.Name)
		}
		return q.MilliValue(), nil
	}
	found := container == ""
	for _, c := range lasting(p) {
		if container != "" && c.Name != container {
			continue
		}
		q, ok := c.Resources.Requests[name]
		if !ok {
			return 0, fmt.Errorf("missing request for %s in container %s of Pod %s", name, c.Name, p.Name)
		}
		sum, found = sum+q.MilliValue(), true
	}
	if !found {
		return 0, fmt.Errorf("container %s not found in Pod %s", container, p.Name)
	}
	return sum, nil
}

// lasting containers run as long as the pod does.
func lasting(p *v1.Pod) []v1.Container {
	list := append([]v1.Container{}, p.Spec.Containers...)
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			list = append(list, c)
		}
	}
	return list
}
