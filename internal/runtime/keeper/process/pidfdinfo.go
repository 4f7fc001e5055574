package process

import "golang.org/x/sys/unix"

// pidfdExit asks for the wait status of a process that was reaped, by anybody
// (PIDFD_INFO_EXIT, from Linux 6.15).
func pidfdExit(fd int) (unix.WaitStatus, bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(fd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return unix.WaitStatus(uint32(info.Exit_code)), true
}
