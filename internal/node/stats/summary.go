package stats

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Labels that node agents put on sandboxes and containers.
const (
	labelContainerName = "io.kubernetes.container.name"
)

// Input is all that a summary is made of. Disk parts are nil where only CPU and memory were asked for.
type Input struct {
	Node string
	Host Host
	// Before is an earlier sample for rates; zero is none.
	Before Host
	// Sandboxes and Pods are matched by UID.
	Sandboxes []*runtimeapi.PodSandboxStats
	Pods      []*v1.Pod
	// Disk is the node's file system; ImageDisk that of the images, nil where it is
	// the same; Images what the image store holds.
	Disk, ImageDisk *FileSystem
	Images          *Usage
	// PodDisks are what pods use, by UID.
	PodDisks map[string]PodDisk
}

// PodDisk is what a pod uses of the disk.
type PodDisk struct {
	Volumes map[string]Usage
	// Logs are by container.
	Logs map[string]Usage
}

// Summarize makes the summary.
func Summarize(in Input) *statsapi.Summary {
	out := &statsapi.Summary{Node: nodeStats(in)}
	pods := map[string]*v1.Pod{}
	for _, pod := range in.Pods {
		pods[string(pod.UID)] = pod
	}
	for _, sandbox := range in.Sandboxes {
		out.Pods = append(out.Pods, podStats(in, sandbox, pods[sandbox.GetAttributes().GetMetadata().GetUid()]))
	}
	slices.SortFunc(out.Pods, func(a, b statsapi.PodStats) int {
		return cmp.Or(cmp.Compare(a.PodRef.Namespace, b.PodRef.Namespace), cmp.Compare(a.PodRef.Name, b.PodRef.Name))
	})
	return out
}

func nodeStats(in Input) statsapi.NodeStats {
	h, at := in.Host, metav1.NewTime(in.Host.At)
	available, busy := h.Available(), uint64(h.CPU)
	swapUsed := h.Swap - min(h.SwapFree, h.Swap)
	node := statsapi.NodeStats{
		NodeName:  in.Node,
		StartTime: metav1.NewTime(h.Boot),
		CPU:       &statsapi.CPUStats{Time: at, UsageCoreNanoSeconds: &busy, UsageNanoCores: rate(in.Before, h)},
		Memory: &statsapi.MemoryStats{Time: at, AvailableBytes: &available, UsageBytes: &h.Used, WorkingSetBytes: &h.WorkingSet, RSSBytes: &h.RSS,
			PageFaults: &h.PageFaults, MajorPageFaults: &h.MajorFaults},
		Swap:   &statsapi.SwapStats{Time: at, SwapUsageBytes: &swapUsed, SwapAvailableBytes: &h.SwapFree},
		Rlimit: &statsapi.RlimitStats{Time: at, MaxPID: &h.MaxPID, NumOfRunningProcesses: &h.Processes},
	}
	if len(h.Interfaces) > 0 {
		node.Network = &statsapi.NetworkStats{Time: at}
		for _, link := range h.Interfaces {
			node.Network.Interfaces = append(node.Network.Interfaces, statsapi.InterfaceStats{Name: link.Name,
				RxBytes: &link.RxBytes, RxErrors: &link.RxErrors, TxBytes: &link.TxBytes, TxErrors: &link.TxErrors})
		}
		node.Network.InterfaceStats = node.Network.Interfaces[0]
	}
	if in.Disk != nil {
		node.Fs = fileSystem(at, in.Disk)
		images := cmp.Or(in.ImageDisk, in.Disk)
		node.Runtime = &statsapi.RuntimeStats{ImageFs: fileSystem(at, images), ContainerFs: fileSystem(at, images)}
		if in.Images != nil {
			node.Runtime.ImageFs.UsedBytes, node.Runtime.ImageFs.InodesUsed = &in.Images.Bytes, &in.Images.Inodes
		}
	}
	return node
}

// rate is the CPUs in use between two samples, in billionths; nil when there is no earlier one.
func rate(before, now Host) *uint64 {
	elapsed := now.At.Sub(before.At)
	if before.At.IsZero() || elapsed <= 0 || now.CPU < before.CPU {
		return nil
	}
	cores := uint64(float64(now.CPU-before.CPU) / float64(elapsed) * float64(time.Second))
	return &cores
}

func fileSystem(at metav1.Time, s *FileSystem) *statsapi.FsStats {
	return &statsapi.FsStats{Time: at, AvailableBytes: &s.Available, CapacityBytes: &s.Capacity, UsedBytes: &s.Used,
		InodesFree: &s.InodesFree, Inodes: &s.Inodes, InodesUsed: &s.InodesUsed}
}

// usage shows a part of the node's file system.
func usage(at metav1.Time, s *FileSystem, used Usage) *statsapi.FsStats {
	out := fileSystem(at, s)
	out.UsedBytes, out.InodesUsed = &used.Bytes, &used.Inodes
	return out
}

func podStats(in Input, sandbox *runtimeapi.PodSandboxStats, pod *v1.Pod) statsapi.PodStats {
	meta, linux := sandbox.GetAttributes().GetMetadata(), sandbox.GetLinux()
	out := statsapi.PodStats{
		PodRef:     statsapi.PodReference{Name: meta.GetName(), Namespace: meta.GetNamespace(), UID: meta.GetUid()},
		Containers: []statsapi.ContainerStats{},
		CPU:        cpu(linux.GetCpu()),
		Memory:     memory(linux.GetMemory()),
		Network:    network(linux.GetNetwork()),
	}
	if pod != nil && pod.Status.StartTime != nil {
		out.StartTime = *pod.Status.StartTime
	}
	if processes := linux.GetProcess().GetProcessCount(); processes != nil {
		out.ProcessStats = &statsapi.ProcessStats{ProcessCount: &processes.Value}
	}
	disk := in.PodDisks[meta.GetUid()]
	at, total := metav1.NewTime(in.Host.At), Usage{}
	for _, c := range linux.GetContainers() {
		container, used := containerStats(in, c, pod, disk)
		out.Containers = append(out.Containers, container)
		total.Add(used)
	}
	slices.SortFunc(out.Containers, func(a, b statsapi.ContainerStats) int { return cmp.Compare(a.Name, b.Name) })
	if in.Disk == nil {
		return out
	}
	for _, vol := range volumes(pod) {
		used, ok := disk.Volumes[vol.Name]
		if !ok {
			continue
		}
		out.VolumeStats = append(out.VolumeStats, statsapi.VolumeStats{Name: vol.Name, FsStats: *usage(at, in.Disk, used)})
		if OnNodeDisk(vol) {
			total.Add(used)
		}
	}
	out.EphemeralStorage = usage(at, in.Disk, total)
	return out
}

func volumes(pod *v1.Pod) []v1.Volume {
	if pod == nil {
		return nil
	}
	return pod.Spec.Volumes
}

// OnNodeDisk tells volumes that count as the pod's local ephemeral storage: what is in memory is counted as memory.
func OnNodeDisk(vol v1.Volume) bool {
	return (vol.EmptyDir != nil && vol.EmptyDir.Medium == v1.StorageMediumDefault) || vol.ConfigMap != nil
}

func containerStats(in Input, c *runtimeapi.ContainerStats, pod *v1.Pod, disk PodDisk) (statsapi.ContainerStats, Usage) {
	name := c.GetAttributes().GetMetadata().GetName()
	if name == "" {
		name = c.GetAttributes().GetLabels()[labelContainerName]
	}
	out := statsapi.ContainerStats{Name: name, CPU: cpu(c.GetCpu()), Memory: memory(c.GetMemory()), StartTime: startedAt(pod, name)}
	if swap := c.GetSwap(); swap != nil {
		out.Swap = &statsapi.SwapStats{Time: unixNano(swap.GetTimestamp()), SwapUsageBytes: value(swap.GetSwapUsageBytes()), SwapAvailableBytes: value(swap.GetSwapAvailableBytes())}
	}
	used := Usage{}
	if in.Disk != nil {
		at := metav1.NewTime(in.Host.At)
		layer := Usage{Bytes: c.GetWritableLayer().GetUsedBytes().GetValue(), Inodes: c.GetWritableLayer().GetInodesUsed().GetValue()}
		logs := disk.Logs[name]
		out.Rootfs, out.Logs = usage(at, in.Disk, layer), usage(at, in.Disk, logs)
		used.Add(layer)
		used.Add(logs)
	}
	return out, used
}

func startedAt(pod *v1.Pod, name string) metav1.Time {
	if pod == nil {
		return metav1.Time{}
	}
	for _, status := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if status.Name == name && status.State.Running != nil {
			return status.State.Running.StartedAt
		}
	}
	return metav1.Time{}
}

func cpu(u *runtimeapi.CpuUsage) *statsapi.CPUStats {
	if u == nil {
		return nil
	}
	return &statsapi.CPUStats{Time: unixNano(u.GetTimestamp()), UsageCoreNanoSeconds: value(u.GetUsageCoreNanoSeconds()), UsageNanoCores: value(u.GetUsageNanoCores())}
}

func memory(u *runtimeapi.MemoryUsage) *statsapi.MemoryStats {
	if u == nil {
		return nil
	}
	return &statsapi.MemoryStats{Time: unixNano(u.GetTimestamp()), AvailableBytes: value(u.GetAvailableBytes()), UsageBytes: value(u.GetUsageBytes()),
		WorkingSetBytes: value(u.GetWorkingSetBytes()), RSSBytes: value(u.GetRssBytes()), PageFaults: value(u.GetPageFaults()), MajorPageFaults: value(u.GetMajorPageFaults())}
}

func network(u *runtimeapi.NetworkUsage) *statsapi.NetworkStats {
	if u == nil {
		return nil
	}
	out := &statsapi.NetworkStats{Time: unixNano(u.GetTimestamp())}
	for _, link := range u.GetInterfaces() {
		out.Interfaces = append(out.Interfaces, interfaceStats(link))
	}
	if link := u.GetDefaultInterface(); link != nil {
		out.InterfaceStats = interfaceStats(link)
		if len(out.Interfaces) == 0 {
			out.Interfaces = append(out.Interfaces, out.InterfaceStats)
		}
	}
	return out
}

func interfaceStats(u *runtimeapi.NetworkInterfaceUsage) statsapi.InterfaceStats {
	return statsapi.InterfaceStats{Name: u.GetName(), RxBytes: value(u.GetRxBytes()), RxErrors: value(u.GetRxErrors()), TxBytes: value(u.GetTxBytes()), TxErrors: value(u.GetTxErrors())}
}

func value(v *runtimeapi.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	n := v.GetValue()
	return &n
}

func unixNano(n int64) metav1.Time { return metav1.NewTime(time.Unix(0, n)) }
