//go:build seccomp

package oci

/*
#cgo LDFLAGS: -Wl,--wrap=seccomp_init -Wl,--wrap=seccomp_arch_add -Wl,--wrap=seccomp_arch_remove -Wl,--wrap=seccomp_attr_set
#cgo LDFLAGS: -Wl,--wrap=seccomp_rule_add_array -Wl,--wrap=seccomp_rule_add_exact_array -Wl,--wrap=seccomp_export_bpf
#cgo LDFLAGS: -Wl,--wrap=seccomp_export_pfc -Wl,--wrap=seccomp_load -Wl,--wrap=seccomp_merge -Wl,--wrap=seccomp_reset
#include "seccomp_cache.h"
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/seccomp"
	"golang.org/x/sys/unix"
)

// passedFD is the first descriptor that libcontainer passes to a container's
// process beside the standard ones: ours, if there is a program for its profile.
const passedFD = 3

// useCompiled takes the program that the keeper has passed, before libcontainer
// asks libseccomp for one. A descriptor that is anything else is left alone.
func useCompiled() {
	seals, err := unix.FcntlInt(passedFD, unix.F_GET_SEALS, 0)
	if err != nil || seals&programSeals != programSeals {
		return
	}
	var st unix.Stat_t
	if err := unix.Fstat(passedFD, &st); err != nil || st.Size == 0 {
		return
	}
	unix.CloseOnExec(passedFD) // it is not for the container
	record, err := unix.Mmap(passedFD, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return
	}
	C.seccomp_cache_use(unsafe.Pointer(&record[0]), C.size_t(len(record)))
}

// compileAndEnd is what a process does that was started by compile: it reads a
// profile, and writes the record of its program. With the filter that libcontainer
// then loads into it it can do no more than end, if that.
func compileAndEnd() {
	if err := compileOwn(); err != nil {
		fmt.Fprintln(os.Stderr, "compile a seccomp profile:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func compileOwn() error {
	var profile configs.Seccomp
	if err := json.NewDecoder(os.Stdin).Decode(&profile); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	C.seccomp_cache_record(1)
	_, err := seccomp.InitSeccomp(&profile)
	return err
}
