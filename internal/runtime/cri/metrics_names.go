package cri

import (
	"strconv"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/cgroup"
)

const (
	counter = runtimeapi.MetricType_COUNTER
	gauge   = runtimeapi.MetricType_GAUGE
)

// one is a metric without labels of its own.
func one(kind runtimeapi.MetricType, name, help string, of func(*reading) uint64) metric {
	return metric{name: name, help: help, kind: kind, read: func(r *reading) []sample { return []sample{{value: of(r)}} }}
}

// seconds of a duration in nanoseconds; the CRI has whole numbers only.
func seconds(nanos uint64) uint64 { return nanos / uint64(time.Second) }

// containerMetrics are the figures of a container, in the order of their names.
func containerMetrics() []metric {
	return []metric{
		perDevice("container_blkio_device_usage_total", "Bytes read from and written to a device.", []string{"device", "major", "minor", "operation"}, func(d cgroup.DeviceIO) []sample {
			at := func(op string, n uint64) sample {
				return sample{n, []string{deviceName(d), strconv.FormatUint(d.Major, 10), strconv.FormatUint(d.Minor, 10), op}}
			}
			return []sample{at("Read", d.ReadBytes), at("Write", d.WrittenBytes)}
		}),
		one(counter, "container_cpu_cfs_periods_total", "Periods with a CPU limit that have passed.", func(r *reading) uint64 { return r.stats.CPU.Periods }),
		one(counter, "container_cpu_cfs_throttled_periods_total", "Periods in which the CPU limit was used up.", func(r *reading) uint64 { return r.stats.CPU.ThrottledPeriods }),
		one(counter, "container_cpu_cfs_throttled_seconds_total", "Time that processes waited for the next period.", func(r *reading) uint64 { return seconds(r.stats.CPU.Throttled) }),
		one(counter, "container_cpu_system_seconds_total", "CPU time used by the kernel on the container's behalf.", func(r *reading) uint64 { return seconds(r.stats.CPU.System) }),
		{name: "container_cpu_usage_seconds_total", help: "CPU time used, in seconds.", kind: counter, labels: []string{"cpu"},
			read: func(r *reading) []sample { return []sample{{seconds(r.stats.CPU.Usage), []string{"total"}}} }},
		one(counter, "container_cpu_user_seconds_total", "CPU time used by the container's programs.", func(r *reading) uint64 { return seconds(r.stats.CPU.User) }),
		one(gauge, "container_file_descriptors", "Open files of all processes.", func(r *reading) uint64 { return uint64(r.details.Files) }),
		one(gauge, "container_fs_inodes_free", "Free inodes of the file system with the writable layer.", func(r *reading) uint64 { return r.volume.Ffree }),
		one(gauge, "container_fs_inodes_total", "Inodes of the file system with the writable layer.", func(r *reading) uint64 { return r.volume.Files }),
		one(gauge, "container_fs_limit_bytes", "Size of the file system with the writable layer.", func(r *reading) uint64 { return r.volume.Blocks * uint64(r.volume.Bsize) }),
		perDevice("container_fs_reads_bytes_total", "Bytes read.", []string{"device"}, func(d cgroup.DeviceIO) []sample { return []sample{{d.ReadBytes, []string{deviceName(d)}}} }),
		perDevice("container_fs_reads_total", "Reads completed.", []string{"device"}, func(d cgroup.DeviceIO) []sample { return []sample{{d.Reads, []string{deviceName(d)}}} }),
		one(gauge, "container_fs_usage_bytes", "Bytes in the writable layer.", func(r *reading) uint64 { return uint64(r.disk.Bytes) }),
		perDevice("container_fs_writes_bytes_total", "Bytes written.", []string{"device"}, func(d cgroup.DeviceIO) []sample { return []sample{{d.WrittenBytes, []string{deviceName(d)}}} }),
		perDevice("container_fs_writes_total", "Writes completed.", []string{"device"}, func(d cgroup.DeviceIO) []sample { return []sample{{d.Writes, []string{deviceName(d)}}} }),
		perPageSize("container_hugetlb_max_usage_bytes", "The most huge pages that were in use.", func(h cgroup.HugeUsage) uint64 { return h.Max }),
		perPageSize("container_hugetlb_usage_bytes", "Huge pages in use.", func(h cgroup.HugeUsage) uint64 { return h.Usage }),
		one(gauge, "container_last_seen", "When these figures were read.", func(r *reading) uint64 { return uint64(r.stats.At.Unix()) }),
		one(gauge, "container_memory_cache", "Page cache.", func(r *reading) uint64 { return r.stats.Memory.Cache }),
		one(counter, "container_memory_failcnt", "How often the memory limit was hit.", func(r *reading) uint64 { return r.details.LimitFailures }),
		{name: "container_memory_failures_total", help: "Page faults.", kind: counter, labels: []string{"failure_type", "scope"},
			read: func(r *reading) []sample {
				m := r.stats.Memory
				return []sample{{m.PageFaults, []string{"pgfault", "hierarchy"}}, {m.MajorPageFaults, []string{"pgmajfault", "hierarchy"}}}
			}},
		one(gauge, "container_memory_kernel_usage", "Memory that the kernel holds on the container's behalf.", func(r *reading) uint64 { return r.details.Kernel }),
		one(gauge, "container_memory_mapped_file", "Files mapped into memory.", func(r *reading) uint64 { return r.details.Mapped }),
		one(gauge, "container_memory_max_usage_bytes", "The most memory that was in use.", func(r *reading) uint64 { return r.details.MaxUsage }),
		one(gauge, "container_memory_rss", "Anonymous memory.", func(r *reading) uint64 { return r.stats.Memory.RSS }),
		one(gauge, "container_memory_swap", "Swap in use.", func(r *reading) uint64 { return r.stats.Memory.Swap }),
		one(gauge, "container_memory_usage_bytes", "Memory in use, caches included.", func(r *reading) uint64 { return r.stats.Memory.Usage }),
		one(gauge, "container_memory_working_set_bytes", "Memory in use that can't be dropped at once.", func(r *reading) uint64 { return r.stats.Memory.WorkingSet }),
		one(counter, "container_oom_events_total", "Processes killed for want of memory.", func(r *reading) uint64 { return r.stats.Memory.OOMKills }),
		pressureMetric("container_pressure_cpu_stalled_seconds_total", "all", "CPU", func(r *reading) *keeper.Pressure { return r.stats.CPU.Pressure }),
		pressureMetric("container_pressure_cpu_waiting_seconds_total", "some", "CPU", func(r *reading) *keeper.Pressure { return r.stats.CPU.Pressure }),
		pressureMetric("container_pressure_io_stalled_seconds_total", "all", "I/O", func(r *reading) *keeper.Pressure { return r.details.IOPressure }),
		pressureMetric("container_pressure_io_waiting_seconds_total", "some", "I/O", func(r *reading) *keeper.Pressure { return r.details.IOPressure }),
		pressureMetric("container_pressure_memory_stalled_seconds_total", "all", "memory", func(r *reading) *keeper.Pressure { return r.stats.Memory.Pressure }),
		pressureMetric("container_pressure_memory_waiting_seconds_total", "some", "memory", func(r *reading) *keeper.Pressure { return r.stats.Memory.Pressure }),
		one(gauge, "container_processes", "Processes.", func(r *reading) uint64 { return uint64(r.details.Processes) }),
		one(gauge, "container_sockets", "Open sockets of all processes.", func(r *reading) uint64 { return uint64(r.details.Sockets) }),
		one(gauge, "container_spec_cpu_period", "Period of the CPU limit, in microseconds.", func(r *reading) uint64 { return uint64(r.resources.GetCpuPeriod()) }),
		one(gauge, "container_spec_cpu_quota", "CPU time in each period, in microseconds; 0 = no limit.", func(r *reading) uint64 { return uint64(max(r.resources.GetCpuQuota(), 0)) }),
		one(gauge, "container_spec_cpu_shares", "Share of the CPU among neighbours.", func(r *reading) uint64 { return uint64(r.resources.GetCpuShares()) }),
		one(gauge, "container_spec_memory_limit_bytes", "Memory limit; 0 = none.", func(r *reading) uint64 { return uint64(max(r.resources.GetMemoryLimitInBytes(), 0)) }),
		one(gauge, "container_spec_memory_reservation_limit_bytes", "Memory reservation; the runtime sets none.", func(*reading) uint64 { return 0 }),
		one(gauge, "container_spec_memory_swap_limit_bytes", "Limit of memory and swap together; 0 = none.", func(r *reading) uint64 { return uint64(max(r.resources.GetMemorySwapLimitInBytes(), 0)) }),
		one(gauge, "container_start_time_seconds", "When the container was started.", func(r *reading) uint64 { return uint64(r.started.Unix()) }),
		one(gauge, "container_threads", "Threads of all processes.", func(r *reading) uint64 { return r.details.Threads }),
		one(gauge, "container_threads_max", "Limit of threads; 0 = none.", func(r *reading) uint64 { return r.details.ThreadLimit }),
		{name: "container_ulimits_soft", help: "Soft limit of the first process.", kind: gauge, labels: []string{"ulimit"},
			read: func(r *reading) []sample { return []sample{{r.openFiles, []string{"max_open_files"}}} }},
	}
}

func perDevice(name, help string, labels []string, of func(cgroup.DeviceIO) []sample) metric {
	return metric{name: name, help: help, kind: counter, labels: labels, read: func(r *reading) (out []sample) {
		for _, d := range r.details.Devices {
			out = append(out, of(d)...)
		}
		return out
	}}
}

func perPageSize(name, help string, of func(cgroup.HugeUsage) uint64) metric {
	return metric{name: name, help: help, kind: gauge, labels: []string{"pagesize"}, read: func(r *reading) (out []sample) {
		for _, h := range r.details.HugePages {
			out = append(out, sample{of(h), []string{h.Size}})
		}
		return out
	}}
}

// pressureMetric is how long tasks stood still; there is none without the
// kernel's accounting of it.
func pressureMetric(name, who, what string, of func(*reading) *keeper.Pressure) metric {
	return metric{name: name, help: "Time that " + who + " tasks waited for " + what + ".", kind: counter, read: func(r *reading) []sample {
		p := of(r)
		if p == nil {
			return nil
		}
		line := p.Some
		if who == "all" {
			line = p.Full
		}
		return []sample{{value: line.Total / 1e6}} // the kernel counts microseconds
	}}
}

// podMetrics are the figures that the containers of a pod share: its links'.
func podMetrics() []metric {
	perLink := func(name, help string, of func(link) uint64) metric {
		return metric{name: name, help: help, kind: counter, labels: []string{"interface"}, read: func(r *reading) (out []sample) {
			for _, l := range r.links {
				out = append(out, sample{of(l), []string{l.name}})
			}
			return out
		}}
	}
	return []metric{
		perLink("container_network_receive_bytes_total", "Bytes received.", func(l link) uint64 { return l.received.bytes }),
		perLink("container_network_receive_errors_total", "Errors in receiving.", func(l link) uint64 { return l.received.errors }),
		perLink("container_network_receive_packets_dropped_total", "Packets dropped in receiving.", func(l link) uint64 { return l.received.dropped }),
		perLink("container_network_receive_packets_total", "Packets received.", func(l link) uint64 { return l.received.packets }),
		perLink("container_network_transmit_bytes_total", "Bytes sent.", func(l link) uint64 { return l.sent.bytes }),
		perLink("container_network_transmit_errors_total", "Errors in sending.", func(l link) uint64 { return l.sent.errors }),
		perLink("container_network_transmit_packets_dropped_total", "Packets dropped in sending.", func(l link) uint64 { return l.sent.dropped }),
		perLink("container_network_transmit_packets_total", "Packets sent.", func(l link) uint64 { return l.sent.packets }),
	}
}
