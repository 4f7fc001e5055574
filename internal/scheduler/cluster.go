package scheduler

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	resourcehelper "k8s.io/component-helpers/resource"
)

// quantities of resources: CPU in thousandths, everything else in its unit.
type quantities map[v1.ResourceName]int64

func quantitiesOf(list v1.ResourceList) quantities {
	q := make(quantities, len(list))
	for name, amount := range list {
		if name == v1.ResourceCPU {
			q[name] = amount.MilliValue()
		} else {
			q[name] = amount.Value()
		}
	}
	return q
}

// hostPort is a port of a node that a pod takes; "" of ip is every address.
type hostPort struct {
	ip       string
	protocol v1.Protocol
	port     int32
}

func (p hostPort) conflicts(q hostPort) bool {
	return p.port == q.port && p.protocol == q.protocol && (p.ip == q.ip || p.ip == "" || q.ip == "")
}

// load is what a pod takes of its node.
type load struct {
	requests quantities
	ports    []hostPort
}

func loadOf(pod *v1.Pod) load {
	l := load{requests: quantitiesOf(resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{UseStatusResources: true}))}
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range containers {
			for _, p := range c.Ports {
				if p.HostPort != 0 {
					l.ports = append(l.ports, hostPort{anyAddress(p.HostIP), p.Protocol, p.HostPort})
				}
			}
		}
	}
	return l
}

func anyAddress(ip string) string {
	if ip == "0.0.0.0" || ip == "::" {
		return ""
	}
	return ip
}

// Cluster is what the scheduler knows: its nodes and what runs on them. It is
// not safe for concurrent use.
type Cluster struct {
	nodes map[string]*node
	pods  map[types.UID]string // the node each takes room on
}

type node struct {
	object      *v1.Node // nil: pods name it, but it is not (yet) there
	allocatable quantities
	pods        map[types.UID]load
	used        quantities
}

// NewCluster is empty.
func NewCluster() *Cluster {
	return &Cluster{nodes: map[string]*node{}, pods: map[types.UID]string{}}
}

func (c *Cluster) node(name string) *node {
	n, ok := c.nodes[name]
	if !ok {
		n = &node{pods: map[types.UID]load{}, used: quantities{}}
		c.nodes[name] = n
	}
	return n
}

// SetNode adds a node or replaces what is known of it.
func (c *Cluster) SetNode(object *v1.Node) {
	n := c.node(object.Name)
	n.object, n.allocatable = object, quantitiesOf(object.Status.Allocatable)
}

// RemoveNode forgets a node; pods that still name it are kept for its return.
func (c *Cluster) RemoveNode(name string) {
	if n, ok := c.nodes[name]; ok {
		n.object = nil
		c.drop(name)
	}
}

// SetPod records a pod on the node that it names, whether bound or only assumed
// there. A pod that has ended, or names no node, takes nothing.
func (c *Cluster) SetPod(pod *v1.Pod) {
	c.RemovePod(pod.UID)
	if pod.Spec.NodeName == "" || ended(pod) {
		return
	}
	n, l := c.node(pod.Spec.NodeName), loadOf(pod)
	n.pods[pod.UID] = l
	for name, amount := range l.requests {
		n.used[name] += amount
	}
	c.pods[pod.UID] = pod.Spec.NodeName
}

// RemovePod forgets a pod.
func (c *Cluster) RemovePod(uid types.UID) {
	name, ok := c.pods[uid]
	if !ok {
		return
	}
	delete(c.pods, uid)
	n := c.nodes[name]
	for resource, amount := range n.pods[uid].requests {
		n.used[resource] -= amount
	}
	delete(n.pods, uid)
	c.drop(name)
}

// drop forgets a node that is gone and has no pods left.
func (c *Cluster) drop(name string) {
	if n := c.nodes[name]; n.object == nil && len(n.pods) == 0 {
		delete(c.nodes, name)
	}
}

// free is what is left on a node.
func (n *node) free() quantities {
	free := maps.Clone(n.allocatable)
	for name, amount := range n.used {
		free[name] -= amount
	}
	return free
}

func ended(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
}
