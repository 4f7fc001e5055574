package scheduler

import (
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Cluster is what the scheduler knows: its nodes and what runs on them. It is
// not safe for concurrent use.
type Cluster struct {
	nodes      map[string]*node
	pods       map[types.UID]*placed
	nominated  map[types.UID]*placed // pods that wait for room on a node that was cleared for them
	namespaces map[string]labels.Set
	images     map[string]int // on how many nodes an image is

	// Indexes of pods, for questions that are about some of them only.
	byNamespace map[string]map[types.UID]*placed
	avoiding    map[types.UID]*placed // have required anti-affinity
	social      map[types.UID]*placed // have affinity that others' scores feel

	order []*node // those that are there, by name; nil: to be made anew
	next  int     // where in order the next search begins
}

// node and what takes room on it.
type node struct {
	name        string
	object      *v1.Node // nil: pods name it, but it is not (yet) there
	allocatable quantities
	images      map[string]int64 // sizes
	pods        map[types.UID]*podInfo
	used        quantities
	presumed    quantities
}

// placed is a pod on its node.
type placed struct {
	*podInfo
	node *node
}

// NewCluster is empty.
func NewCluster() *Cluster {
	return &Cluster{
		nodes: map[string]*node{}, pods: map[types.UID]*placed{}, nominated: map[types.UID]*placed{},
		namespaces: map[string]labels.Set{}, images: map[string]int{},
		byNamespace: map[string]map[types.UID]*placed{}, avoiding: map[types.UID]*placed{}, social: map[types.UID]*placed{},
	}
}

func (c *Cluster) node(name string) *node {
	n, ok := c.nodes[name]
	if !ok {
		n = &node{name: name, pods: map[types.UID]*podInfo{}, used: quantities{}, presumed: quantities{}}
		c.nodes[name] = n
	}
	return n
}

// SetNode adds a node or replaces what is known of it.
func (c *Cluster) SetNode(object *v1.Node) {
	n := c.node(object.Name)
	if n.object == nil {
		c.order = nil
	}
	n.object, n.allocatable = object, quantitiesOf(object.Status.Allocatable)
	c.setImages(n, imagesOf(object))
}

func (c *Cluster) setImages(n *node, images map[string]int64) {
	for name := range n.images {
		if c.images[name]--; c.images[name] == 0 {
			delete(c.images, name)
		}
	}
	n.images = images
	for name := range images {
		c.images[name]++
	}
}

// RemoveNode forgets a node; pods that still name it are kept for its return.
func (c *Cluster) RemoveNode(name string) {
	n, ok := c.nodes[name]
	if !ok {
		return
	}
	n.object, c.order = nil, nil
	c.setImages(n, nil)
	c.drop(n)
}

// SetNamespace notes a namespace's labels: affinity selects by them.
func (c *Cluster) SetNamespace(name string, set map[string]string) {
	c.namespaces[name] = set
}

// RemoveNamespace forgets them.
func (c *Cluster) RemoveNamespace(name string) { delete(c.namespaces, name) }

// SetPod records a pod on the node that it names, whether bound or only assumed
// there. A pod that has ended, or names no node, takes nothing.
func (c *Cluster) SetPod(pod *v1.Pod) {
	c.RemovePod(pod.UID)
	if pod.Spec.NodeName == "" || ended(pod) {
		return
	}
	delete(c.nominated, pod.UID)
	p := &placed{newPodInfo(pod), c.node(pod.Spec.NodeName)}
	p.node.take(p.podInfo)
	c.pods[pod.UID] = p
	in := c.byNamespace[pod.Namespace]
	if in == nil {
		in = map[types.UID]*placed{}
		c.byNamespace[pod.Namespace] = in
	}
	in[pod.UID] = p
	if len(p.avoids) > 0 {
		c.avoiding[pod.UID] = p
	}
	if len(p.needs) > 0 || len(p.prefers) > 0 {
		c.social[pod.UID] = p
	}
}

// RemovePod forgets a pod.
func (c *Cluster) RemovePod(uid types.UID) {
	p, ok := c.pods[uid]
	if !ok {
		return
	}
	p.node.release(p.podInfo)
	delete(c.pods, uid)
	delete(c.avoiding, uid)
	delete(c.social, uid)
	in := c.byNamespace[p.Namespace]
	if delete(in, uid); len(in) == 0 {
		delete(c.byNamespace, p.Namespace)
	}
	c.drop(p.node)
}

// Nominate reserves room on a node for a pod that waits for others to leave it;
// an empty name ends that. It tells whether that is a change.
func (c *Cluster) Nominate(pod *v1.Pod, nodeName string) (changed bool) {
	if old, ok := c.nominated[pod.UID]; ok {
		if old.node.name == nodeName {
			return false
		}
		delete(c.nominated, pod.UID)
		c.drop(old.node)
		changed = true
	}
	if nodeName == "" {
		return changed
	}
	c.nominated[pod.UID] = &placed{newPodInfo(pod), c.node(nodeName)}
	return true
}

// Placed says where a pod takes room.
func (c *Cluster) Placed(uid types.UID) (nodeName string, ok bool) {
	p, ok := c.pods[uid]
	if !ok {
		return "", false
	}
	return p.node.name, true
}

// drop forgets a node that is gone and that no pod names.
func (c *Cluster) drop(n *node) {
	if n.object != nil || len(n.pods) > 0 || c.nodes[n.name] != n {
		return
	}
	for _, p := range c.nominated {
		if p.node == n {
			return
		}
	}
	delete(c.nodes, n.name)
}

// present are the nodes that are there, by name.
func (c *Cluster) present() []*node {
	if c.order == nil {
		c.order = make([]*node, 0, len(c.nodes))
		for _, n := range c.nodes {
			if n.object != nil {
				c.order = append(c.order, n)
			}
		}
		slices.SortFunc(c.order, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	}
	return c.order
}

func (n *node) take(p *podInfo) {
	n.pods[p.UID] = p
	n.used.add(p.requests)
	n.presumed.add(p.presumed)
}

func (n *node) release(p *podInfo) {
	delete(n.pods, p.UID)
	n.used.subtract(p.requests)
	n.presumed.subtract(p.presumed)
}

// copied is a node to try things on.
func (n *node) copied() *node {
	c := *n
	c.pods, c.used, c.presumed = maps.Clone(n.pods), maps.Clone(n.used), maps.Clone(n.presumed)
	return &c
}

func imagesOf(object *v1.Node) map[string]int64 {
	images := map[string]int64{}
	for _, image := range object.Status.Images {
		for _, name := range image.Names {
			images[normalImage(name)] = image.SizeBytes
		}
	}
	return images
}

// normalImage is an image's name with a tag.
func normalImage(name string) string {
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		name += ":latest"
	}
	return name
}
