// Package logrotate keeps container logs from filling the disk: a log above its size is moved away, the runtime is told to open
// it anew, and old ones are compressed and in the end removed.
//
// In: running containers and their log paths, from the runtime. Out: files
//
//	0.log                        the runtime writes this
//	0.log.20261122-225243        the last one moved away, plain: the runtime may write its last lines to it
//	0.log.20261122-224500.gz     older ones
//
// plan.go is PURE: the names beside a log → what to remove and compress. rotate.go is the shell. Readers of logs (httpapi/podlog)
// know these names.
package logrotate
