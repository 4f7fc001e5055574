package scheduler

// How many nodes are looked at: all of a small cluster. Of a large one, enough
// that fit to choose well among them. The figures are the field's.
const (
	fewNodes     = 100
	leastPercent = 5
	mostPercent  = 50
	percentStep  = 125 // so many more nodes make it a percent less
)

func enough(nodes int) int {
	if nodes < fewNodes {
		return nodes
	}
	return max(fewNodes, nodes*max(mostPercent-nodes/percentStep, leastPercent)/100)
}

// Place picks the node for a pod, or says of every node why it can't be.
func (c *Cluster) Place(w Wish) (nodeName string, why *Unfit) {
	q := c.ask(w)
	if n, ok := c.nominated[w.Pod.UID]; ok && n.node.object != nil && len(q.refuse(n.node)) == 0 {
		return n.node.name, nil
	}
	fitting, why := q.search()
	if len(fitting) == 0 {
		return "", why
	}
	return q.best(fitting).name, nil
}

// search goes around the nodes from where the last search ended.
func (q *question) search() (fitting []*node, why *Unfit) {
	nodes := q.cluster.present()
	why = &Unfit{question: q, refused: make(map[*node][]Reason)}
	most, looked := enough(len(nodes)), 0
	for ; looked < len(nodes) && len(fitting) < most; looked++ {
		n := nodes[(q.cluster.next+looked)%len(nodes)]
		if q.only != nil && !q.only.Has(n.name) {
			why.refused[n] = isUnnamed
		} else if reasons := q.refuse(n); len(reasons) > 0 {
			why.refused[n] = reasons
		} else {
			fitting = append(fitting, n)
		}
	}
	if len(nodes) > 0 {
		q.cluster.next = (q.cluster.next + looked) % len(nodes)
	}
	return fitting, why
}

// nowhere is the answer for a pod that no node needs to be asked about.
func (c *Cluster) nowhere(w Wish, reason string) *Unfit {
	return &Unfit{question: &question{cluster: c, pod: newPodInfo(w.Pod), wish: w}, Nowhere: reason, concerns: OfVolumes}
}
