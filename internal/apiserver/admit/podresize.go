package admit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	resourcehelper "k8s.io/component-helpers/resource"
)

// Causes of a resize that its node could never grant.
const (
	causeCapacity metav1.CauseType = "NodeCapacity"
	causePlatform metav1.CauseType = "UnsupportedPlatform"
)

// PodResize refuses resizes that a pod's node will never have room for. Those that
// only must wait for room are the node's to defer.
func PodResize(node func(context.Context, string) (*corev1.Node, error)) admission.Interface {
	return Plugin[*corev1.Pod]{Name: "PodResizeValidator", Resource: pods, Subresources: []string{"resize"},
		Operations: []admission.Operation{admission.Update},
		Check: func(ctx context.Context, r Request[*corev1.Pod]) error {
			if r.GetSubresource() != "resize" || r.Object.Spec.NodeName == "" || r.Object.Generation == r.Old.Generation {
				return nil
			}
			n, err := node(ctx, r.Object.Spec.NodeName)
			switch {
			case apierrors.IsNotFound(err):
				return admission.NewForbidden(r, fmt.Errorf("node %q not found", r.Object.Spec.NodeName))
			case err != nil:
				return admission.NewForbidden(r, fmt.Errorf("failed to get node %q: %w", r.Object.Spec.NodeName, err))
			}
			if os, told := n.Labels[corev1.LabelOSStable]; told && os != string(corev1.Linux) {
				return refuseResize(r, causePlatform, fmt.Errorf("pod resize is only supported on linux nodes, node %q is %q", n.Name, os))
			}
			return refuseResize(r, causeCapacity, fitsNode(r.Object, n.Status.Allocatable))
		},
	}
}

// fitsNode compares with the empty node: what else runs there may go.
func fitsNode(pod *corev1.Pod, node corev1.ResourceList) error {
	wants := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	var lacks []string
	if cpu := wants.Cpu(); cpu.Cmp(*node.Cpu()) > 0 {
		lacks = append(lacks, fmt.Sprintf("cpu, requested: %d, allocatable: %d", cpu.MilliValue(), node.Cpu().MilliValue()))
	}
	if memory := wants.Memory(); memory.Cmp(*node.Memory()) > 0 {
		lacks = append(lacks, fmt.Sprintf("memory, requested: %d, allocatable: %d", memory.Value(), node.Memory().Value()))
	}
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("node didn't have enough allocatable resources: %s", strings.Join(lacks, "; "))
}

// refuseResize names the cause, which clients tell apart; nil for no error.
func refuseResize(r admission.Attributes, cause metav1.CauseType, err error) error {
	if err == nil {
		return nil
	}
	forbidden := admission.NewForbidden(r, err)
	if status := (*apierrors.StatusError)(nil); errors.As(forbidden, &status) {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Type: cause})
	}
	return forbidden
}
