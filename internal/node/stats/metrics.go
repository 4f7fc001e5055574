package stats

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// exposition writes Prometheus' text format, the samples of a metric together whatever the order they come in.
type exposition struct {
	order    []string
	families map[string]*bytes.Buffer
}

type labels map[string]string

var labelEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// add writes one sample; a time of zero is none.
func (x *exposition) add(name, kind, help string, l labels, value float64, at metav1.Time) {
	if x.families == nil {
		x.families = map[string]*bytes.Buffer{}
	}
	family := x.families[name]
	if family == nil {
		family = &bytes.Buffer{}
		x.families[name] = family
		x.order = append(x.order, name)
		fmt.Fprintf(family, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	}
	family.WriteString(name)
	separator := byte('{')
	for _, key := range slices.Sorted(maps.Keys(l)) {
		family.WriteByte(separator)
		fmt.Fprintf(family, `%s="%s"`, key, labelEscape.Replace(l[key]))
		separator = ','
	}
	if separator == ',' {
		family.WriteByte('}')
	}
	family.WriteByte(' ')
	family.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	if !at.IsZero() {
		family.WriteByte(' ')
		family.WriteString(strconv.FormatInt(at.UnixMilli(), 10))
	}
	family.WriteByte('\n')
}

func (x *exposition) bytes() []byte {
	var out bytes.Buffer
	for _, name := range x.order {
		out.Write(x.families[name].Bytes())
	}
	return out.Bytes()
}

// seconds adds a counter of CPU time, if it is known.
func (x *exposition) seconds(name, help string, l labels, cpu *statsapi.CPUStats) {
	if cpu != nil && cpu.UsageCoreNanoSeconds != nil {
		x.add(name, "counter", help, l, float64(*cpu.UsageCoreNanoSeconds)/1e9, cpu.Time)
	}
}

// gauge adds bytes, if they are known.
func (x *exposition) gauge(name, help string, l labels, value *uint64, at metav1.Time) {
	if value != nil {
		x.add(name, "gauge", help, l, float64(*value), at)
	}
}

// agentMetrics are those names of the agent's own /metrics that tell of the node and what runs on it.
func agentMetrics(x *exposition, s *statsapi.Summary) {
	if s == nil {
		return
	}
	containers := 0
	for i := range s.Pods {
		containers += len(s.Pods[i].Containers)
	}
	x.add("kubelet_node_name", "gauge", "The node's name. The count is always 1.", labels{"node": s.Node.NodeName}, 1, metav1.Time{})
	x.add("kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox", nil, float64(len(s.Pods)), metav1.Time{})
	x.add("kubelet_running_containers", "gauge", "Number of containers currently running", labels{"container_state": "running"}, float64(containers), metav1.Time{})
}

// resourceMetrics are the names of /metrics/resource; nil is a summary that failed.
func resourceMetrics(x *exposition, s *statsapi.Summary) {
	failed := 0.0
	if s == nil {
		failed = 1
	} else {
		x.seconds("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds", nil, s.Node.CPU)
		if m := s.Node.Memory; m != nil {
			x.gauge("node_memory_working_set_bytes", "Current working set of the node in bytes", nil, m.WorkingSetBytes, m.Time)
		}
		if swap := s.Node.Swap; swap != nil {
			x.gauge("node_swap_usage_bytes", "Current swap usage of the node in bytes", nil, swap.SwapUsageBytes, swap.Time)
		}
		for i := range s.Pods {
			podResourceMetrics(x, &s.Pods[i])
		}
	}
	x.add("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise", nil, failed, metav1.Time{})
	x.add("scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise", nil, failed, metav1.Time{})
}

func podResourceMetrics(x *exposition, pod *statsapi.PodStats) {
	for i := range pod.Containers {
		c := &pod.Containers[i]
		l := labels{"container": c.Name, "pod": pod.PodRef.Name, "namespace": pod.PodRef.Namespace}
		if !c.StartTime.IsZero() {
			x.add("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds", l, float64(c.StartTime.UnixNano())/1e9, metav1.Time{})
		}
		x.seconds("container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container in core-seconds", l, c.CPU)
		if c.Memory != nil {
			x.gauge("container_memory_working_set_bytes", "Current working set of the container in bytes", l, c.Memory.WorkingSetBytes, c.Memory.Time)
		}
		if c.Swap != nil {
			x.gauge("container_swap_usage_bytes", "Current amount of the container swap usage in bytes", l, c.Swap.SwapUsageBytes, c.Swap.Time)
		}
	}
	l := labels{"pod": pod.PodRef.Name, "namespace": pod.PodRef.Namespace}
	x.seconds("pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", l, pod.CPU)
	if pod.Memory != nil {
		x.gauge("pod_memory_working_set_bytes", "Current working set of the pod in bytes", l, pod.Memory.WorkingSetBytes, pod.Memory.Time)
	}
}

// cadvisorMetrics are those names of /metrics/cadvisor that can be told without walking cgroups again.
func cadvisorMetrics(x *exposition, s *statsapi.Summary) {
	if s == nil {
		return
	}
	for i := range s.Pods {
		pod := &s.Pods[i]
		for j := range pod.Containers {
			c := &pod.Containers[j]
			cadvisorSamples(x, labels{"container": c.Name, "pod": pod.PodRef.Name, "namespace": pod.PodRef.Namespace}, c.CPU, c.Memory)
		}
		l := labels{"container": "", "pod": pod.PodRef.Name, "namespace": pod.PodRef.Namespace}
		cadvisorSamples(x, l, pod.CPU, pod.Memory)
		if pod.Network == nil {
			continue
		}
		for k := range pod.Network.Interfaces {
			link := &pod.Network.Interfaces[k]
			l := labels{"pod": pod.PodRef.Name, "namespace": pod.PodRef.Namespace, "interface": link.Name}
			for name, value := range map[string]*uint64{"receive_bytes": link.RxBytes, "receive_errors": link.RxErrors, "transmit_bytes": link.TxBytes, "transmit_errors": link.TxErrors} {
				if value != nil {
					x.add("container_network_"+name+"_total", "counter", "Cumulative count of "+strings.ReplaceAll(name, "_", " "), l, float64(*value), pod.Network.Time)
				}
			}
		}
	}
}

func cadvisorSamples(x *exposition, l labels, cpu *statsapi.CPUStats, m *statsapi.MemoryStats) {
	x.seconds("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", l, cpu)
	if m == nil {
		return
	}
	x.gauge("container_memory_working_set_bytes", "Current working set in bytes.", l, m.WorkingSetBytes, m.Time)
	x.gauge("container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", l, m.UsageBytes, m.Time)
	x.gauge("container_memory_rss", "Size of RSS in bytes.", l, m.RSSBytes, m.Time)
}
