package critests

import (
	"net/netip"
	"testing"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func testVersion(t *testing.T, s *suite) {
	v := must(s.rt.Version(within(t), &runtimeapi.VersionRequest{}))(t)
	if v.RuntimeName == "" || v.RuntimeVersion == "" || v.RuntimeApiVersion != "v1" {
		t.Errorf("version %v", v)
	}
}

func testStatus(t *testing.T, s *suite) {
	st := must(s.rt.Status(within(t), &runtimeapi.StatusRequest{Verbose: true}))(t)
	seen := map[string]bool{}
	for _, c := range st.Status.Conditions {
		seen[c.Type] = c.Status
	}
	if !seen[runtimeapi.RuntimeReady] || !seen[runtimeapi.NetworkReady] {
		t.Errorf("conditions %v", st.Status.Conditions)
	}
	if len(st.Info) == 0 {
		t.Error("a verbose status has no info")
	}
	st = must(s.rt.Status(within(t), &runtimeapi.StatusRequest{}))(t)
	if len(st.Info) != 0 {
		t.Error("a plain status has info")
	}
	must(s.rt.RuntimeConfig(within(t), &runtimeapi.RuntimeConfigRequest{}))(t)
	must(s.rt.UpdateRuntimeConfig(within(t), &runtimeapi.UpdateRuntimeConfigRequest{RuntimeConfig: &runtimeapi.RuntimeConfig{NetworkConfig: &runtimeapi.NetworkConfig{}}}))(t)
}

func testSandboxLifecycle(t *testing.T, s *suite) {
	p := s.pod(t)
	st := p.status().Status
	if st.State != runtimeapi.PodSandboxState_SANDBOX_READY || st.Id != p.id || st.CreatedAt <= 0 {
		t.Errorf("status %v", st)
	}
	if st.Metadata.Name != p.config.Metadata.Name || st.Labels["suite"] != "critests" || st.Annotations["note"] != "kept as it is" {
		t.Errorf("what the pod was made with is not what is told: %v", st)
	}
	if _, err := netip.ParseAddr(st.GetNetwork().GetIp()); err != nil {
		t.Errorf("address of the pod: %v", err)
	}
	for range 2 { // the second time there is nothing to do
		must(s.rt.StopPodSandbox(within(t), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}))(t)
	}
	if got := p.status().Status.State; got != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("after the stop: %s", got)
	}
	for range 2 {
		must(s.rt.RemovePodSandbox(within(t), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.id}))(t)
	}
	_, err := s.rt.PodSandboxStatus(within(t), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id})
	wantCode(t, err, codes.NotFound, "status of a removed pod")
	must(s.rt.StopPodSandbox(within(t), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}))(t)
}

func testSandboxNames(t *testing.T, s *suite) {
	p := s.pod(t)
	if _, err := s.rt.RunPodSandbox(within(t), &runtimeapi.RunPodSandboxRequest{Config: p.config}); err == nil {
		t.Error("two sandboxes of one name and attempt")
	}
	next := s.podConfig(t)
	next.Metadata.Name, next.Metadata.Uid, next.Metadata.Attempt = p.config.Metadata.Name, p.config.Metadata.Uid, 1
	second := must(s.rt.RunPodSandbox(within(t), &runtimeapi.RunPodSandboxRequest{Config: next}))(t)
	must(s.rt.StopPodSandbox(within(t), &runtimeapi.StopPodSandboxRequest{PodSandboxId: second.PodSandboxId}))(t)
	must(s.rt.RemovePodSandbox(within(t), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: second.PodSandboxId}))(t)
	again := must(s.rt.RunPodSandbox(within(t), &runtimeapi.RunPodSandboxRequest{Config: next}))(t)
	must(s.rt.RemovePodSandbox(within(t), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: again.PodSandboxId}))(t)
}

func testSandboxRefused(t *testing.T, s *suite) {
	_, err := s.rt.RunPodSandbox(within(t), &runtimeapi.RunPodSandboxRequest{Config: &runtimeapi.PodSandboxConfig{}})
	wantCode(t, err, codes.InvalidArgument, "a pod without a name")
	if _, err = s.rt.RunPodSandbox(within(t), &runtimeapi.RunPodSandboxRequest{Config: s.podConfig(t), RuntimeHandler: "no-such-handler"}); err == nil {
		t.Error("a pod ran with an unknown handler")
	}
}

func testSandboxFilters(t *testing.T, s *suite) {
	p, other := s.pod(t), s.pod(t)
	list := func(f *runtimeapi.PodSandboxFilter) (ids []string) {
		for _, i := range must(s.rt.ListPodSandbox(within(t), &runtimeapi.ListPodSandboxRequest{Filter: f}))(t).Items {
			ids = append(ids, i.Id)
		}
		return ids
	}
	ready := &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY}
	gone := &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_NOTREADY}
	must(s.rt.StopPodSandbox(within(t), &runtimeapi.StopPodSandboxRequest{PodSandboxId: other.id}))(t)
	for _, c := range []struct {
		what   string
		filter *runtimeapi.PodSandboxFilter
		p, o   bool
	}{
		{"no filter", nil, true, true},
		{"by ID", &runtimeapi.PodSandboxFilter{Id: p.id}, true, false},
		{"by state", &runtimeapi.PodSandboxFilter{State: ready, LabelSelector: map[string]string{"suite": "critests"}}, true, false},
		{"by other state", &runtimeapi.PodSandboxFilter{State: gone, LabelSelector: map[string]string{"suite": "critests"}}, false, true},
		{"by label", &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"suite": "critests"}}, true, true},
		{"by another's label", &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"suite": "none"}}, false, false},
	} {
		ids := list(c.filter)
		if contains(ids, p.id) != c.p || contains(ids, other.id) != c.o {
			t.Errorf("%s: found %v", c.what, ids)
		}
	}
}

func contains(list []string, v string) bool {
	for _, e := range list {
		if e == v {
			return true
		}
	}
	return false
}
