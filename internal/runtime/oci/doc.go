// Package oci starts containers with libcontainer. It is the only package that
// imports it, because its Go API changes in minor releases, and it is linked
// into proa-keeper alone: libcontainer starts every container through
// /proc/self/exe, so the program that calls it must be small.
//
// It owns the folder of libcontainer's state (one file a container, written at
// the start) and keeps nothing in memory: a container's configuration with its
// seccomp profile weighs 100 KB, so it is loaded again for the rare calls that
// need it. Processes are started, never waited for; that is the keeper's.
package oci
