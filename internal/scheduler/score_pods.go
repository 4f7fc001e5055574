package scheduler

import (
	"math"
	"slices"
)

// evenlySpread: fewer of the pods that are to be spread in the node's places. A
// constraint counts for more the more places there are.
func evenlySpread(q *question, nodes []*node) []int64 {
	soft := q.cluster.spreads(q, softConstraints(q.wish))
	if len(soft) == 0 {
		return nil
	}
	ignored := make([]bool, len(nodes))
	for i, n := range nodes {
		ignored[i] = !soft[0].everyConstraintOn(n)
	}
	weights := make([]float64, len(soft))
	for i := range soft {
		weights[i] = math.Log(float64(soft[i].placesOf(nodes, ignored) + 2))
	}
	points := make([]int64, len(nodes))
	for i, n := range nodes {
		if ignored[i] {
			continue
		}
		sum := 0.0
		for j := range soft {
			if value, ok := n.object.Labels[soft[j].key]; ok {
				sum += float64(soft[j].places[value])*weights[j] + float64(soft[j].maxSkew-1)
			}
		}
		points[i] = int64(math.Round(sum))
	}
	return fewest(points, ignored)
}

// placesOf some nodes only.
func (s *spread) placesOf(nodes []*node, ignored []bool) int {
	values := map[string]bool{}
	for i, n := range nodes {
		if value, ok := n.object.Labels[s.key]; ok && !ignored[i] {
			values[value] = true
		}
	}
	return len(values)
}

// fewest turns counts into points: the least gets the best.
func fewest(counts []int64, ignored []bool) []int64 {
	least, most := int64(math.MaxInt64), int64(0)
	for i, c := range counts {
		if !ignored[i] {
			least, most = min(least, c), max(most, c)
		}
	}
	for i := range counts {
		switch {
		case ignored[i]:
			counts[i] = 0
		case most == 0:
			counts[i] = best
		default:
			counts[i] = best * (most + least - counts[i]) / most
		}
	}
	return counts
}

// A pod that needs others near it would also have more of them come.
const needWeight = 1

// feelings are the sums of what pods think of each other, by topology key and value.
type feelings map[string]map[string]int64

func (f feelings) add(t *term, weight int64, n *node) {
	if n.object == nil {
		return
	}
	value, ok := n.object.Labels[t.topologyKey]
	if !ok {
		return
	}
	if f[t.topologyKey] == nil {
		f[t.topologyKey] = map[string]int64{}
	}
	f[t.topologyKey][value] += weight
}

func (f feelings) at(n *node) (sum int64) {
	for key, values := range f {
		if value, ok := n.object.Labels[key]; ok {
			sum += values[value]
		}
	}
	return sum
}

// preferredCompany: what the pod and the pods in the node's places think of each other.
func preferredCompany(q *question, nodes []*node) []int64 {
	sums := feelings{}
	if len(q.pod.prefers) > 0 {
		for _, p := range q.cluster.pods {
			for i := range q.pod.prefers {
				if t := &q.pod.prefers[i]; t.matches(p.Pod, nil) {
					sums.add(&t.term, t.weight, p.node)
				}
			}
		}
	}
	namespace := q.cluster.namespaces[q.pod.Namespace]
	for _, p := range q.cluster.social {
		for i := range p.needs {
			if t := &p.needs[i]; t.matches(q.pod.Pod, namespace) {
				sums.add(t, needWeight, p.node)
			}
		}
		for i := range p.prefers {
			if t := &p.prefers[i]; t.matches(q.pod.Pod, namespace) {
				sums.add(&t.term, t.weight, p.node)
			}
		}
	}
	if len(sums) == 0 {
		return nil
	}
	return stretched(each(nodes, sums.at))
}

// stretched over the whole range: the least gets 0, the most the best.
func stretched(points []int64) []int64 {
	least, most := slices.Min(points), slices.Max(points)
	for i := range points {
		if most == least {
			points[i] = 0
		} else {
			points[i] = int64(best * (float64(points[i]-least) / float64(most-least)))
		}
	}
	return points
}
