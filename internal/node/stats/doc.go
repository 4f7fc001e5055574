// Package stats tells what the node and its pods use: as the summary of the node's HTTP API, and as metrics in Prometheus' text
// format, both by the names that stock monitoring knows.
//
// In: the runtime's ListPodSandboxStats, /proc, statfs, the pods' folders. Out: statsapi.Summary.
//
//	host.go      /proc and statfs → Host
//	disk.go      how much lies below a folder
//	summary.go   PURE: Host, the runtime's stats, pods → Summary
//	provider.go  the shell: reads it all, and remembers the last sample for rates
//	metrics.go   PURE: Summary → /metrics/resource and /metrics/cadvisor
package stats
