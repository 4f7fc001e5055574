package evict

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const mi = 1 << 20

// pod uses memory beside its request (both in MiB).
func pod(uid string, used, requested int64, priority int32) Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}, Spec: v1.PodSpec{Priority: &priority, Containers: []v1.Container{{Name: "c"}}}}
	if requested > 0 {
		p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceMemory: *resource.NewQuantity(requested*mi, resource.BinarySI)}
	}
	return Pod{Pod: p, Usage: Usage{Memory: used * mi, Containers: map[string]ContainerUsage{"c": {Memory: used * mi}}}}
}

func TestRank(t *testing.T) {
	pods := []Pod{pod("guaranteed", 100, 100, 0), pod("hungry", 300, 100, 0), pod("hungrier", 500, 100, 0), pod("hungry but dear", 900, 100, 5), pod("frugal", 10, 100, 0), pod("cheap", 20, 0, -1)}
	var got []string
	for _, p := range rank(pods, MemoryAvailable) {
		got = append(got, string(p.UID))
	}
	want := []string{"cheap", "hungrier", "hungry", "hungry but dear", "guaranteed", "frugal"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func low(signal Signal, available, capacity int64) map[Signal]Observation {
	return map[Signal]Observation{signal: {Capacity: capacity, Available: available}}
}

func TestDecide(t *testing.T) {
	soft := Threshold{Signal: MemoryAvailable, Amount: Amount{Quantity: resource.MustParse("200Mi")}, Grace: time.Minute,
		MinReclaim: Amount{Quantity: resource.MustParse("50Mi")}}
	static := pod("static", 900, 0, 0)
	static.Annotations = map[string]string{"kubernetes.io/config.source": "file"}
	patient := pod("patient", 50, 0, 0)
	patient.Spec.TerminationGracePeriodSeconds = ptr.To[int64](7)
	for name, tc := range map[string]struct {
		in   Input
		want string
	}{
		"enough":            {Input{Thresholds: DefaultThresholds(false), Signals: low(MemoryAvailable, 101*mi, 1000*mi)}, ""},
		"low, pods unknown": {Input{Thresholds: DefaultThresholds(false), Signals: low(MemoryAvailable, 99*mi, 1000*mi)}, "MemoryPressure measure"},
		"low": {Input{Thresholds: DefaultThresholds(false), Signals: low(MemoryAvailable, 99*mi, 1000*mi), Measured: true, Pods: []Pod{static, pod("a", 300, 100, 0)}},
			"MemoryPressure evict a 1s: The node was low on resource: memory. Threshold quantity: 100Mi, available: 99Mi. Container c was using 300Mi, request is 100Mi, has larger consumption of memory. "},
		"nobody to evict":    {Input{Thresholds: DefaultThresholds(false), Signals: low(MemoryAvailable, 1, 1000*mi), Measured: true, Pods: []Pod{static}}, "MemoryPressure"},
		"disk, first images": {Input{Thresholds: DefaultThresholds(false), Signals: low(NodeFSAvailable, 9, 100), Measured: true, Pods: []Pod{pod("a", 1, 0, 0)}}, "DiskPressure reclaim"},
		"inodes, then pods": {Input{Thresholds: DefaultThresholds(false), Signals: low(NodeFSInodesFree, 4, 100), Measured: true, Reclaimed: true, Pods: []Pod{pod("a", 1, 0, 0)}},
			"DiskPressure evict a 1s: The node was low on resource: inodes. Threshold quantity: 5, available: 4. "},
		"soft, not long": {Input{Thresholds: []Threshold{soft}, Signals: low(MemoryAvailable, 150*mi, 1000*mi), Memory: Memory{MetSince: map[int]time.Time{0: now.Add(-59 * time.Second)}}}, "MemoryPressure"},
		"soft, too long": {Input{Thresholds: []Threshold{soft}, Signals: low(MemoryAvailable, 150*mi, 1000*mi), Memory: Memory{MetSince: map[int]time.Time{0: now.Add(-time.Minute)}}, Measured: true, MaxSoftGrace: 30 * time.Second, Pods: []Pod{patient}},
			"MemoryPressure evict patient 7s: The node was low on resource: memory. Threshold quantity: 200Mi, available: 150Mi. Container c was using 50Mi, request is 0, has larger consumption of memory. "},
		"not yet reclaimed enough": {Input{Thresholds: []Threshold{soft}, Signals: low(MemoryAvailable, 220*mi, 1000*mi), Memory: Memory{MetSince: map[int]time.Time{0: now}}}, "MemoryPressure"},
		"lingers":                  {Input{Thresholds: DefaultThresholds(false), Signals: low(MemoryAvailable, 500*mi, 1000*mi), Transition: time.Minute, Memory: Memory{LastSeen: map[v1.NodeConditionType]time.Time{v1.NodeMemoryPressure: now.Add(-59 * time.Second)}}}, "MemoryPressure"},
		"lingered long enough":     {Input{Thresholds: DefaultThresholds(false), Signals: low(MemoryAvailable, 500*mi, 1000*mi), Transition: time.Minute, Memory: Memory{LastSeen: map[v1.NodeConditionType]time.Time{v1.NodeMemoryPressure: now.Add(-time.Minute)}}}, ""},
	} {
		tc.in.Now = now
		out := Decide(tc.in)
		var words []string
		for condition := range out.Conditions {
			words = append(words, string(condition))
		}
		if out.Measure {
			words = append(words, "measure")
		}
		if out.Reclaim {
			words = append(words, "reclaim")
		}
		for _, e := range out.Evict {
			words = append(words, fmt.Sprintf("evict %s %s: %s", e.UID, e.Grace, e.Message))
		}
		if got := strings.Join(words, " "); got != tc.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, tc.want)
		}
	}
}

func TestLimits(t *testing.T) {
	limit := func(text string) v1.ResourceRequirements {
		return v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceEphemeralStorage: resource.MustParse(text)}}
	}
	spec := v1.PodSpec{
		Containers: []v1.Container{{Name: "a", Resources: limit("10Mi")}, {Name: "b", Resources: limit("20Mi")}},
		Volumes:    []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("5Mi"))}}}},
	}
	open := spec.DeepCopy()
	open.Containers[1].Resources = v1.ResourceRequirements{}
	for name, tc := range map[string]struct {
		spec  v1.PodSpec
		usage Usage
		want  string
	}{
		"within":         {spec, Usage{Disk: 30 * mi, Volumes: map[string]int64{"v": 5 * mi}}, ""},
		"volume":         {spec, Usage{Volumes: map[string]int64{"v": 5*mi + 1}}, `Usage of EmptyDir volume "v" exceeds the limit "5Mi". `},
		"pod":            {spec, Usage{Disk: 30*mi + 1}, "Pod ephemeral local storage usage exceeds the total limit of containers 30Mi. "},
		"container":      {spec, Usage{Disk: 12 * mi, Containers: map[string]ContainerUsage{"a": {Disk: 11 * mi}}}, `Container a exceeded its local ephemeral storage limit "10Mi". `},
		"open-ended pod": {*open, Usage{Disk: 99 * mi}, ""},
	} {
		if got := overLimit(&Pod{Pod: &v1.Pod{Spec: tc.spec}, Usage: tc.usage}); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pods []Pod
		for i := range rapid.IntRange(0, 8).Draw(t, "pods") {
			pods = append(pods, pod(fmt.Sprint(i), rapid.Int64Range(0, 100).Draw(t, "used"), rapid.Int64Range(0, 100).Draw(t, "requested"), rapid.SampledFrom([]int32{-1, 0, 1, systemCritical}).Draw(t, "priority")))
		}
		in := Input{Now: now, Thresholds: DefaultThresholds(false), Measured: rapid.Bool().Draw(t, "measured"), Reclaimed: rapid.Bool().Draw(t, "reclaimed"), Pods: pods, Signals: map[Signal]Observation{}}
		short := false
		for _, th := range in.Thresholds {
			o := Observation{Capacity: 1 << 40, Available: rapid.Int64Range(0, 1<<40).Draw(t, "left")}
			in.Signals[th.Signal] = o
			short = short || o.Available < th.Of(o.Capacity)
		}
		out := Decide(in)
		if (out.Short != "") != short || (len(out.Conditions) > 0) != short {
			t.Fatalf("short %v: %+v", short, out)
		}
		if len(out.Evict) > 1 || (len(out.Evict) == 1 && !short) || (len(out.Evict) == 1 && !in.Measured) {
			t.Fatalf("evicts %+v", out.Evict)
		}
		for _, e := range out.Evict {
			if p := pods[slices.IndexFunc(pods, func(p Pod) bool { return p.UID == e.UID })]; critical(p.Pod) || !strings.HasPrefix(e.Message, "The node was low on resource") {
				t.Fatalf("evicts %+v", e)
			}
		}
	})
}

func TestManagerTurn(t *testing.T) {
	left := uint64(50 * mi)
	var evicted []types.UID
	var conditions []int
	victim := pod("victim", 300, 0, 0)
	m, err := New(Config{
		Node: func(context.Context) (*statsapi.NodeStats, error) {
			return &statsapi.NodeStats{Memory: &statsapi.MemoryStats{AvailableBytes: &left, WorkingSetBytes: ptr.To[uint64](1000 * mi)}}, nil
		},
		Summary: func(context.Context) (*statsapi.Summary, error) {
			return &statsapi.Summary{Pods: []statsapi.PodStats{{PodRef: statsapi.PodReference{UID: "victim"}, Memory: &statsapi.MemoryStats{WorkingSetBytes: ptr.To[uint64](300 * mi)}}}}, nil
		},
		Pods:     func() []*v1.Pod { return []*v1.Pod{victim.Pod} },
		Evict:    func(_ *v1.Pod, e Eviction) { evicted = append(evicted, e.UID) },
		Pressure: func(c map[v1.NodeConditionType]bool) { conditions = append(conditions, len(c)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := m.turn(context.Background(), now.Add(time.Duration(i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
		left = 500 * mi
	}
	if diff := cmp.Diff([]types.UID{"victim"}, evicted); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{1, 0}, conditions); diff != "" {
		t.Error(diff)
	}
}

func TestLimitsAreLookedAtEveryTurn(t *testing.T) {
	measured := 0
	m, err := New(Config{
		Node:    func(context.Context) (*statsapi.NodeStats, error) { return &statsapi.NodeStats{}, nil },
		Summary: func(context.Context) (*statsapi.Summary, error) { measured++; return &statsapi.Summary{}, nil },
		Pods: func() []*v1.Pod {
			return []*v1.Pod{{Spec: v1.PodSpec{Volumes: []v1.Volume{{VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("1Mi"))}}}}}}}
		},
		Evict:    func(*v1.Pod, Eviction) {},
		Pressure: func(map[v1.NodeConditionType]bool) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := m.turn(t.Context(), now.Add(time.Duration(i)*every)); err != nil {
			t.Fatal(err)
		}
	}
	if measured != 3 {
		t.Errorf("measured %d times in three turns", measured)
	}
}

func TestParse(t *testing.T) {
	type m = map[string]string
	show := func(ts []Threshold) (out []string) {
		for _, th := range ts {
			line := fmt.Sprintf("%s<%d", th.Signal, th.Of(1000))
			if th.Grace > 0 {
				line += " for " + th.Grace.String()
			}
			if r := th.MinReclaim.Of(1000); r > 0 {
				line += fmt.Sprintf(" +%d", r)
			}
			out = append(out, line)
		}
		return out
	}
	for name, tc := range map[string]struct {
		in     Wanted
		want   []string
		errors []string
	}{
		"nothing said":        {in: Wanted{}, want: []string{"memory.available<104857600", "nodefs.available<100", "nodefs.inodesFree<50"}},
		"images apart":        {in: Wanted{ImagesApart: true}, want: []string{"memory.available<104857600", "nodefs.available<100", "nodefs.inodesFree<50", "imagefs.available<150", "imagefs.inodesFree<50"}},
		"hard replaces all":   {in: Wanted{Hard: m{"pid.available": "7"}}, want: []string{"pid.available<7"}},
		"hard beside the old": {in: Wanted{Hard: m{"nodefs.available": "2.5%"}, KeepDefaults: true}, want: []string{"memory.available<104857600", "nodefs.available<25", "nodefs.inodesFree<50"}},
		"switched off":        {in: Wanted{Hard: m{"memory.available": "0%"}}, want: nil},
		"soft": {in: Wanted{Hard: m{"memory.available": "1"}, Soft: m{"memory.available": "2"}, SoftGrace: m{"memory.available": "1m30s"}, MinReclaim: m{"memory.available": "10%"}},
			want: []string{"memory.available<1 +100", "memory.available<2 for 1m30s +100"}},
		"wrong": {
			in: Wanted{Hard: m{"memory.free": "1", "memory.available": "lots", "pid.available": "101%"}, Soft: m{"nodefs.available": "1"},
				SoftGrace: m{"pid.available": "1m"}, MinReclaim: m{"nodefs.available": "-1"}},
			errors: []string{
				`evictionHard[memory.available]: Invalid value: "lots": must be a quantity like 100Mi, or a percentage like 10%`,
				`evictionHard[memory.free]: Unsupported value: "memory.free"`,
				`evictionHard[pid.available]: Invalid value: "101%": must be between 0% and 100%`,
				`evictionSoftGracePeriod[nodefs.available]: Required value: a soft threshold needs one`,
				`evictionSoftGracePeriod[pid.available]: Invalid value: "1m": there is no evictionSoft threshold of this signal`,
				`evictionMinimumReclaim[nodefs.available]: Invalid value: "-1": must not be negative`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, errs := Parse(tc.in)
			if diff := cmp.Diff(tc.want, show(got)); diff != "" && len(tc.errors) == 0 {
				t.Error(diff)
			}
			if len(errs) != len(tc.errors) {
				t.Fatalf("%d errors, want %d: %v", len(errs), len(tc.errors), errs)
			}
			for i, want := range tc.errors {
				if got := errs[i].Error(); !strings.HasPrefix(got, want) {
					t.Errorf("error %q, want %q", got, want)
				}
			}
		})
	}
}
