package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Config of a node's network. All fields are required.
type Config struct {
	ClusterID   string       // 8 hex digits; part of every name given to the kernel
	PodCIDR     netip.Prefix // this node's pods; the first address is the node's own
	ClusterCIDR netip.Prefix // all nodes' pods
	ServiceCIDR netip.Prefix
	StateDir    string // below the run folder
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	switch {
	case len(c.ClusterID) != 8:
		return fmt.Errorf("network: ClusterID %q: want 8 hex digits", c.ClusterID)
	case !c.PodCIDR.IsValid() || !c.PodCIDR.Addr().Is4():
		return fmt.Errorf("network: PodCIDR %q: want an IPv4 range", c.PodCIDR)
	case !c.ClusterCIDR.IsValid() || !c.ClusterCIDR.Contains(c.PodCIDR.Addr()):
		return fmt.Errorf("network: ClusterCIDR %q does not hold PodCIDR %q", c.ClusterCIDR, c.PodCIDR)
	case !c.ServiceCIDR.IsValid() || c.ServiceCIDR.Overlaps(c.ClusterCIDR):
		return fmt.Errorf("network: ServiceCIDR %q: want a range apart from ClusterCIDR %q", c.ServiceCIDR, c.ClusterCIDR)
	case c.StateDir == "":
		return errors.New("network: StateDir is empty")
	}
	return nil
}

// HostPort sends traffic for a port of the node to a port of the pod.
type HostPort struct {
	Protocol      string     `json:"protocol"` // "tcp", "udp" or "sctp"
	HostIP        netip.Addr `json:"hostIP"`   // invalid = every address of the node
	HostPort      uint16     `json:"hostPort"`
	ContainerPort uint16     `json:"containerPort"`
}

// Network is the running network of a node. Its methods are safe for
// concurrent use.
type Network struct {
	config Config
	rules  *rules

	mu    sync.Mutex // guards ipam and files; never held over a kernel call of another sandbox
	ipam  *ipam
	pods  map[string]attachment
	names map[string]*sync.Mutex // serializes calls for one sandbox
}

// attachment is what a file of the state folder holds.
type attachment struct {
	Addr      netip.Addr `json:"addr"`
	Link      string     `json:"link"` // host end of the veth
	HostPorts []HostPort `json:"hostPorts,omitempty"`
}

// New brings up the anchor, the routes and the rules, and takes over what an
// earlier run attached.
func New(config Config) (*Network, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(config.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	n := &Network{config: config, ipam: newIPAM(config.PodCIDR), names: map[string]*sync.Mutex{}}
	var err error
	if n.pods, err = load(config.StateDir); err != nil {
		return nil, err
	}
	for _, a := range n.pods {
		n.ipam.take(a.Addr)
	}
	if err := anchorUp(config); err != nil {
		return nil, err
	}
	n.rules = newRules(config)
	if err := n.rules.install(n.pods); err != nil {
		return nil, fmt.Errorf("install packet rules: %w", err)
	}
	return n, nil
}

// NodeAddr is the node's own address in its pod range.
func (n *Network) NodeAddr() netip.Addr { return nodeAddr(n.config.PodCIDR) }

func nodeAddr(podCIDR netip.Prefix) netip.Addr { return podCIDR.Masked().Addr().Next() }

// Attach gives the namespace at netns a link and an address. A second call for
// a sandbox returns the first one's address.
func (n *Network) Attach(_ context.Context, sandboxID, netns string, ports []HostPort) (netip.Addr, error) {
	defer n.lock(sandboxID)()
	a, done, err := n.reserve(sandboxID, ports)
	if err != nil {
		return netip.Addr{}, err
	}
	if done && linkExists(a.Link) {
		return a.Addr, nil
	}
	if err := connect(a, netns, n.NodeAddr()); err != nil {
		return netip.Addr{}, fmt.Errorf("attach sandbox %s: %w", short(sandboxID), errors.Join(err, n.release(sandboxID)))
	}
	if err := n.rules.add(a); err != nil {
		return netip.Addr{}, fmt.Errorf("packet rules of sandbox %s: %w", short(sandboxID), errors.Join(err, n.release(sandboxID)))
	}
	return a.Addr, nil
}

// Detach takes back the address, the link and the host ports. It is no error if
// there are none.
func (n *Network) Detach(_ context.Context, sandboxID string) error {
	defer n.lock(sandboxID)()
	return n.release(sandboxID)
}

// Status is nil while the anchor is up.
func (n *Network) Status(context.Context) error {
	if !linkExists(anchorName(n.config.ClusterID)) {
		return fmt.Errorf("link %s is gone; restart proa to bring it back", anchorName(n.config.ClusterID))
	}
	return nil
}

// reserve writes down what the sandbox gets before the kernel hears of it, so
// that a crash in between leaks nothing: Detach finds the file.
func (n *Network) reserve(sandboxID string, ports []HostPort) (a attachment, done bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, ok := n.pods[sandboxID]; ok {
		return a, true, nil
	}
	addr, ok := n.ipam.next()
	if !ok {
		return attachment{}, false, fmt.Errorf("no address is free in %s; delete pods, or give the node a larger range", n.config.PodCIDR)
	}
	a = attachment{Addr: addr, Link: linkName(n.config.ClusterID, sandboxID), HostPorts: ports}
	if err := save(n.config.StateDir, sandboxID, a); err != nil {
		n.ipam.free(addr)
		return attachment{}, false, err
	}
	n.pods[sandboxID] = a
	return a, false, nil
}

func (n *Network) release(sandboxID string) error {
	n.mu.Lock()
	a, ok := n.pods[sandboxID]
	n.mu.Unlock()
	if !ok {
		return nil
	}
	if err := n.dropRules(sandboxID, a); err != nil {
		return fmt.Errorf("remove packet rules of sandbox %s: %w", short(sandboxID), err)
	}
	// The link goes with its namespace, asynchronously and 100 times cheaper than
	// by hand. What must not stay is the route: the address may be given again.
	if err := dropRoute(a); err != nil {
		return fmt.Errorf("remove route of sandbox %s: %w", short(sandboxID), err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := os.Remove(statePath(n.config.StateDir, sandboxID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	delete(n.pods, sandboxID)
	n.ipam.free(a.Addr)
	return nil
}

// dropRules takes the sandbox's elements out of the table. If somebody else
// changed the table, it is laid anew without them.
func (n *Network) dropRules(sandboxID string, a attachment) error {
	err := n.rules.remove(a)
	if !errors.Is(err, syscall.ENOENT) {
		return err
	}
	n.mu.Lock()
	others := maps.Clone(n.pods)
	n.mu.Unlock()
	delete(others, sandboxID)
	return n.rules.install(others)
}

// Sandboxes that are attached, by ID.
func (n *Network) Sandboxes() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	ids := make([]string, 0, len(n.pods))
	for id := range n.pods {
		ids = append(ids, id)
	}
	return ids
}

// Remove takes the links of a cluster, their routes and the rules off the machine.
// Sandboxes must be gone.
func Remove(clusterID string) error {
	return errors.Join(removeRules(clusterID), removeLink(tunnelName(clusterID)), removeLink(anchorName(clusterID)))
}

func (n *Network) lock(sandboxID string) (unlock func()) {
	n.mu.Lock()
	m, ok := n.names[sandboxID]
	if !ok {
		m = &sync.Mutex{}
		n.names[sandboxID] = m
	}
	n.mu.Unlock()
	m.Lock()
	return func() {
		m.Unlock()
		n.mu.Lock()
		defer n.mu.Unlock()
		if _, attached := n.pods[sandboxID]; !attached && m.TryLock() {
			delete(n.names, sandboxID)
			m.Unlock()
		}
	}
}

func statePath(dir, sandboxID string) string { return filepath.Join(dir, sandboxID+".json") }

func short(id string) string { return id[:min(len(id), 12)] }
