package sysctl

import (
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestRefuse(t *testing.T) {
	allowed, errs := New([]string{"kernel.msg*", "net/core/somaxconn"})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for name, tc := range map[string]struct {
		sysctl string
		spec   v1.PodSpec
		want   string
	}{
		"safe":                    {sysctl: "net.ipv4.tcp_syncookies"},
		"safe, with slashes":      {sysctl: "net/ipv4/tcp_syncookies"},
		"allowed by its name":     {sysctl: "net.core.somaxconn"},
		"allowed by a pattern":    {sysctl: "kernel.msgmax"},
		"not allowed":             {sysctl: "kernel.shmmax", want: `forbidden sysctl: "kernel.shmmax" not allowlisted`},
		"safe but the host's own": {sysctl: "net.ipv4.tcp_syncookies", spec: v1.PodSpec{HostNetwork: true}, want: `forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled`},
		"the host's IPC":          {sysctl: "kernel.shm_rmid_forced", spec: v1.PodSpec{HostIPC: true}, want: `forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled`},
	} {
		tc.spec.SecurityContext = &v1.PodSecurityContext{Sysctls: []v1.Sysctl{{Name: tc.sysctl, Value: "1"}}}
		if got := allowed.Refuse(&v1.Pod{Spec: tc.spec}); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if got := allowed.Refuse(&v1.Pod{}); got != "" {
		t.Errorf("a pod that wants nothing: %q", got)
	}
}

func TestOnlyWhatIsKeptApartCanBeAllowed(t *testing.T) {
	if _, errs := New([]string{"vm.swappiness", "net.*"}); len(errs) != 1 || errs[0].Field != "allowedUnsafeSysctls[0]" {
		t.Errorf("got %v", errs)
	}
}
