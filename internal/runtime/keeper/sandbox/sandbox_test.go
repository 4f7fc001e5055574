package sandbox

import (
	"errors"
	"os"
	"testing"
)

// A sandbox that ends gives up its holder while its containers' ends want to drop
// what is theirs: that is no fault, and told by the error.
func TestAClosedHolderSaysSo(t *testing.T) {
	h, err := newHolder()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	_, filesErr := h.Files()
	for name, err := range map[string]error{"Put": h.Put("a", 0), "Drop": h.Drop("a"), "Files": filesErr} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v, want %v", name, err, os.ErrClosed)
		}
	}
}

func TestSysctlPath(t *testing.T) {
	own := Kind{Net: true, IPC: true, UTS: true}
	for _, c := range []struct {
		kind Kind
		name string
		want string // "" = refused
	}{
		{own, "net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"},
		{own, "net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward"},
		{own, "net.ipv4.conf.eth0/1.forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"},
		{own, "kernel.shmmax", "/proc/sys/kernel/shmmax"},
		{own, "kernel.shm_rmid_forced", "/proc/sys/kernel/shm_rmid_forced"},
		{own, "kernel.sem", "/proc/sys/kernel/sem"},
		{own, "fs.mqueue.msg_max", "/proc/sys/fs/mqueue/msg_max"},
		{own, "kernel.domainname", "/proc/sys/kernel/domainname"},
		{Kind{IPC: true}, "net.ipv4.ip_forward", ""},
		{Kind{Net: true}, "kernel.shmmax", ""},
		{own, "kernel.panic", ""},
		{own, "vm.swappiness", ""},
		{own, "net/../kernel/panic", ""},
		{own, "net.ipv4./etc/passwd", "/proc/sys/net/ipv4/.etc.passwd"}, // stays below, and is not there
		{own, "../../etc/passwd", ""},
		{own, "", ""},
	} {
		got, err := sysctlPath(c.kind, c.name)
		if (err == nil) != (c.want != "") || got != c.want {
			t.Errorf("%+v %q: %q, %v", c.kind, c.name, got, err)
		}
	}
}
