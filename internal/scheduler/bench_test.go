package scheduler

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// large is a cluster of many nodes and pods over three zones.
func large(nodes, pods int) *Cluster {
	c := NewCluster()
	c.SetNamespace("", nil)
	for i := range nodes {
		c.SetNode(makeNode(fmt.Sprint("n", i), "32", inZone(fmt.Sprint("z", i%3)), func(n *v1.Node) {
			n.Status.Allocatable[v1.ResourcePods] = resource.MustParse("110")
			n.Status.Allocatable[v1.ResourceMemory] = resource.MustParse("64Gi")
		}))
	}
	for i := range pods {
		c.SetPod(makePod(fmt.Sprint("p", i), "100m", on(fmt.Sprint("n", i%nodes)), labeled("app", fmt.Sprint("app", i%100))))
	}
	return c
}

// Each is one pod placed in a cluster of 5,000 nodes and 20,000 pods.
func BenchmarkPlace(b *testing.B) {
	app := selecting("app", "app7")
	for name, change := range map[string][]func(*v1.Pod){
		"plain":    nil,
		"spread":   {labeled("app", "app7"), spreading("zone", 1, app)},
		"far":      {labeled("app", "app7"), far("kubernetes.io/hostname", app)},
		"near":     {near("zone", app)},
		"selector": {nodeSelector("zone", "z1")},
		"nowhere":  {nodeSelector("zone", "none")},
	} {
		b.Run(name, func(b *testing.B) {
			c := large(5000, 20000)
			pod := makePod("new", "100m", change...)
			b.ResetTimer()
			for range b.N {
				c.Place(Wish{Pod: pod})
			}
		})
	}
}

func BenchmarkPreempt(b *testing.B) {
	c := large(1000, 10000)
	pod := makePod("new", "32", priority(5))
	for b.Loop() {
		_, why := c.Place(Wish{Pod: pod})
		if found, _ := why.Preempt(nil, 0); found == nil {
			b.Fatal(why)
		}
	}
}
