package cri

import (
	"fmt"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// BenchmarkPod is the life of a one-container pod over real processes, with the
// time of each step beside the whole.
func BenchmarkPod(b *testing.B) {
	f := newRealFixture(b)
	steps := map[string]time.Duration{}
	timed := func(name string, call func() error) {
		began := time.Now()
		if err := call(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		steps[name] += time.Since(began)
	}
	n := 0
	for b.Loop() {
		n++
		var pod, id string
		config := podConfigFor(b, fmt.Sprintf("p%d", n))
		timed("sandbox", func() error {
			resp, err := f.RunPodSandbox(background, &runtimeapi.RunPodSandboxRequest{Config: config})
			pod = resp.GetPodSandboxId()
			return err
		})
		c := containerConfigFor("app", "sh", "-c", "while :; do sleep 1; done")
		c.LogPath = "app/0.log"
		c.Linux.SecurityContext.Seccomp = &runtimeapi.SecurityProfile{}
		timed("create", func() error {
			resp, err := f.CreateContainer(background, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: c})
			id = resp.GetContainerId()
			return err
		})
		timed("start", func() error {
			_, err := f.StartContainer(background, &runtimeapi.StartContainerRequest{ContainerId: id})
			return err
		})
		timed("stop", func() error {
			_, err := f.StopContainer(background, &runtimeapi.StopContainerRequest{ContainerId: id})
			return err
		})
		timed("remove", func() error {
			_, err := f.RemovePodSandbox(background, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod})
			return err
		})
	}
	for name, d := range steps {
		b.ReportMetric(float64(d.Microseconds())/float64(n)/1000, name+"-ms")
	}
}
