package core

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func nodeColumns() []metav1.TableColumnDefinition {
	info, status := v1.NodeSystemInfo{}.SwaggerDoc(), v1.NodeStatus{}.SwaggerDoc()
	return meta.Table(
		meta.Name(),
		meta.String("Status", "The status of the node"),
		meta.String("Roles", "The roles of the node"),
		meta.Created(),
		meta.String("Version", info["kubeletVersion"]),
		meta.Wide(meta.String("Internal-IP", status["addresses"])),
		meta.Wide(meta.String("External-IP", status["addresses"])),
		meta.Wide(meta.String("OS-Image", info["osImage"])),
		meta.Wide(meta.String("Kernel-Version", info["kernelVersion"])),
		meta.Wide(meta.String("Container-Runtime", info["containerRuntimeVersion"])),
	)
}

func nodeRow(node *v1.Node, now metav1.Time) []any {
	info := &node.Status.NodeInfo
	kernel := orUnknown(info.KernelVersion)
	if info.Architecture != "" {
		kernel += " (" + info.Architecture + ")"
	}
	return []any{
		node.Name, nodeStatusCell(node), orNone(strings.Join(nodeRoles(node), ",")), meta.Age(node.CreationTimestamp, now), info.KubeletVersion,
		addressCell(node, v1.NodeInternalIP), addressCell(node, v1.NodeExternalIP), orUnknown(info.OSImage), kernel, orUnknown(info.ContainerRuntimeVersion),
	}
}

func orUnknown(s string) string {
	if s == "" {
		return meta.Unknown
	}
	return s
}

func nodeStatusCell(node *v1.Node) string {
	status := "Unknown"
	for _, c := range node.Status.Conditions {
		if c.Type != v1.NodeReady {
			continue
		}
		status = "NotReady"
		if c.Status == v1.ConditionTrue {
			status = "Ready"
		}
	}
	if node.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	return status
}

// nodeRoles are said by labels, in the new form or the old.
func nodeRoles(node *v1.Node) []string {
	roles := sets.Set[string]{}
	for key, value := range node.Labels {
		if role, is := strings.CutPrefix(key, "node-role.kubernetes.io/"); is && role != "" {
			roles.Insert(role)
		}
		if key == "kubernetes.io/role" && value != "" {
			roles.Insert(value)
		}
	}
	return sets.List(roles)
}

func addressCell(node *v1.Node, kind v1.NodeAddressType) string {
	for _, address := range node.Status.Addresses {
		if address.Type == kind {
			return address.Address
		}
	}
	return meta.None
}
