package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// probe is a container that looks at itself and ends.
type probe struct{ name, image, script, more string }

// probes is a pod of them.
func probes(name, more string, all ...probe) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: NAMESPACE}\nspec:\n  restartPolicy: Never\n%s\n  containers:\n", name, more)
	for _, p := range all {
		if p.image == "" {
			p.image = "busybox:1.28"
		}
		fmt.Fprintf(&b, "  - {name: %s, image: %q, command: [sh, -c, %q]%s}\n", p.name, p.image, p.script, p.more)
	}
	return b.String()
}

// says compares what a container printed, blanks at the ends aside.
func (s *session) says(pod, container, want string) {
	s.Helper()
	if got := strings.TrimSpace(s.kubectl("logs", pod, "-c", container)); got != want {
		s.Errorf("%s/%s says %q, want %q", pod, container, got, want)
	}
}

const status = "sed -n 's/^CapEff:.//p; s/^CapBnd:.//p; s/^CapAmb:.//p; s/^NoNewPrivs:.//p; s/^Seccomp:.//p' /proc/self/status | tr '\\n' ' '"

func TestP6_CapabilitiesAndPrivileges(t *testing.T) {
	t.Parallel()
	s := begin(t)
	sc := func(format string) string { return ", securityContext: {" + format + "}" }
	s.apply(probes("caps", "",
		probe{"plain", "", status, ""},
		probe{"none", "", status, sc("capabilities: {drop: [ALL]}")},
		probe{"one", "", status, sc("capabilities: {drop: [ALL], add: [NET_ADMIN]}")},
		probe{"user", "", status, sc("runAsUser: 1000, capabilities: {add: [NET_ADMIN]}")},
		probe{"privileged", "", status + "; test -e /dev/kmsg && mount -t tmpfs none /tmp && echo mounts", sc("privileged: true")},
		probe{"locked", "tools:1", status + "; suid -u", sc("runAsUser: 1000, allowPrivilegeEscalation: false")},
		probe{"open", "tools:1", "suid -u", sc("runAsUser: 1000")},
	))
	s.ended("caps")
	// Effective, bounding, ambient, no_new_privs, seccomp mode.
	s.says("caps", "plain", "00000000a80425fb 00000000a80425fb 0000000000000000 0 2")
	s.says("caps", "none", "0000000000000000 0000000000000000 0000000000000000 0 2")
	s.says("caps", "one", "0000000000001000 0000000000001000 0000000000000000 0 2")
	s.says("caps", "user", "0000000000000000 00000000a80435fb 0000000000000000 0 2")
	s.says("caps", "locked", "0000000000000000 00000000a80425fb 0000000000000000 1 2 1000")
	s.says("caps", "open", "0")
	if got := s.kubectl("logs", "caps", "-c", "privileged"); !strings.HasSuffix(strings.TrimSpace(got), " 0 mounts") || strings.HasPrefix(got, "00000000a80425fb") {
		t.Errorf("privileged: %q", got)
	}
}

func TestP6_UsersAndGroups(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(probes("ids", "  securityContext: {runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000, supplementalGroups: [4000]}",
		probe{"of-the-pod", "", "id", ""},
		probe{"its-own", "", "id -u; id -g; id -G", ", securityContext: {runAsUser: 0, runAsGroup: 0}"},
	))
	s.apply(probes("image", "", probe{"named", "tools:1", "id; pwd; echo $HOME", ""}))
	s.apply(probes("strict", "  securityContext: {supplementalGroups: [60000], supplementalGroupsPolicy: Strict}", probe{"c", "tools:1", "id -G", ""}))
	s.apply(probes("merge", "  securityContext: {supplementalGroups: [60000]}", probe{"c", "tools:1", "id -G", ""}))
	for _, pod := range []string{"ids", "image", "strict", "merge"} {
		s.ended(pod)
	}
	s.says("ids", "of-the-pod", "uid=1000 gid=3000 groups=2000,3000,4000")
	s.says("ids", "its-own", "0\n0\n0 2000 4000")
	s.says("image", "named", "uid=1000(app) gid=1000(app) groups=1000(app),50000(extra)\n/\n/home/app")
	s.says("strict", "c", "1000 60000")
	s.says("merge", "c", "1000 50000 60000")
	if u := s.pod("strict").Status.ContainerStatuses[0].User; u == nil || u.Linux == nil || u.Linux.UID != 1000 || len(u.Linux.SupplementalGroups) != 2 {
		t.Errorf("told of the user: %v", u)
	}
}

func TestP6_NonRootIsChecked(t *testing.T) {
	t.Parallel()
	s := begin(t)
	nonRoot := ", securityContext: {runAsNonRoot: true}"
	for pod, c := range map[string]struct {
		manifest, message string
	}{
		"root":  {probes("root", "", probe{"c", "busybox:1.28", "true", nonRoot}), "container has runAsNonRoot and image will run as root"},
		"named": {probes("named", "", probe{"c", "tools:1", "true", nonRoot}), "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root"},
		"zero":  {probes("zero", "  securityContext: {runAsUser: 0}", probe{"c", "tools:1", "true", nonRoot}), "container's runAsUser breaks non-root policy"},
	} {
		s.apply(c.manifest)
		s.contains(s.waiting(pod, "CreateContainerConfigError"), fmt.Sprintf("%s (pod: %q, container: c)", c.message, pod+"_"+s.namespace+"("+string(s.pod(pod).UID)+")"))
	}
	s.apply(probes("good", "  securityContext: {runAsUser: 7}", probe{"c", "tools:1", "id -u", nonRoot}))
	s.ended("good")
	s.says("good", "c", "7")
}

func TestP6_SeccompMasksAndReadOnlyRoot(t *testing.T) {
	t.Parallel()
	s := begin(t)
	profiles := filepath.Join(shared.Data, "seccomp")
	if err := os.MkdirAll(profiles, 0o700); err != nil {
		t.Fatal(err)
	}
	forbids := `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}`
	if err := os.WriteFile(filepath.Join(profiles, "no-mkdir.json"), []byte(forbids), 0o600); err != nil {
		t.Fatal(err)
	}
	unshare := "unshare -U true 2>&1; echo $?"
	profile := func(p string) string { return ", securityContext: {runAsUser: 0, seccompProfile: {" + p + "}}" }
	masks := "cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; ls /sys/firmware | wc -l; echo x 2>/dev/null > /proc/sys/kernel/domainname || echo kept"
	s.apply(probes("walls", "",
		probe{"default", "tools:1", unshare, profile("type: RuntimeDefault")},
		probe{"free", "tools:1", unshare, profile("type: Unconfined")},
		probe{"own", "", "mkdir /x 2>&1; touch /y && echo touched", profile("type: Localhost, localhostProfile: no-mkdir.json")},
		probe{"masks", "", masks, ""},
		probe{"readonly", "", "touch /x 2>&1; grep ' / ' /proc/mounts | grep -c ' ro,'; echo y > /dev/shm/y && cat /dev/shm/y", ", securityContext: {readOnlyRootFilesystem: true}"},
	))
	s.apply(probes("lost", "", probe{"c", "", "true", profile("type: Localhost, localhostProfile: none.json")}))
	s.ended("walls")
	s.contains(s.kubectl("logs", "walls", "-c", "default"), "Operation not permitted")
	s.says("walls", "free", "0")
	s.says("walls", "own", "mkdir: can't create directory '/x': Operation not permitted\ntouched")
	s.says("walls", "masks", "0\n0\nkept")
	s.says("walls", "readonly", "touch: /x: Read-only file system\n1\ny")
	s.contains(s.waiting("lost", "CreateContainerError"), `cannot load seccomp profile "`+profiles+`/none.json"`)
}

func TestP6_SysctlsAndAppArmor(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(probes("safe", "  securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: \"1\"}, {name: net.ipv4.ip_unprivileged_port_start, value: \"7\"}]}",
		probe{"c", "", "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start", ""}))
	s.apply(probes("unsafe", "  securityContext: {sysctls: [{name: kernel.msgmax, value: \"65536\"}]}", probe{"c", "", "true", ""}))
	s.ended("safe")
	s.says("safe", "c", "1\n7")
	p := s.ended("unsafe")
	if p.Status.Reason != "SysctlForbidden" || p.Status.Message != `Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted` {
		t.Errorf("unsafe: %s: %s", p.Status.Reason, p.Status.Message)
	}
	s.contains(s.kubectl("get", "pod", "unsafe"), "SysctlForbidden")
	if _, err := os.Stat("/sys/kernel/security/apparmor"); err == nil {
		return // the host has AppArmor: nothing to refuse
	}
	s.apply(probes("confined", "  securityContext: {appArmorProfile: {type: RuntimeDefault}}", probe{"c", "", "true", ""}))
	if p := s.ended("confined"); p.Status.Reason != "AppArmor" || p.Status.Message != "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host" {
		t.Errorf("confined: %s: %s", p.Status.Reason, p.Status.Message)
	}
}

func TestP6_UserNamespace(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.apply(probes("own", "  hostUsers: false\n  volumes: [{name: disk, emptyDir: {}}, {name: memory, emptyDir: {medium: Memory}}]",
		probe{"c", "", "cat /proc/self/uid_map; stat -c %u / /disk /memory /etc/hosts /etc/resolv.conf; touch /disk/f /memory/f /f && stat -c %u /disk/f /memory/f /f; mount -t tmpfs none /tmp 2>/dev/null || echo no mounts",
			", volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}]"},
		probe{"nested", "tools:1", "unshare -Urmpf sh -c 'mount -t proc none /proc && id -u'", ", securityContext: {runAsUser: 0, procMount: Unmasked, seccompProfile: {type: Unconfined}}"},
	))
	s.ended("own")
	out := strings.Fields(s.kubectl("logs", "own", "-c", "c"))
	if len(out) < 3 || out[0] != "0" || out[1] == "0" || out[2] != "65536" {
		t.Fatalf("mapping: %q", out)
	}
	if got := strings.Join(out[3:], " "); got != "0 0 0 0 0 0 0 0 no mounts" {
		t.Errorf("owners: %q", got)
	}
	s.says("own", "nested", "0")
	s.apply(probes("host", "  hostUsers: true", probe{"c", "", "cat /proc/self/uid_map", ""}))
	s.ended("host")
	if got := strings.Fields(s.kubectl("logs", "host")); len(got) != 3 || got[1] != "0" {
		t.Errorf("hostUsers: true maps %q", got)
	}
}

func TestP9_CommandsThatCannotRun(t *testing.T) {
	t.Parallel()
	s := begin(t)
	command := func(name, command string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: NAMESPACE}\nspec: {restartPolicy: Never, containers: [{name: c, image: \"busybox:1.28\", workingDir: /made/for/it, command: %s}]}\n", name, command)
	}
	for name, c := range map[string]struct {
		command string
		code    int32
		reason  string
		message string
	}{
		"absent":      {"[nosuch]", 128, "StartError", `exec: "nosuch": executable file not found in $PATH`},
		"absolute":    {"[/no/such]", 128, "StartError", `exec: "/no/such": stat /no/such: no such file or directory`},
		"no-program":  {"[/etc/passwd]", 128, "StartError", `exec: "/etc/passwd": permission denied`},
		"folder":      {"[/etc]", 128, "StartError", `exec: "/etc": is a directory`},
		"sh-absent":   {"[sh, -c, nosuch]", 127, "Error", ""},
		"sh-denied":   {"[sh, -c, /etc/passwd]", 126, "Error", ""},
		"folder-made": {"[sh, -c, pwd]", 0, "Completed", ""},
	} {
		s.apply(command(name, c.command))
		end := s.ended(name).Status.ContainerStatuses[0].State.Terminated
		if end == nil || end.ExitCode != c.code || end.Reason != c.reason || !strings.Contains(end.Message, c.message) {
			t.Errorf("%s: %v", name, end)
		}
	}
	s.says("folder-made", "c", "/made/for/it")
	p := s.pod("absent")
	if p.Status.Phase != v1.PodFailed || p.Status.ContainerStatuses[0].State.Terminated.StartedAt.Unix() != 0 {
		t.Errorf("absent: %v", p.Status)
	}
}
