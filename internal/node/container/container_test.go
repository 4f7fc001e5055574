package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

func testPod() *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u-1", Labels: map[string]string{"app": "web"}}}
	p.Spec.NodeName, p.Spec.ServiceAccountName = "n1", "default"
	p.Spec.Containers = []v1.Container{{Name: "c", Image: "busybox"}}
	p.Status.PodIPs = []v1.PodIP{{IP: "10.1.0.5"}}
	return p
}

func testNode() Node {
	return Node{
		Name: "n1", IPs: []string{"10.1.0.1"}, ClusterDomain: "cluster.local", ClusterDNS: []string{"10.2.0.10"},
		Resolver:    Resolver{Servers: []string{"192.0.2.53"}, Searches: []string{"example.org"}, Options: []string{"timeout:1"}},
		HostsFile:   "127.0.0.1 localhost\n",
		Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("4Gi")},
		MemoryBytes: 4 << 30,
	}
}

func testSources() Sources {
	missing := func(resource, name string) error {
		return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
	}
	service := func(ns, name, ip string) *v1.Service {
		s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
		s.Spec.ClusterIP, s.Spec.Ports = ip, []v1.ServicePort{{Name: "http", Port: 80}}
		return s
	}
	return Sources{
		ConfigMap: func(ns, name string) (*v1.ConfigMap, error) {
			if name != "settings" {
				return nil, missing("configmaps", name)
			}
			return &v1.ConfigMap{Data: map[string]string{"color": "red", "size": "9"}}, nil
		},
		Secret: func(ns, name string) (*v1.Secret, error) {
			if name != "keys" {
				return nil, missing("secrets", name)
			}
			return &v1.Secret{Data: map[string][]byte{"token": []byte("s3cret")}}, nil
		},
		Services: []*v1.Service{service("default", "kubernetes", "10.2.0.1"), service("shop", "cart-db", "10.2.0.7"), service("other", "far", "10.2.0.8"), service("shop", "headless", "None")},
	}
}

func TestEnvironment(t *testing.T) {
	pod := testPod()
	c := &pod.Spec.Containers[0]
	c.EnvFrom = []v1.EnvFromSource{
		{Prefix: "S_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}}},
		{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "absent"}, Optional: ptr(true)}},
	}
	c.Env = []v1.EnvVar{
		{Name: "HELLO", Value: "world"},
		{Name: "GREETING", Value: "hello $(HELLO), $(S_color) $$(HELLO) $(LATER) $(KUBERNETES_SERVICE_HOST)"},
		{Name: "LATER", Value: "x"},
		{Name: "IP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
		{Name: "APP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}},
		{Name: "MEMORY", ValueFrom: &v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
		{Name: "TOKEN", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "keys"}, Key: "token"}}},
		{Name: "MAYBE", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "keys"}, Key: "none", Optional: ptr(true)}}},
		{Name: "S_size", Value: "10"},
	}
	env, err := Environment(pod, c, testNode(), testSources())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"HELLO": "world", "GREETING": "hello world, red $(HELLO) $(LATER) 10.2.0.1", "LATER": "x", "IP": "10.1.0.5", "APP": "web", "MEMORY": "4096",
		"TOKEN": "s3cret", "S_color": "red", "S_size": "10",
	}
	got := map[string]string{}
	for k, v := range env.Map() {
		if !strings.HasPrefix(k, "KUBERNETES_") && !strings.HasPrefix(k, "CART_DB_") {
			got[k] = v
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for name, value := range map[string]string{
		"KUBERNETES_SERVICE_PORT_HTTP": "80", "CART_DB_SERVICE_HOST": "10.2.0.7", "CART_DB_PORT": "tcp://10.2.0.7:80", "CART_DB_PORT_80_TCP_ADDR": "10.2.0.7",
	} {
		if env.Map()[name] != value {
			t.Errorf("%s=%q, want %q", name, env.Map()[name], value)
		}
	}
	pod.Spec.EnableServiceLinks = ptr(false)
	env, err = Environment(pod, c, testNode(), testSources())
	if err != nil {
		t.Fatal(err)
	}
	if _, told := env.Map()["CART_DB_SERVICE_HOST"]; told || env.Map()["KUBERNETES_SERVICE_HOST"] == "" {
		t.Error("without service links a pod is told of the API server alone")
	}
}

func TestEnvironmentNamesWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		from v1.EnvVarSource
		want string
	}{
		"config map": {v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "absent"}, Key: "k"}}, `configmaps "absent" not found`},
		"key":        {v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "settings"}, Key: "k"}}, "couldn't find key k in ConfigMap shop/settings"},
		"secret key": {v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "keys"}, Key: "k"}}, "couldn't find key k in Secret shop/keys"},
	} {
		pod := testPod()
		pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "X", ValueFrom: &c.from}}
		_, err := Environment(pod, &pod.Spec.Containers[0], testNode(), testSources())
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestEnvironmentFromAFileStaysInItsVolume(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "vars"), []byte("A=1\nB='two words'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	sources := testSources()
	sources.Volume = func(string) (string, error) { return dir, nil }
	get := func(path, key string) (string, error) {
		pod := testPod()
		pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "X", ValueFrom: &v1.EnvVarSource{FileKeyRef: &v1.FileKeySelector{VolumeName: "v", Path: path, Key: key}}}}
		env, err := Environment(pod, &pod.Spec.Containers[0], testNode(), sources)
		if err != nil {
			return "", err
		}
		return env.Map()["X"], nil
	}
	if got, err := get("vars", "B"); err != nil || got != "two words" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := get("out", "root"); err == nil {
		t.Error("a link out of the volume was followed")
	}
}

func TestExpandLeavesTextWithoutReferencesAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-z(){} ]*`).Draw(t, "text")
		if got := Expand(s, func(string) (string, bool) { return "!", true }); got != s {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func TestResolver(t *testing.T) {
	config := func(change func(*v1.PodSpec)) Resolver {
		pod := testPod()
		pod.Spec.DNSPolicy = v1.DNSClusterFirst
		change(&pod.Spec)
		got, left := resolverOf(pod, testNode())
		if left != nil {
			t.Errorf("left out: %v", left)
		}
		return got
	}
	cluster := Resolver{Servers: []string{"10.2.0.10"}, Searches: []string{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"}, Options: []string{"ndots:5"}}
	for name, c := range map[string]struct {
		change func(*v1.PodSpec)
		want   Resolver
	}{
		"ClusterFirst":            {func(*v1.PodSpec) {}, cluster},
		"host network":            {func(s *v1.PodSpec) { s.HostNetwork = true }, testNode().Resolver},
		"ClusterFirstWithHostNet": {func(s *v1.PodSpec) { s.HostNetwork, s.DNSPolicy = true, v1.DNSClusterFirstWithHostNet }, cluster},
		"Default":                 {func(s *v1.PodSpec) { s.DNSPolicy = v1.DNSDefault }, testNode().Resolver},
		"None": {func(s *v1.PodSpec) {
			s.DNSPolicy = v1.DNSNone
			s.DNSConfig = &v1.PodDNSConfig{Nameservers: []string{"1.2.3.4"}, Searches: []string{"a.b"}, Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: ptr("2")}, {Name: "edns0"}}}
		}, Resolver{Servers: []string{"1.2.3.4"}, Searches: []string{"a.b"}, Options: []string{"ndots:2", "edns0"}}},
		"an option replaced": {func(s *v1.PodSpec) {
			s.DNSConfig = &v1.PodDNSConfig{Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: ptr("1")}}}
		}, Resolver{Servers: cluster.Servers, Searches: cluster.Searches, Options: []string{"ndots:1"}}},
	} {
		if d := cmp.Diff(c.want, config(c.change)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestOmittedDNS(t *testing.T) {
	pod := testPod()
	pod.Spec.DNSPolicy = v1.DNSNone
	pod.Spec.DNSConfig = &v1.PodDNSConfig{Nameservers: []string{"1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"}}
	for i := range 33 {
		pod.Spec.DNSConfig.Searches = append(pod.Spec.DNSConfig.Searches, fmt.Sprintf("s%d", i))
	}
	got := OmittedDNS(pod, testNode())
	if len(got) != 2 || got[0] != "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 1.1.1.1 2.2.2.2 3.3.3.3" ||
		!strings.HasSuffix(got[1], " s30 s31") {
		t.Errorf("got %q", got)
	}
}

func TestHostsFile(t *testing.T) {
	pod := testPod()
	pod.Spec.Subdomain = "sub"
	pod.Spec.HostAliases = []v1.HostAlias{{IP: "180.101.50.188", Hostnames: []string{"abc", "baidu"}}}
	got := HostsFile(pod, []string{"10.1.0.5"}, testNode())
	for _, want := range []string{"# Kubernetes-managed hosts file.\n", "10.1.0.5\tweb.sub.shop.svc.cluster.local\tweb\n", "180.101.50.188\tabc\tbaidu\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
	pod.Spec.HostNetwork = true
	if got := HostsFile(pod, nil, testNode()); !strings.HasPrefix(got, "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n") {
		t.Errorf("host network: %s", got)
	}
}

func TestHostname(t *testing.T) {
	pod := testPod()
	pod.Name = strings.Repeat("a", 62) + "-b.c"
	if got, err := Hostname(pod, testNode()); err != nil || got != strings.Repeat("a", 62) {
		t.Errorf("got %q, %v: want a name of at most 63 characters that does not end in a dash", got, err)
	}
	pod.Spec.Subdomain, pod.Spec.SetHostnameAsFQDN = "sub", ptr(true)
	if _, err := Hostname(pod, testNode()); err == nil || !strings.Contains(err.Error(), "is too long") {
		t.Errorf("got %v, want an error that the FQDN is too long", err)
	}
}

func TestResources(t *testing.T) {
	pod := testPod()
	c := &pod.Spec.Containers[0]
	if got := Resources(pod, c, testNode()); got.CpuShares != 2 || got.CpuQuota != 0 || got.MemoryLimitInBytes != 0 || got.OomScoreAdj != 1000 {
		t.Errorf("best effort: %v", got)
	}
	c.Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("250m"), v1.ResourceMemory: resource.MustParse("1Gi")}
	c.Resources.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m"), v1.ResourceMemory: resource.MustParse("2Gi")}
	if got := Resources(pod, c, testNode()); got.CpuShares != 256 || got.CpuQuota != 50_000 || got.MemoryLimitInBytes != 2<<30 || got.OomScoreAdj != 750 {
		t.Errorf("burstable: %v", got)
	}
	c.Resources.Requests = c.Resources.Limits
	if got := Resources(pod, c, testNode()); got.OomScoreAdj != -997 {
		t.Errorf("guaranteed: %v", got)
	}
	pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: "free"})
	if got := PodResources(pod); got.CpuQuota != 0 || got.MemoryLimitInBytes != 0 {
		t.Errorf("a pod with a container that has no limit has a limit: %v", got)
	}
}

func TestResourcesOfTheHost(t *testing.T) {
	pod := testPod()
	c := &pod.Spec.Containers[0]
	c.Resources.Limits = v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Gi"), "hugepages-2Mi": resource.MustParse("4Mi")}
	node := testNode()
	node.Allocatable = v1.ResourceList{"hugepages-2Mi": resource.MustParse("8Mi"), "hugepages-1Gi": {}, v1.ResourceCPU: resource.MustParse("1")}
	node.SwapControl = true
	got := Resources(pod, c, node)
	if got.MemorySwapLimitInBytes != 1<<30 || got.Unified != nil {
		t.Errorf("v1: %v", got)
	}
	huge := got.HugepageLimits
	if len(huge) != 2 || huge[0].PageSize != "1GB" || huge[0].Limit != 0 || huge[1].PageSize != "2MB" || huge[1].Limit != 4<<20 {
		t.Errorf("huge pages: %v", huge)
	}
	node.CgroupV2 = true
	if got := Resources(pod, c, node); got.MemorySwapLimitInBytes != 0 || got.Unified["memory.swap.max"] != "0" || got.Unified["memory.oom.group"] != "1" {
		t.Errorf("v2: %v", got)
	}
	node.SwapBytes, node.Limits = node.MemoryBytes/2, LimitPolicy{LimitedSwap: true, OneProcessOOM: true}
	c.Resources.Requests = v1.ResourceList{v1.ResourceMemory: resource.MustParse("512Mi")}
	if got := Resources(pod, c, node); got.Unified["memory.swap.max"] != strconv.Itoa(256<<20) || got.Unified["memory.oom.group"] != "" {
		t.Errorf("v2 with limited swap: %v", got)
	}
	node.SwapControl, node.Limits = false, LimitPolicy{}
	if got := Resources(pod, c, node); len(got.Unified) != 1 {
		t.Errorf("v2 without control of swap: %v", got)
	}
}

func TestResourcesOfThePod(t *testing.T) {
	pod := testPod()
	pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: "second"})
	pod.Spec.Resources = &v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceMemory: resource.MustParse("2Gi")},
		Limits:   v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("3Gi")},
	}
	own, open := &pod.Spec.Containers[0], &pod.Spec.Containers[1]
	own.Resources.Limits = v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}
	own.Resources.Requests = v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Gi")}
	if got := Resources(pod, own, testNode()); got.CpuQuota != 100_000 || got.CpuShares != 1024 || got.MemoryLimitInBytes != 3<<30 {
		t.Errorf("with a CPU limit of its own: %v", got)
	}
	if got := Resources(pod, open, testNode()); got.CpuQuota != 200_000 || got.CpuShares != 2048 || got.MemoryLimitInBytes != 3<<30 {
		t.Errorf("without limits: %v", got)
	}
	// The gigabyte that no container asks for is half each one's.
	if first, second := Resources(pod, own, testNode()), Resources(pod, open, testNode()); first.OomScoreAdj != 625 || second.OomScoreAdj != 875 {
		t.Errorf("scores %d and %d", first.OomScoreAdj, second.OomScoreAdj)
	}
}

func TestRunAsNonRoot(t *testing.T) {
	for name, c := range map[string]struct {
		user  *int64
		image ImageUser
		want  string
	}{
		"image runs as root":   {nil, ImageUser{UID: ptr(int64(0))}, "container has runAsNonRoot and image will run as root"},
		"image names a user":   {nil, ImageUser{Name: "www"}, "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root"},
		"the pod says root":    {ptr(int64(0)), ImageUser{UID: ptr(int64(7))}, "container's runAsUser breaks non-root policy"},
		"the pod says another": {ptr(int64(7)), ImageUser{UID: ptr(int64(0))}, ""},
		"image has a number":   {nil, ImageUser{UID: ptr(int64(7))}, ""},
	} {
		pod := testPod()
		pod.Spec.SecurityContext = &v1.PodSecurityContext{RunAsNonRoot: ptr(true), RunAsUser: c.user}
		_, err := Config(pod, &pod.Spec.Containers[0], testNode(), Input{ImageUser: c.image, Env: &Env{}})
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestConfigExpandsCommandsAndCarriesIdentity(t *testing.T) {
	pod := testPod()
	c := &pod.Spec.Containers[0]
	c.Command, c.Args = []string{"echo"}, []string{"$(HELLO)", "$$(HELLO)"}
	c.Env = []v1.EnvVar{{Name: "HELLO", Value: "world"}}
	c.SecurityContext = &v1.SecurityContext{
		Capabilities:             &v1.Capabilities{Add: []v1.Capability{"CAP_NET_ADMIN"}, Drop: []v1.Capability{"all"}},
		AllowPrivilegeEscalation: ptr(false),
	}
	c.Lifecycle = &v1.Lifecycle{StopSignal: ptr(v1.SIGUSR1)}
	env, err := Environment(pod, c, testNode(), testSources())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Config(pod, c, testNode(), Input{Attempt: 2, Hash: "h", Env: env, ImageUser: ImageUser{UID: ptr(int64(0))}})
	if err != nil {
		t.Fatal(err)
	}
	s := got.Linux.SecurityContext
	if d := cmp.Diff([]string{"world", "$(HELLO)"}, got.Args); d != "" {
		t.Error(d)
	}
	if got.LogPath != "c/2.log" || got.Labels[LabelPodUID] != "u-1" || got.Annotations[AnnotationHash] != "h" || got.StopSignal != runtimeapi.Signal_SIGNAL_SIGUSR1 {
		t.Errorf("identity: %v", got)
	}
	if !s.NoNewPrivs || s.Capabilities.AddCapabilities[0] != "NET_ADMIN" || s.Capabilities.DropCapabilities[0] != "ALL" ||
		s.Seccomp.ProfileType != runtimeapi.SecurityProfile_RuntimeDefault || len(s.MaskedPaths) == 0 {
		t.Errorf("security: %v", s)
	}
}
