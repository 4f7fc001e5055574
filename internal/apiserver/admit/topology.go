package admit

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/admission"
)

// topologyLabels are given to pods with their node, so that they can know where
// they are.
var topologyLabels = []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion}

// PodTopology labels a pod that gets a node, by its author or by a scheduler, with
// the node's zone and region.
type PodTopology struct {
	node func(ctx context.Context, name string) (*corev1.Node, error)
}

var _ admission.MutationInterface = PodTopology{}

// LabelTopology looks nodes up through get.
func LabelTopology(get func(ctx context.Context, name string) (*corev1.Node, error)) admission.Interface {
	return PodTopology{get}
}

func (PodTopology) Handles(o admission.Operation) bool { return o == admission.Create }

func (p PodTopology) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	if a.GetResource().GroupResource() != pods {
		return nil
	}
	switch o := a.GetObject().(type) {
	case *corev1.Pod:
		if a.GetSubresource() == "" && o.Spec.NodeName != "" {
			return p.label(ctx, o.Spec.NodeName, &o.Labels)
		}
	case *corev1.Binding:
		if o.Target.Kind == "Node" || o.Target.Kind == "" {
			return p.label(ctx, o.Target.Name, &o.Labels)
		}
	}
	return nil
}

func (p PodTopology) label(ctx context.Context, node string, labels *map[string]string) error {
	n, err := p.node(ctx, node)
	if apierrors.IsNotFound(err) {
		return nil // a pod may be made for a node that is to come
	}
	if err != nil {
		return err
	}
	for _, key := range topologyLabels {
		if value, ok := n.Labels[key]; ok {
			if *labels == nil {
				*labels = map[string]string{}
			}
			(*labels)[key] = value
		}
	}
	return nil
}
