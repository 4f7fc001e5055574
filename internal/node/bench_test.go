package node

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// BenchmarkPod is a pod's whole way, from its object to Ready to nothing left, on
// a runtime that takes no time: what the agent adds.
func BenchmarkPod(b *testing.B) {
	f := newFixture(b)
	f.start()
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprintf("p%d", i)
		f.create(pod(name, v1.Container{Name: "app"}))
		f.eventually("ready", func() bool { return f.ready(name) })
		f.delete(name, 0)
		f.eventually("gone", func() bool { return f.get(name) == nil })
	}
}
