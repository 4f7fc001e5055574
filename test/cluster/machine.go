package cluster

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// Machine is another machine as far as the network goes: a namespace with one
// link, to the host. Its file systems and cgroups are the host's.
type Machine struct {
	Name string     // of the namespace, as `ip netns` lists it
	Host netip.Addr // the host's end of the link
	Own  netip.Addr
}

// NewMachine makes it. The name must be the test's own.
func NewMachine(name string) (*Machine, error) {
	h := fnv.New32a()
	fmt.Fprint(h, name)
	sum := h.Sum32()
	// 198.18.0.0/15 is for tests of networks (RFC 2544); four addresses a machine.
	net := [4]byte{198, 18, byte(sum >> 8), byte(sum) &^ 3}
	m := &Machine{Name: name}
	net[3]++
	m.Host = netip.AddrFrom4(net)
	net[3]++
	m.Own = netip.AddrFrom4(net)
	link := fmt.Sprintf("m%08x", sum)
	script := fmt.Sprintf(`set -e
ip netns add %[1]s
ip link add %[2]s type veth peer name eth0 netns %[1]s
ip addr add %[3]s/30 dev %[2]s
ip link set %[2]s up
ip -n %[1]s link set lo up
ip -n %[1]s addr add %[4]s/30 dev eth0
ip -n %[1]s link set eth0 up
ip -n %[1]s route add default via %[3]s
`, m.Name, link, m.Host, m.Own)
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		_ = m.Remove()
		return nil, fmt.Errorf("make machine %s: %w: %s", name, err, out)
	}
	return m, nil
}

// Remove it. What still runs there keeps it alive, out of sight.
func (m *Machine) Remove() error {
	out, err := exec.Command("ip", "netns", "del", m.Name).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "No such file") {
		return fmt.Errorf("remove machine %s: %w: %s", m.Name, err, out)
	}
	return nil
}

// Command that runs on the machine; on the host itself where m is nil. It sees the
// host's files: `ip netns exec` would hide the cgroups.
func (m *Machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if m == nil {
		return exec.CommandContext(ctx, name, args...)
	}
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + m.Name, "--", name}, args...)...)
}

// Links of the machine, a line each, as /proc/net/dev has them.
func (m *Machine) Links(ctx context.Context) (string, error) {
	if m == nil {
		data, err := os.ReadFile("/proc/net/dev")
		return string(data), err
	}
	out, err := m.Command(ctx, "cat", "/proc/net/dev").Output()
	return string(out), err
}
