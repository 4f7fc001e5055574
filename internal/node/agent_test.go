package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/runtime/crifake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunsAndDeletesAPod(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.create(pod("web", v1.Container{Name: "app"}))
	f.eventually("ready", func() bool { return f.ready("web") })
	got := f.get("web").Status
	if got.PodIP == "" || got.HostIP != "192.168.1.2" || got.StartTime == nil || got.Phase != v1.PodRunning {
		t.Errorf("status %+v", got)
	}
	c := got.ContainerStatuses[0]
	if !strings.Contains(c.ContainerID, "://") || c.ImageID == "" || c.RestartCount != 0 {
		t.Errorf("container status %+v", c)
	}
	hosts, err := os.ReadFile(filepath.Join(f.dir, "pods/uid-web/etc-hosts"))
	if err != nil || !strings.Contains(string(hosts), got.PodIP) {
		t.Errorf("hosts file %q %v", hosts, err)
	}
	f.delete("web", 5)
	f.eventually("gone from the API", func() bool { return f.get("web") == nil })
	f.eventually("gone from the node", f.nothingLeft)
	f.eventually("forgotten", func() bool { return len(f.agent.Pods()) == 0 })
	if left, _ := os.ReadDir(filepath.Join(f.dir, "node/pods")); len(left) != 0 {
		t.Errorf("journal has %v", left)
	}
	if why := f.agent.Why("default", "web"); len(why) != 1 || why[0].GoneAt.IsZero() || len(why[0].Log) == 0 {
		t.Errorf("why: %+v", why)
	}
}

func TestEvents(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.create(pod("web", v1.Container{Name: "app"}))
	f.eventually("the usual events", func() bool {
		list, err := f.client.CoreV1().Events("default").List(context.Background(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, e := range list.Items {
			if e.InvolvedObject.FieldPath == "spec.containers{app}" && e.Source.Component == "kubelet" {
				seen[e.Reason] = e.Message
			}
		}
		return seen["Pulling"] == `Pulling image "busybox"` && seen["Pulled"] != "" && seen["Created"] != "" && seen["Started"] != ""
	})
}

func TestRestarts(t *testing.T) {
	f := newFixture(t)
	f.policy.Initial, f.policy.Max = time.Millisecond, time.Millisecond
	f.runtime.Script("app", crifake.Program{ExitAtOnce: true, ExitCode: 3}, crifake.Program{ExitAtOnce: true, ExitCode: 4}, crifake.Program{})
	f.start()
	f.create(pod("web", v1.Container{Name: "app"}))
	f.eventually("restarted twice and ready", func() bool {
		return f.ready("web") && f.get("web").Status.ContainerStatuses[0].RestartCount == 2
	})
	last := f.get("web").Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 4 || last.Reason != "Error" {
		t.Errorf("last state %+v", last)
	}
}

func TestCrashLoopIsShown(t *testing.T) {
	f := newFixture(t)
	f.runtime.Script("app", crifake.Program{ExitAtOnce: true, ExitCode: 1})
	f.start()
	f.create(pod("web", v1.Container{Name: "app"}))
	f.eventually("CrashLoopBackOff", func() bool {
		w := firstWaiting(f.get("web"))
		return w != nil && w.Reason == "CrashLoopBackOff" &&
			w.Message == "back-off 10s restarting failed container=app pod=web_default(uid-web)"
	})
}

func firstWaiting(p *v1.Pod) *v1.ContainerStateWaiting {
	if p == nil || len(p.Status.ContainerStatuses) == 0 {
		return nil
	}
	return p.Status.ContainerStatuses[0].State.Waiting
}

func TestImageThatCantBePulled(t *testing.T) {
	f := newFixture(t)
	f.runtime.AddRemote("busybox", crifake.Remote{Err: errors.New("manifest unknown")})
	f.start()
	f.create(pod("web", v1.Container{Name: "app"}))
	f.eventually("ErrImagePull", func() bool {
		w := firstWaiting(f.get("web"))
		return w != nil && w.Reason == "ErrImagePull" && strings.Contains(w.Message, "manifest unknown")
	})
}

func TestMissingConfigMap(t *testing.T) {
	f := newFixture(t)
	f.start()
	f.create(pod("web", v1.Container{Name: "app", Env: []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{
		ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Key: "a"}}}}}))
	f.eventually("CreateContainerConfigError", func() bool {
		w := firstWaiting(f.get("web"))
		return w != nil && w.Reason == "CreateContainerConfigError" && w.Message == `configmaps "cm" not found` || w != nil && strings.Contains(w.Message, `"cm" not found`)
	})
	cm := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm", Namespace: "default"}, Data: map[string]string{"a": "b"}}
	if _, err := f.client.CoreV1().ConfigMaps("default").Create(context.Background(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.eventually("ready once it is there", func() bool { return f.ready("web") })
}

func TestInitContainersAndProbes(t *testing.T) {
	f := newFixture(t)
	f.runtime.Script("setup", crifake.Program{ExitAtOnce: true})
	f.start()
	p := pod("web", v1.Container{Name: "app", ReadinessProbe: &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt(80)}}}})
	p.Spec.InitContainers = []v1.Container{{Name: "setup", Image: "busybox"}}
	f.create(p)
	f.eventually("running, not ready", func() bool {
		pod := f.get("web")
		return pod.Status.Phase == v1.PodRunning && !f.ready("web")
	})
	f.eventually("probed", func() bool { return f.probes.send(p.UID, podlife.Readiness, podlife.Success) })
	f.eventually("ready", func() bool { return f.ready("web") })
}

func TestPodThatEnds(t *testing.T) {
	f := newFixture(t)
	f.runtime.Script("app", crifake.Program{ExitAtOnce: true})
	f.start()
	p := pod("job", v1.Container{Name: "app"})
	p.Spec.RestartPolicy = v1.RestartPolicyNever
	f.create(p)
	f.eventually("Succeeded", func() bool { p := f.get("job"); return p != nil && p.Status.Phase == v1.PodSucceeded })
	f.eventually("volumes and cgroup released", func() bool { return len(f.volumes.list()) == 0 && len(f.cgroups.list()) == 0 })
	if len(f.containers()) != 1 {
		t.Errorf("the ended container's record is gone")
	}
	f.delete("job", 0)
	f.eventually("gone", func() bool { return f.get("job") == nil && f.nothingLeft() })
}

func TestRejectsWhatDoesNotFit(t *testing.T) {
	f := newFixture(t)
	f.start()
	p := pod("big", v1.Container{Name: "app"})
	p.Spec.NodeSelector = map[string]string{"disk": "ssd"}
	f.create(p)
	f.eventually("Failed, NodeAffinity", func() bool {
		p := f.get("big")
		return p.Status.Phase == v1.PodFailed && p.Status.Reason == "NodeAffinity"
	})
}

// TestTakesTheRoomOfWhatWasDeletedByForce: the scheduler has seen the pod go, though
// its processes have their grace period still.
func TestTakesTheRoomOfWhatWasDeletedByForce(t *testing.T) {
	f := newFixture(t)
	f.runtime.Script("app", crifake.Program{IgnoreTerm: true})
	f.start()
	all := func(name string) *v1.Pod {
		p := pod(name, v1.Container{Name: "app", Resources: v1.ResourceRequirements{Requests: testNode.Status.Capacity}})
		p.Spec.TerminationGracePeriodSeconds = new(int64(600))
		return p
	}
	f.create(all("old"))
	f.eventually("ready", func() bool { return f.ready("old") })
	if err := f.client.Tracker().Delete(v1.SchemeGroupVersion.WithResource("pods"), "default", "old"); err != nil {
		t.Fatal(err)
	}
	f.create(all("next"))
	f.eventually("taken", func() bool {
		return slices.Contains([]v1.PodPhase{v1.PodRunning, v1.PodFailed}, f.get("next").Status.Phase)
	})
	if p := f.get("next"); p.Status.Phase != v1.PodRunning {
		t.Errorf("%s: %s", p.Status.Reason, p.Status.Message)
	}
}

// TestADeferredResizeGetsTheRoomThatAnotherGivesBack: a pod that shrinks takes its
// old room until it is said to have less.
func TestADeferredResizeGetsTheRoomThatAnotherGivesBack(t *testing.T) {
	f := newFixture(t)
	f.start()
	cpu := func(amount string) v1.ResourceRequirements {
		return v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(amount)}}
	}
	resize := func(name, amount string) {
		p := f.get(name).DeepCopy()
		p.Generation++
		p.Spec.Containers[0].Resources = cpu(amount)
		if _, err := f.client.CoreV1().Pods("default").Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, amount := range map[string]string{"big": "2500m", "small": "1"} {
		f.create(pod(name, v1.Container{Name: "app", Resources: cpu(amount)}))
		f.eventually("ready", func() bool { return f.ready(name) })
	}
	resize("small", "2500m")
	f.eventually("deferred", func() bool {
		return slices.ContainsFunc(f.get("small").Status.Conditions, func(c v1.PodCondition) bool {
			return c.Type == v1.PodResizePending && c.Reason == v1.PodReasonDeferred
		})
	})
	resize("big", "1")
	f.eventually("granted", func() bool {
		r := f.get("small").Status.ContainerStatuses[0].Resources
		return r != nil && r.Requests.Cpu().MilliValue() == 2500
	})
}

// TestAsksForTheNodeBeforeItRejects: who set a label and who bound a pod by it may
// both have been faster than the news of the label.
func TestAsksForTheNodeBeforeItRejects(t *testing.T) {
	f := newFixture(t)
	labelled := testNode.DeepCopy()
	labelled.Labels = map[string]string{"disk": "ssd"}
	if err := f.client.Tracker().Add(labelled); err != nil {
		t.Fatal(err)
	}
	f.start()
	p := pod("choosy", v1.Container{Name: "app"})
	p.Spec.NodeSelector = map[string]string{"disk": "ssd"}
	f.create(p)
	f.eventually("Running", func() bool { return f.get("choosy").Status.Phase == v1.PodRunning })
}

// TestSurvivesItsOwnDeath: the containers go on, an end that came meanwhile is
// told with its code, a pod that was deleted meanwhile is ended.
func TestSurvivesItsOwnDeath(t *testing.T) {
	f := newFixture(t)
	f.start()
	for _, name := range []string{"stays", "ends", "deleted"} {
		p := pod(name, v1.Container{Name: name})
		if name == "ends" {
			p.Spec.RestartPolicy = v1.RestartPolicyNever
		}
		f.create(p)
	}
	f.eventually("all ready", func() bool { return f.ready("stays") && f.ready("ends") && f.ready("deleted") })
	before := f.get("stays").Status.ContainerStatuses[0].ContainerID
	f.kill()
	for _, c := range f.containers() {
		if c.Metadata.Name == "ends" {
			f.runtime.Exit(c.Id, 7)
		}
	}
	if err := f.client.CoreV1().Pods("default").Delete(context.Background(), "deleted", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.eventually("the exit code", func() bool {
		p := f.get("ends")
		return p.Status.Phase == v1.PodFailed && p.Status.ContainerStatuses[0].State.Terminated.ExitCode == 7
	})
	f.eventually("the deleted pod's container gone", func() bool {
		for _, c := range f.containers() {
			if c.Metadata.Name == "deleted" {
				return false
			}
		}
		return true
	})
	f.eventually("the pod that stays", func() bool { return f.ready("stays") })
	s := f.get("stays").Status.ContainerStatuses[0]
	if s.ContainerID != before || s.RestartCount != 0 {
		t.Errorf("the container changed from %s to %s, %d restarts", before, s.ContainerID, s.RestartCount)
	}
	if n := len(f.runtime.Calls("StartContainer")); n != 3 {
		t.Errorf("%d containers were started, want 3", n)
	}
}

// TestOrphans: what the runtime has of a pod that nobody knows is ended.
func TestOrphans(t *testing.T) {
	f := newFixture(t)
	sandbox := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "old", Namespace: "default", Uid: "uid-old"},
		Labels:   map[string]string{"io.kubernetes.pod.uid": "uid-old"},
	}
	if _, err := f.runtime.RunPodSandbox(context.Background(), &runtimeapi.RunPodSandboxRequest{Config: sandbox}); err != nil {
		t.Fatal(err)
	}
	f.volumes.present["uid-older"] = true
	f.start()
	f.eventually("nothing left", f.nothingLeft)
}

func TestRuntimeThatFailsNowAndThen(t *testing.T) {
	f := newFixture(t)
	f.policy.RetryInitial = time.Millisecond
	for _, method := range []string{"RunPodSandbox", "CreateContainer", "ListContainers", "ContainerStatus", "StopPodSandbox", "RemovePodSandbox"} {
		f.runtime.Fail(method, fmt.Errorf("%s is tired", method), 1)
	}
	f.start()
	f.create(pod("web", v1.Container{Name: "app"}))
	f.eventually("ready all the same", func() bool { return f.ready("web") })
	f.delete("web", 1)
	f.eventually("gone all the same", func() bool { return f.get("web") == nil && f.nothingLeft() })
}
