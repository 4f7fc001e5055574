package daemonset

import (
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// fit of a DaemonSet on a node.
type fit struct {
	run  bool // a pod is to be there
	stay bool // one that is there may go on
}

// fitter tells where a DaemonSet's pods go; made once for all nodes.
type fitter struct {
	node        string // the only one, if the template names one
	affinity    nodeaffinity.RequiredNodeAffinity
	tolerations []v1.Toleration
}

func newFitter(ds *appsv1.DaemonSet) fitter {
	spec := &ds.Spec.Template.Spec
	return fitter{
		node: spec.NodeName, affinity: nodeaffinity.NewRequiredNodeAffinity(spec.NodeSelector, spec.Affinity),
		tolerations: tolerations(spec),
	}
}

func (f fitter) on(node *v1.Node) fit {
	if f.node != "" && f.node != node.Name {
		return fit{}
	}
	if ok, _ := f.affinity.Match(node); !ok {
		return fit{}
	}
	if f.repelled(node, v1.TaintEffectNoExecute) {
		return fit{}
	}
	return fit{run: !f.repelled(node, v1.TaintEffectNoSchedule), stay: true}
}

func (f fitter) repelled(node *v1.Node, effect v1.TaintEffect) bool {
	only := func(t *v1.Taint) bool { return t.Effect == effect }
	_, repelled := scheduling.FindMatchingUntoleratedTaint(klog.Background(), node.Spec.Taints, f.tolerations, only, true)
	return repelled
}

// tolerations of daemon pods: they belong to their node in good and bad times.
func tolerations(spec *v1.PodSpec) []v1.Toleration {
	all := append([]v1.Toleration(nil), spec.Tolerations...)
	add := func(key string, effect v1.TaintEffect) {
		want := v1.Toleration{Key: key, Operator: v1.TolerationOpExists, Effect: effect}
		for i, t := range all {
			if t.MatchToleration(&want) {
				all[i] = want // for ever
				return
			}
		}
		all = append(all, want)
	}
	add(v1.TaintNodeNotReady, v1.TaintEffectNoExecute)
	add(v1.TaintNodeUnreachable, v1.TaintEffectNoExecute)
	add(v1.TaintNodeDiskPressure, v1.TaintEffectNoSchedule)
	add(v1.TaintNodeMemoryPressure, v1.TaintEffectNoSchedule)
	add(v1.TaintNodePIDPressure, v1.TaintEffectNoSchedule)
	add(v1.TaintNodeUnschedulable, v1.TaintEffectNoSchedule)
	if spec.HostNetwork {
		add(v1.TaintNodeNetworkUnavailable, v1.TaintEffectNoSchedule)
	}
	return all
}

// boundTo puts a pod on a node by the scheduler: other affinities are met by the
// choice of the node already.
func boundTo(affinity *v1.Affinity, node string) *v1.Affinity {
	affinity = affinity.DeepCopy()
	if affinity == nil {
		affinity = &v1.Affinity{}
	}
	if affinity.NodeAffinity == nil {
		affinity.NodeAffinity = &v1.NodeAffinity{}
	}
	affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchFields: []v1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: v1.NodeSelectorOpIn, Values: []string{node}}},
	}}}
	return affinity
}

// nodeOf a daemon pod: where it is, or where it is to be put.
func nodeOf(p *v1.Pod) string {
	if p.Spec.NodeName != "" || p.Spec.Affinity == nil || p.Spec.Affinity.NodeAffinity == nil || p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return p.Spec.NodeName
	}
	for _, term := range p.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range term.MatchFields {
			if f.Key == metav1.ObjectNameField && f.Operator == v1.NodeSelectorOpIn && len(f.Values) == 1 {
				return f.Values[0]
			}
		}
	}
	return ""
}
