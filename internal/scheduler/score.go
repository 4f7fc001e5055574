package scheduler

import (
	"math"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// best is the top of a score's range.
const best = 100

// scorer gives every node points between 0 and best; nil: it has no opinion.
type scorer struct {
	weight int64
	points func(q *question, nodes []*node) []int64
}

// scorers with the field's weights.
var scorers = []scorer{
	{3, calm},
	{2, preferredNode},
	{1, leastUsed},
	{2, evenlySpread},
	{2, preferredCompany},
	{1, balanced},
	{1, hasImages},
}

// best of the nodes that fit; of equals the first.
func (q *question) best(nodes []*node) *node {
	if len(nodes) == 1 {
		return nodes[0]
	}
	total := make([]int64, len(nodes))
	for _, s := range scorers {
		for i, points := range s.points(q, nodes) {
			total[i] += s.weight * points
		}
	}
	top := 0
	for i := range total {
		if total[i] > total[top] {
			top = i
		}
	}
	return nodes[top]
}

func each(nodes []*node, points func(*node) int64) []int64 {
	out := make([]int64, len(nodes))
	for i, n := range nodes {
		out[i] = points(n)
	}
	return out
}

// scaled to the largest, which gets the best; reverse: which gets 0.
func scaled(points []int64, reverse bool) []int64 {
	most := slices.Max(points)
	for i, p := range points {
		switch {
		case most > 0:
			p = p * best / most
		case reverse:
			p = 0
		}
		if reverse {
			p = best - p
		}
		points[i] = p
	}
	return points
}

// calm: fewer taints that the pod would rather avoid.
func calm(q *question, nodes []*node) []int64 {
	return scaled(each(nodes, func(n *node) (avoided int64) {
		for i := range n.object.Spec.Taints {
			t := &n.object.Spec.Taints[i]
			if t.Effect == v1.TaintEffectPreferNoSchedule && !tolerates(q.pod.Pod, t) {
				avoided++
			}
		}
		return avoided
	}), true)
}

func preferredNode(q *question, nodes []*node) []int64 {
	a := q.pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) == 0 {
		return nil
	}
	terms, err := nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	if err != nil {
		return nil
	}
	return scaled(each(nodes, func(n *node) int64 { return terms.Score(n.object) }), false)
}

// leastUsed is the share of CPU and memory that stays free, averaged.
func leastUsed(q *question, nodes []*node) []int64 {
	return each(nodes, func(n *node) int64 {
		var sum, of int64
		for name, want := range q.pod.presumed {
			has := n.allocatable[name]
			if has == 0 {
				continue
			}
			of++
			if left := has - n.presumed[name] - want; left > 0 {
				sum += left * best / has
			}
		}
		if of == 0 {
			return 0
		}
		return sum / of
	})
}

// balanced: the pod makes the use of CPU and memory more equal than it was.
func balanced(q *question, nodes []*node) []int64 {
	if q.pod.requests[v1.ResourceCPU] == 0 && q.pod.requests[v1.ResourceMemory] == 0 {
		return nil
	}
	return each(nodes, func(n *node) int64 {
		with, without := balance(n, q.pod.requests), balance(n, nil)
		return best/2 + (best/2+with-without)/2
	})
}

// balance is best where CPU and memory are used to the same share.
func balance(n *node, more quantities) int64 {
	var shares []float64
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if has := n.allocatable[name]; has > 0 {
			shares = append(shares, min(1, float64(n.used[name]+more[name])/float64(has)))
		}
	}
	if len(shares) < 2 {
		return best
	}
	return int64((1 - math.Abs(shares[0]-shares[1])/2) * best)
}

// Sizes of images between which a node gains by having one.
const (
	smallImage = 23 << 20
	largeImage = 1000 << 20
)

// hasImages: bytes that need not be pulled. An image that few nodes have counts
// less, or all its pods would crowd there.
func hasImages(q *question, nodes []*node) []int64 {
	images := imageNames(q.pod.Pod)
	total := len(q.cluster.present())
	return each(nodes, func(n *node) int64 {
		var sum int64
		for _, name := range images {
			if size, ok := n.images[name]; ok {
				sum += int64(float64(size) * float64(q.cluster.images[name]) / float64(total))
			}
		}
		most := int64(largeImage) * int64(len(images))
		if most <= smallImage {
			return 0
		}
		return best * (min(max(sum, smallImage), most) - smallImage) / (most - smallImage)
	})
}

func imageNames(pod *v1.Pod) (names []string) {
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			names = append(names, normalImage(containers[i].Image))
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.Image != nil {
			names = append(names, normalImage(v.Image.Reference))
		}
	}
	return names
}
