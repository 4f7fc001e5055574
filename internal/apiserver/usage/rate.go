package usage

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// Used is what a node and its pods used in the time up to At.
type Used struct {
	At     time.Time
	Window time.Duration
	Node   corev1.ResourceList // nil: unknown
	Pods   map[types.NamespacedName][]metricsv1beta1.ContainerMetrics
}

// Between two looks at a node. A container that was not there at the first
// counts from its start; one that has started anew since, from then.
func Between(first, last *statsapi.Summary, window time.Duration, at time.Time) Used {
	u := Used{At: at, Window: window, Pods: map[types.NamespacedName][]metricsv1beta1.ContainerMetrics{}}
	u.Node = used(counter(first.Node.CPU), counter(last.Node.CPU), last.Node.Memory)
	before := map[string]reading{}
	for i := range first.Pods {
		for _, c := range first.Pods[i].Containers {
			before[first.Pods[i].PodRef.UID+"/"+c.Name] = counter(c.CPU)
		}
	}
	for i := range last.Pods {
		p := &last.Pods[i]
		var containers []metricsv1beta1.ContainerMetrics
		for _, c := range p.Containers {
			from, to := before[p.PodRef.UID+"/"+c.Name], counter(c.CPU)
			if from.at.Before(c.StartTime.Time) || from.busy > to.busy {
				from = reading{at: c.StartTime.Time, known: true}
			}
			list := used(from, to, c.Memory)
			if list == nil {
				containers = nil
				break // half a pod's usage would mislead whoever scales by it
			}
			containers = append(containers, metricsv1beta1.ContainerMetrics{Name: c.Name, Usage: list})
		}
		if len(containers) > 0 {
			slices.SortFunc(containers, func(a, b metricsv1beta1.ContainerMetrics) int { return cmp.Compare(a.Name, b.Name) })
			u.Pods[types.NamespacedName{Namespace: p.PodRef.Namespace, Name: p.PodRef.Name}] = containers
		}
	}
	return u
}

// reading of a CPU counter, in nanoseconds of CPU.
type reading struct {
	at    time.Time
	busy  uint64
	known bool
}

func counter(c *statsapi.CPUStats) reading {
	if c == nil || c.UsageCoreNanoSeconds == nil {
		return reading{}
	}
	return reading{c.Time.Time, *c.UsageCoreNanoSeconds, true}
}

func used(from, to reading, m *statsapi.MemoryStats) corev1.ResourceList {
	if !from.known || !to.known || !to.at.After(from.at) || to.busy < from.busy || m == nil || m.WorkingSetBytes == nil {
		return nil
	}
	nanocores := float64(to.busy-from.busy) / to.at.Sub(from.at).Seconds()
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewScaledQuantity(int64(nanocores), resource.Nano),
		corev1.ResourceMemory: *resource.NewQuantity(int64(*m.WorkingSetBytes), resource.BinarySI),
	}
}
