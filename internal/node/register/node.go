package register

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/node/evict"
)

// Pressure is what the node is short of.
type Pressure struct {
	Memory, Disk, PID bool
}

// State is what changes while the node runs.
type State struct {
	Addresses []v1.NodeAddress
	// Annotations come on top of those of the Config.
	Annotations map[string]string
	// Problems keep the node from being Ready, by who reports them.
	Problems map[string]error
	Pressure Pressure

	RuntimeName, RuntimeVersion string
	Handlers                    []v1.NodeRuntimeHandler
	Features                    *v1.NodeFeatures
	Images                      []v1.ContainerImage
}

// Reserve is what pods may not have of the machine.
type Reserve struct {
	// Resources are for the system and this agent.
	Resources v1.ResourceList
	// EvictionMemory and EvictionDisk are left free: below them pods are evicted.
	EvictionMemory, EvictionDisk evict.Amount
}

// Desired is the Node object as this machine alone would have it. Conditions carry no times.
func Desired(cfg Config, m Machine, s State) *v1.Node {
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: cfg.Name, Labels: desiredLabels(cfg, m), Annotations: overlay(cfg.Annotations, s.Annotations)},
		Spec:       v1.NodeSpec{Taints: cfg.Taints, ProviderID: cfg.ProviderID},
	}
	if len(cfg.PodCIDRs) > 0 {
		node.Spec.PodCIDR, node.Spec.PodCIDRs = cfg.PodCIDRs[0], cfg.PodCIDRs
	}
	capacity := capacityOf(cfg, m)
	node.Status = v1.NodeStatus{
		Capacity:    capacity,
		Allocatable: allocatableOf(capacity, cfg.Reserve),
		Addresses:   addressesOf(cfg, s),
		Conditions:  conditionsOf(s),
		DaemonEndpoints: v1.NodeDaemonEndpoints{
			KubeletEndpoint: v1.DaemonEndpoint{Port: cfg.Port},
		},
		NodeInfo: v1.NodeSystemInfo{
			MachineID:               m.MachineID,
			SystemUUID:              m.SystemUUID,
			BootID:                  m.BootID,
			KernelVersion:           m.Kernel,
			OSImage:                 m.OSImage,
			ContainerRuntimeVersion: fmt.Sprintf("%s://%s", s.RuntimeName, s.RuntimeVersion),
			KubeletVersion:          cfg.Version,
			OperatingSystem:         m.OS,
			Architecture:            m.Arch,
			Swap:                    swapOf(m),
			RunningInUserNamespace:  &m.Nested,
		},
		Images:          s.Images,
		RuntimeHandlers: s.Handlers,
		Features:        s.Features,
	}
	return node
}

func desiredLabels(cfg Config, m Machine) map[string]string {
	labels := map[string]string{
		v1.LabelHostname:          cfg.Hostname,
		v1.LabelOSStable:          m.OS,
		v1.LabelArchStable:        m.Arch,
		"beta.kubernetes.io/os":   m.OS,
		"beta.kubernetes.io/arch": m.Arch,
	}
	maps.Copy(labels, cfg.Labels)
	return labels
}

func capacityOf(cfg Config, m Machine) v1.ResourceList {
	capacity := v1.ResourceList{
		v1.ResourceCPU:              *resource.NewQuantity(int64(m.CPUs), resource.DecimalSI),
		v1.ResourceMemory:           *resource.NewQuantity(m.MemoryBytes, resource.BinarySI),
		v1.ResourceEphemeralStorage: *resource.NewQuantity(m.DiskBytes, resource.BinarySI),
		v1.ResourcePods:             *resource.NewQuantity(int64(cfg.MaxPods), resource.DecimalSI),
	}
	for size, count := range m.HugePages {
		page := resource.NewQuantity(size, resource.BinarySI)
		capacity[v1.ResourceName(v1.ResourceHugePagesPrefix+page.String())] = *resource.NewQuantity(size*count, resource.BinarySI)
	}
	return capacity
}

// allocatableOf takes off what is reserved, and never goes below nothing. Huge pages are not for the page cache: they come off
// the memory too.
func allocatableOf(capacity v1.ResourceList, reserve Reserve) v1.ResourceList {
	out := capacity.DeepCopy()
	take := func(name v1.ResourceName, amount resource.Quantity) {
		have, ok := out[name]
		if !ok {
			return
		}
		have.Sub(amount)
		if have.Sign() < 0 {
			have.Set(0)
		}
		out[name] = have
	}
	for name, amount := range reserve.Resources {
		take(name, amount)
	}
	leave := func(name v1.ResourceName, part evict.Amount) {
		all := capacity[name]
		take(name, *resource.NewQuantity(part.Of(all.Value()), resource.BinarySI))
	}
	leave(v1.ResourceMemory, reserve.EvictionMemory)
	leave(v1.ResourceEphemeralStorage, reserve.EvictionDisk)
	for name, amount := range capacity {
		if len(name) > len(v1.ResourceHugePagesPrefix) && string(name[:len(v1.ResourceHugePagesPrefix)]) == v1.ResourceHugePagesPrefix {
			take(v1.ResourceMemory, amount)
		}
	}
	return out
}

func addressesOf(cfg Config, s State) []v1.NodeAddress {
	return append(slices.Clone(s.Addresses), v1.NodeAddress{Type: v1.NodeHostName, Address: cfg.Hostname})
}

// conditionsOf words the conditions as upstream's node agent does: programs match on them.
func conditionsOf(s State) []v1.NodeCondition {
	pick := func(kind v1.NodeConditionType, bad bool, badReason, badMessage, goodReason, goodMessage string) v1.NodeCondition {
		if bad {
			return v1.NodeCondition{Type: kind, Status: v1.ConditionTrue, Reason: badReason, Message: badMessage}
		}
		return v1.NodeCondition{Type: kind, Status: v1.ConditionFalse, Reason: goodReason, Message: goodMessage}
	}
	return []v1.NodeCondition{
		pick(v1.NodeMemoryPressure, s.Pressure.Memory, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available",
			"KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
		pick(v1.NodeDiskPressure, s.Pressure.Disk, "KubeletHasDiskPressure", "kubelet has disk pressure",
			"KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
		pick(v1.NodePIDPressure, s.Pressure.PID, "KubeletHasInsufficientPID", "kubelet has insufficient PID available",
			"KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		readyCondition(s),
	}
}

func readyCondition(s State) v1.NodeCondition {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.Problems)) {
		if err := s.Problems[name]; err != nil {
			problems = append(problems, err)
		}
	}
	if err := joinProblems(problems); err != nil {
		return v1.NodeCondition{Type: v1.NodeReady, Status: v1.ConditionFalse, Reason: "KubeletNotReady", Message: err.Error()}
	}
	return v1.NodeCondition{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"}
}

// Merge puts what this machine has to say into the object as it stands in the API, and leaves the rest to its owners: labels,
// annotations and taints of others, conditions that others set. Heartbeats are now; a transition is now where a status changed.
func Merge(existing, desired *v1.Node, now time.Time) *v1.Node {
	out := existing.DeepCopy()
	out.Labels = overlay(out.Labels, desired.Labels)
	out.Annotations = overlay(out.Annotations, desired.Annotations)
	if out.Spec.PodCIDR == "" && len(out.Spec.PodCIDRs) == 0 {
		// Immutable once set: another owner may have been first.
		out.Spec.PodCIDR, out.Spec.PodCIDRs = desired.Spec.PodCIDR, desired.Spec.PodCIDRs
	}
	if out.Spec.ProviderID == "" {
		out.Spec.ProviderID = desired.Spec.ProviderID
	}
	status := &out.Status
	status.Capacity = mergeResources(status.Capacity, desired.Status.Capacity)
	status.Allocatable = mergeResources(status.Allocatable, desired.Status.Allocatable)
	status.Addresses = desired.Status.Addresses
	status.DaemonEndpoints = desired.Status.DaemonEndpoints
	status.NodeInfo = desired.Status.NodeInfo
	status.Images = desired.Status.Images
	status.RuntimeHandlers = desired.Status.RuntimeHandlers
	status.Features = desired.Status.Features
	for _, c := range desired.Status.Conditions {
		status.Conditions = setCondition(status.Conditions, c, metav1.NewTime(now))
	}
	return out
}

func overlay(base, top map[string]string) map[string]string {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, top)
	return out
}

// mergeResources keeps extended resources, which device plugins and clients report, and drops huge pages that are gone.
func mergeResources(existing, desired v1.ResourceList) v1.ResourceList {
	out := desired.DeepCopy()
	for name, amount := range existing {
		if _, ours := out[name]; !ours && extended(name) {
			out[name] = amount
		}
	}
	return out
}

// extended tells resources with a domain that isn't Kubernetes' own.
func extended(name v1.ResourceName) bool {
	for i := range name {
		if name[i] == '/' {
			return string(name[:i]) != "kubernetes.io"
		}
	}
	return false
}

func setCondition(conditions []v1.NodeCondition, c v1.NodeCondition, now metav1.Time) []v1.NodeCondition {
	c.LastHeartbeatTime, c.LastTransitionTime = now, now
	for i := range conditions {
		if conditions[i].Type != c.Type {
			continue
		}
		if conditions[i].Status == c.Status {
			c.LastTransitionTime = conditions[i].LastTransitionTime
		}
		conditions[i] = c
		return conditions
	}
	return append(conditions, c)
}

// sameStatus compares all but the times of heartbeats.
func sameStatus(a, b *v1.NodeStatus) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, status := range []*v1.NodeStatus{a, b} {
		for i := range status.Conditions {
			status.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
	}
	return equality.Semantic.DeepEqual(a, b)
}

func isReady(node *v1.Node) bool { return holds(node, v1.NodeReady) }

func holds(node *v1.Node, kind v1.NodeConditionType) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == kind {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// turns are what events call a condition's turn to false and to true.
var turns = []struct {
	kind    v1.NodeConditionType
	off, on string
}{
	{v1.NodeMemoryPressure, "NodeHasSufficientMemory", "NodeHasInsufficientMemory"},
	{v1.NodeDiskPressure, "NodeHasNoDiskPressure", "NodeHasDiskPressure"},
	{v1.NodePIDPressure, "NodeHasSufficientPID", "NodeHasInsufficientPID"},
	{v1.NodeReady, "NodeNotReady", "NodeReady"},
}

// transitions lists the reasons of events on conditions that have turned; before a
// node was seen, all have.
func transitions(before, now *v1.Node) (reasons []string) {
	for _, t := range turns {
		on := holds(now, t.kind)
		switch {
		case before != nil && holds(before, t.kind) == on:
		case before == nil && t.kind == v1.NodeReady && !on: // it never was
		case on:
			reasons = append(reasons, t.on)
		default:
			reasons = append(reasons, t.off)
		}
	}
	return reasons
}

// swapOf the machine; nil when it has none.
func swapOf(m Machine) *v1.NodeSwapStatus {
	if m.SwapBytes == 0 {
		return nil
	}
	return &v1.NodeSwapStatus{Capacity: &m.SwapBytes}
}
