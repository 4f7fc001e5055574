package csi

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodeIDs is the annotation in which a Node says what drivers call it.
const nodeIDs = "csi.volume.kubernetes.io/nodeid"

// facts are what a driver says of this node.
type facts struct {
	driver   string
	nodeID   string
	most     int64 // volumes; 0: no limit
	topology map[string]string
}

// newCSINode is a node without drivers.
func newCSINode(node *v1.Node) *storagev1.CSINode {
	return &storagev1.CSINode{
		ObjectMeta: metav1.ObjectMeta{
			Name:            node.Name,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}},
		},
		Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{}},
	}
}

// owned tells whether the object is of this very node, not of one that had its name.
func owned(n *storagev1.CSINode, node *v1.Node) bool {
	return slices.ContainsFunc(n.OwnerReferences, func(r metav1.OwnerReference) bool { return r.Kind == "Node" && r.UID == node.UID })
}

// withDriver is the node with the driver as it is now; nil when it says so already.
func withDriver(n *storagev1.CSINode, f facts) *storagev1.CSINode {
	want := storagev1.CSINodeDriver{Name: f.driver, NodeID: f.nodeID, TopologyKeys: slices.Sorted(maps.Keys(f.topology))}
	if f.most > 0 {
		count := int32(min(f.most, math.MaxInt32))
		want.Allocatable = &storagev1.VolumeNodeResources{Count: &count}
	}
	at := slices.IndexFunc(n.Spec.Drivers, func(d storagev1.CSINodeDriver) bool { return d.Name == f.driver })
	if at >= 0 && same(n.Spec.Drivers[at], want) {
		return nil
	}
	changed := n.DeepCopy()
	if at >= 0 {
		changed.Spec.Drivers = slices.Delete(changed.Spec.Drivers, at, at+1)
	}
	changed.Spec.Drivers = append(changed.Spec.Drivers, want)
	return changed
}

func same(a, b storagev1.CSINodeDriver) bool {
	return a.NodeID == b.NodeID && slices.Equal(slices.Sorted(slices.Values(a.TopologyKeys)), b.TopologyKeys) && limitOf(a) == limitOf(b)
}

func limitOf(d storagev1.CSINodeDriver) int32 {
	if d.Allocatable == nil || d.Allocatable.Count == nil {
		return 0
	}
	return *d.Allocatable.Count
}

// withoutDriver is the node once the driver has gone; nil when it never was there.
func withoutDriver(n *storagev1.CSINode, name string) *storagev1.CSINode {
	at := slices.IndexFunc(n.Spec.Drivers, func(d storagev1.CSINodeDriver) bool { return d.Name == name })
	if at < 0 {
		return nil
	}
	changed := n.DeepCopy()
	changed.Spec.Drivers = slices.Delete(changed.Spec.Drivers, at, at+1)
	return changed
}

// nodeChange is a merge patch that lets the Node tell of the driver, or of its end
// (an empty nodeID); nil when it says so already. A label that says otherwise is an
// error: the scheduler would send volumes astray.
func nodeChange(node *v1.Node, f facts) ([]byte, error) {
	ids := map[string]string{}
	if text := node.Annotations[nodeIDs]; text != "" {
		if err := json.Unmarshal([]byte(text), &ids); err != nil {
			return nil, fmt.Errorf("failed to parse node's %q annotation value (%q): %w", nodeIDs, text, err)
		}
	}
	changed := ids[f.driver] != f.nodeID
	ids[f.driver] = f.nodeID
	if f.nodeID == "" {
		delete(ids, f.driver)
	}
	labels := map[string]string{}
	for key, value := range f.topology {
		have, set := node.Labels[key]
		if set && have != value {
			return nil, fmt.Errorf("detected topology value collision: driver reported %q:%q but existing label is %q:%q", key, value, key, have)
		}
		if !set {
			labels[key], changed = value, true
		}
	}
	if !changed {
		return nil, nil
	}
	var annotation any // null removes it
	if len(ids) > 0 {
		text, err := json.Marshal(ids)
		if err != nil {
			return nil, err
		}
		annotation = string(text)
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{nodeIDs: annotation}, "labels": labels}})
}
