package observe

import (
	"fmt"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A sandbox that ends takes its containers along: both states change at once, and
// the sum over both must tell.
func TestFingerprintsTellWhenAPodEndsAsAWhole(t *testing.T) {
	const (
		ready, notReady = int32(runtimeapi.PodSandboxState_SANDBOX_READY), int32(runtimeapi.PodSandboxState_SANDBOX_NOTREADY)
		running, exited = int32(runtimeapi.ContainerState_CONTAINER_RUNNING), int32(runtimeapi.ContainerState_CONTAINER_EXITED)
	)
	for i := range 10_000 {
		sandbox, container := fmt.Sprintf("%064x", 2*i), fmt.Sprintf("%064x", 2*i+1)
		if hash(sandbox, ready)+hash(container, running) == hash(sandbox, notReady)+hash(container, exited) {
			t.Fatalf("of %s and %s nothing is told", sandbox, container)
		}
	}
}
