package evict

import (
	v1 "k8s.io/api/core/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// SignalsOf reads the signals out of a summary of the node; what it doesn't say is no signal.
func SignalsOf(node *statsapi.NodeStats) map[Signal]Observation {
	out := map[Signal]Observation{}
	if m := node.Memory; m != nil && m.AvailableBytes != nil && m.WorkingSetBytes != nil {
		out[MemoryAvailable] = Observation{Capacity: int64(*m.AvailableBytes + *m.WorkingSetBytes), Available: int64(*m.AvailableBytes)}
	}
	addFS(out, node.Fs, NodeFSAvailable, NodeFSInodesFree)
	if r := node.Runtime; r != nil {
		addFS(out, r.ImageFs, ImageFSAvailable, ImageFSInodesFree)
	}
	if r := node.Rlimit; r != nil && r.MaxPID != nil && r.NumOfRunningProcesses != nil {
		out[PIDAvailable] = Observation{Capacity: *r.MaxPID, Available: *r.MaxPID - *r.NumOfRunningProcesses}
	}
	return out
}

func addFS(out map[Signal]Observation, f *statsapi.FsStats, bytes, pieces Signal) {
	if f == nil {
		return
	}
	if f.AvailableBytes != nil && f.CapacityBytes != nil {
		out[bytes] = Observation{Capacity: int64(*f.CapacityBytes), Available: int64(*f.AvailableBytes)}
	}
	// Some file systems (btrfs) have no inodes to run out of.
	if f.InodesFree != nil && f.Inodes != nil && *f.Inodes > 0 {
		out[pieces] = Observation{Capacity: int64(*f.Inodes), Available: int64(*f.InodesFree)}
	}
}

// PodsOf joins pods and what the summary says that they use.
func PodsOf(pods []*v1.Pod, summary *statsapi.Summary) []Pod {
	stats := map[string]*statsapi.PodStats{}
	for i := range summary.Pods {
		stats[summary.Pods[i].PodRef.UID] = &summary.Pods[i]
	}
	var out []Pod
	for _, pod := range pods {
		if s := stats[string(pod.UID)]; s != nil {
			out = append(out, Pod{Pod: pod, Usage: usageOf(s)})
		}
	}
	return out
}

func usageOf(s *statsapi.PodStats) Usage {
	u := Usage{Containers: map[string]ContainerUsage{}, Volumes: map[string]int64{}}
	u.Memory = workingSet(s.Memory)
	u.Disk, u.Inodes = used(s.EphemeralStorage), inodes(s.EphemeralStorage)
	if s.ProcessStats != nil && s.ProcessStats.ProcessCount != nil {
		u.Processes = int64(*s.ProcessStats.ProcessCount)
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		u.Containers[c.Name] = ContainerUsage{Memory: workingSet(c.Memory), Disk: used(c.Rootfs) + used(c.Logs)}
	}
	for i := range s.VolumeStats {
		u.Volumes[s.VolumeStats[i].Name] = used(&s.VolumeStats[i].FsStats)
	}
	return u
}

func workingSet(m *statsapi.MemoryStats) int64 {
	if m == nil || m.WorkingSetBytes == nil {
		return 0
	}
	return int64(*m.WorkingSetBytes)
}

func used(f *statsapi.FsStats) int64 {
	if f == nil || f.UsedBytes == nil {
		return 0
	}
	return int64(*f.UsedBytes)
}

func inodes(f *statsapi.FsStats) int64 {
	if f == nil || f.InodesUsed == nil {
		return 0
	}
	return int64(*f.InodesUsed)
}
