package settings

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/proa-project/proa/internal/node/evict"
	"github.com/proa-project/proa/internal/node/shutdown"
)

const head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

func TestParseSaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"a field that is not there": {head + "maxPodz: 3\n", `strict decoding error: unknown field "maxPodz"`},
		"two of them":               {head + "a: 1\nb: 2\n", `strict decoding error: unknown field "a", unknown field "b"`},
		"a field said twice":        {head + "maxPods: 3\nmaxPods: 4\n", `key "maxPods" already set in map`},
		"another case":              {head + "maxpods: 3\n", `unknown field "maxpods"`},
		"a wrong type":              {head + "maxPods: many\n", "cannot unmarshal string into Go struct field"},
		"another kind":              {"apiVersion: v1\nkind: Pod\n", `a KubeletConfiguration of apiVersion kubelet.config.k8s.io/v1beta1 is needed, not "Pod" of "v1"`},
		"no YAML":                   {"{", "did not find expected"},
	} {
		if _, _, err := Parse([]byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

// What kubeadm writes is full of empty fields; they are not worth a word.
func TestParseNamesFieldsWithoutEffect(t *testing.T) {
	_, ignored, err := Parse([]byte(head + `
maxPods: 50
cgroupDriver: systemd
syncFrequency: 0s
cpuManagerReconcilePeriod: 0s
authentication: {anonymous: {enabled: false}, webhook: {cacheTTL: 0s}, x509: {clientCAFile: ""}}
memorySwap: {}
rotateCertificates: true
`))
	if want := []string{"cgroupDriver", "rotateCertificates"}; err != nil || !slices.Equal(ignored, want) {
		t.Errorf("ignored %v, %v, want %v", ignored, err, want)
	}
}

func TestEveryEffectiveFieldIsOne(t *testing.T) {
	for _, name := range effective {
		// A field that doesn't exist is refused whatever its value is, one that does only for a wrong type.
		if _, _, err := Parse([]byte(head + name + ": null\n")); err != nil && strings.Contains(err.Error(), "unknown field") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	s, err := New(kubelet.KubeletConfiguration{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if s.Static.Path != DefaultManifests || s.ResolvConf != "/etc/resolv.conf" || s.Policy.Max != 5*time.Minute || s.Images.HighPercent != 85 || s.Shutdown != nil || s.PodPIDs != 0 {
		t.Errorf("%+v", s)
	}
	reserve := s.Register.Reserve
	if got := []int64{reserve.EvictionMemory.Of(1 << 30), reserve.EvictionDisk.Of(1000)}; !slices.Equal(got, []int64{100 << 20, 100}) {
		t.Errorf("kept free: %v", got)
	}
}

func TestSettings(t *testing.T) {
	c, ignored, err := Parse([]byte(head + `
staticPodPath: /srv/pods
staticPodURL: http://127.0.0.1/pods
staticPodURLHeader: {Authorization: [Bearer x]}
httpCheckFrequency: 3s
maxPods: 20
podPidsLimit: 500
resolvConf: ""
evictionHard: {memory.available: 1Gi}
evictionSoft: {nodefs.available: 20%}
evictionSoftGracePeriod: {nodefs.available: 2m}
evictionMaxPodGracePeriod: 30
containerLogMaxSize: 1Mi
containerLogMaxFiles: 3
crashLoopBackOff: {maxContainerRestartPeriod: 2s}
shutdownGracePeriod: 30s
shutdownGracePeriodCriticalPods: 10s
allowedUnsafeSysctls: ["kernel.msg*"]
systemReserved: {memory: 100Mi, cpu: 100m}
kubeReserved: {memory: 50Mi}
`))
	if err != nil || ignored != nil {
		t.Fatal(ignored, err)
	}
	s, err := New(*c, false)
	if err != nil {
		t.Fatal(err)
	}
	if s.Static.Path != "/srv/pods" || s.Static.URL == "" || s.Static.Header.Get("Authorization") != "Bearer x" || s.Static.Every != 3*time.Second {
		t.Errorf("static: %+v", s.Static)
	}
	if s.Register.MaxPods != 20 || s.PodPIDs != 500 || s.ResolvConf != "" || s.Logs.MaxSize != 1<<20 || s.Logs.MaxFiles != 3 {
		t.Errorf("%+v", s)
	}
	if s.Policy.Max != 2*time.Second || s.Policy.Initial != 2*time.Second {
		t.Errorf("back-off %s, at most %s", s.Policy.Initial, s.Policy.Max)
	}
	if diff := cmp.Diff([]shutdown.Step{{Priority: 0, Grace: 20 * time.Second}, {Priority: 2_000_000_000, Grace: 10 * time.Second}}, s.Shutdown); diff != "" {
		t.Error(diff)
	}
	if n := len(s.Eviction.Thresholds); n != 2 || s.Eviction.Thresholds[1].Signal != evict.NodeFSAvailable || s.Eviction.MaxSoftGrace != 30*time.Second {
		t.Errorf("%d thresholds: %+v", n, s.Eviction)
	}
	memory := s.Register.Reserve.Resources["memory"]
	if memory.String() != "150Mi" || s.Register.Reserve.EvictionMemory.Of(1) != 1<<30 || s.Register.Reserve.EvictionDisk.Of(100) != 0 {
		t.Errorf("reserved: %+v", s.Register.Reserve)
	}
}

func TestNewSaysAllThatIsWrong(t *testing.T) {
	c, _, err := Parse([]byte(head + `
staticPodPath: relative
staticPodURL: "gopher://x"
port: 70000
maxPods: -1
containerLogMaxSize: big
containerLogMaxFiles: 1
crashLoopBackOff: {maxContainerRestartPeriod: 10m}
shutdownGracePeriod: 1500ms
shutdownGracePeriodCriticalPods: 1h
imageGCHighThresholdPercent: 80
imageGCLowThresholdPercent: 90
imageMaximumGCAge: 1m
systemReserved: {gpu: "1"}
registerWithTaints: [{key: "a b", effect: Never}]
evictionHard: {memory.free: 1Gi}
allowedUnsafeSysctls: [vm.swappiness]
`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(*c, false)
	if err == nil {
		t.Fatal("nothing was wrong")
	}
	for _, want := range []string{
		`staticPodPath: Invalid value: "relative"`, `staticPodURL: Invalid value`, `port: Invalid value: 70000`, `maxPods: Invalid value: -1`,
		`containerLogMaxSize: Invalid value: "big"`, `containerLogMaxFiles: Invalid value: 1`, `crashLoopBackOff.maxContainerRestartPeriod: Invalid value: "10m0s": must be between 1s and 300s`,
		`shutdownGracePeriod: Invalid value: "1.5s"`, `shutdownGracePeriodCriticalPods: Invalid value: "1h0m0s": must not be more than`,
		`imageGCLowThresholdPercent: Invalid value: 90`, `imageMaximumGCAge: Invalid value: "1m0s"`, `systemReserved[gpu]: Unsupported value: "gpu"`,
		`registerWithTaints[0].key: Invalid value: "a b"`, `registerWithTaints[0].effect: Unsupported value: "Never"`,
		`evictionHard[memory.free]: Unsupported value`, `allowedUnsafeSysctls[0]: Invalid value: "vm.swappiness"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + "maxPods: 3\nevictionHard: {memory.available: 1%}\n"))
	f.Add([]byte(`{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","shutdownGracePeriod":"1s"}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if c, _, err := Parse(data); err == nil {
			_, _ = New(*c, true)
		}
	})
}
