package spec

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// setDevices makes the devices asked for and says which may be used. The usual
// ones (null, zero, random, tty, pts …) are the runtime's own.
func setDevices(in *Input, s *specs.Spec) error {
	if s.Linux.Resources == nil {
		s.Linux.Resources = &specs.LinuxResources{}
	}
	if len(in.Config.CDIDevices) > 0 {
		return invalid("CDI device %q: this runtime does not support CDI", in.Config.CDIDevices[0].GetName())
	}
	if in.privileged() {
		s.Linux.Devices = append(s.Linux.Devices, in.Host.Devices...)
		s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	} else {
		s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
	}
	for i, d := range in.Config.Devices {
		if i >= len(in.Devices) {
			return fmt.Errorf("device %s was not looked up", d.HostPath)
		}
		for _, host := range in.Devices[i] {
			host.Path = strings.Replace(host.Path, d.HostPath, d.ContainerPath, 1)
			s.Linux.Devices = replaceDevice(s.Linux.Devices, host)
			if !in.privileged() {
				major, minor := host.Major, host.Minor
				s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
					Allow: true, Type: host.Type, Major: &major, Minor: &minor, Access: d.Permissions,
				})
			}
		}
	}
	return nil
}

func replaceDevice(devices []specs.LinuxDevice, d specs.LinuxDevice) []specs.LinuxDevice {
	for i := range devices {
		if devices[i].Path == d.Path {
			devices[i] = d
			return devices
		}
	}
	return append(devices, d)
}
