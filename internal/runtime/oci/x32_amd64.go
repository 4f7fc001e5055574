package oci

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// x32Bit marks the system calls of the x32 ABI (arch/x86/include/uapi/asm/unistd.h).
const x32Bit = 0x40000000

// hasX32 tells whether this kernel runs x32 programs; few do. When in doubt it does:
// a seccomp filter that we run under ourselves may kill whoever asks.
func hasX32() bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || !bytes.Contains(status, []byte("\nSeccomp:\t0\n")) {
		return true
	}
	_, _, errno := unix.RawSyscall(x32Bit|unix.SYS_GETPID, 0, 0, 0)
	return errno != unix.ENOSYS
}
