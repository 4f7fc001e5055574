package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/proa-project/proa/internal/cli/explain"
	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/kit/layout"
)

// recent is how many decisions are shown unless all are asked for.
const recent = 12

func newWhy(where locate) *cobra.Command {
	var namespace, output string
	var all bool
	cmd := &cobra.Command{
		Use:   "why POD",
		Short: "Say what a pod does, what it waits for, and what would make it go on",
		Long: `Say what a pod does, what holds it up and since when, what would make it go on,
and its last decisions with their reasons. It also works for a pod that has no
node, and for one that is gone: those are remembered for an hour.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("--output %q: want json, or nothing for text", output)
			}
			l, err := where()
			if err != nil {
				return err
			}
			answers, err := ask(cmd.Context(), l, namespace, args[0])
			if err != nil {
				return err
			}
			if output == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(answers)
			}
			for _, a := range answers {
				a.Why(cmd.OutOrStdout(), terminal(), time.Now(), unless(all, recent))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&namespace, "namespace", "n", metav1.NamespaceDefault, "namespace of the pod")
	f.StringVarP(&output, "output", "o", "", "output format: json")
	f.BoolVarP(&all, "all", "a", false, "show every decision that is kept")
	return cmd
}

func unless(all bool, limit int) int {
	if all {
		return math.MaxInt
	}
	return limit
}

// ask gathers what is known of the pods of a name: one that is there, and those
// that are gone.
func ask(ctx context.Context, l layout.Layout, namespace, name string) ([]*explain.Answer, error) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "pod/"), "pods/")
	here := control.Dial(l.Control())
	status, err := here.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.Kubeconfig == "" {
		return nil, elsewhere(status)
	}
	found, err := here.Why(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	api, err := clientFor(l.Kubeconfig())
	if err != nil {
		return nil, err
	}
	pod, err := apiPod(ctx, api, namespace, name)
	if err != nil {
		return nil, err
	}
	for _, node := range otherNodes(ctx, api, pod, status.Node) {
		found = append(found, askNode(ctx, api, node, namespace, name)...)
	}
	answers := join(pod, found)
	if pod != nil && pod.Spec.NodeName == "" {
		if answers[0].Nodes, err = refusing(ctx, here, namespace, name); err != nil {
			return nil, err
		}
	}
	if len(answers) == 0 {
		return nil, fmt.Errorf("pod %s/%s is not known; one that is gone is remembered for an hour", namespace, name)
	}
	for _, a := range answers {
		a.Find()
	}
	return answers, nil
}

// refusing are the nodes that would not take a pod that has none.
func refusing(ctx context.Context, here *control.Client, namespace, name string) (nodes []explain.Node, err error) {
	refusals, err := here.Refusals(ctx, namespace, name)
	for _, r := range refusals {
		nodes = append(nodes, explain.Node{Name: r.Node, Reasons: r.Reasons})
	}
	return nodes, err
}

// elsewhere: only the machine of the server may do everything.
func elsewhere(node control.Status) error {
	return fmt.Errorf("this is a node of the cluster at %s: do this on the machine of its server", node.APIServer)
}

// apiPod is the API's object; nil if there is none.
func apiPod(ctx context.Context, api kubernetes.Interface, namespace, name string) (*v1.Pod, error) {
	pod, err := api.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return pod, err
}

// otherNodes may know of the pod: its own, or any if it is gone.
func otherNodes(ctx context.Context, api kubernetes.Interface, pod *v1.Pod, here string) (names []string) {
	if pod != nil {
		if n := pod.Spec.NodeName; n != "" && n != here {
			names = append(names, n)
		}
		return names
	}
	nodes, err := api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil // what is known here is told all the same
	}
	for i := range nodes.Items {
		if n := nodes.Items[i].Name; n != here {
			names = append(names, n)
		}
	}
	return names
}

// nodePatience is how long another node has to tell what it knows.
const nodePatience = 5 * time.Second

// askNode asks another node, by way of the API server. One that does not answer
// knows nothing, as far as we can tell.
func askNode(ctx context.Context, api kubernetes.Interface, node, namespace, name string) []control.Explanation {
	ctx, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	data, err := api.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix("why").
		Param("namespace", namespace).Param("name", name).DoRaw(ctx)
	var found []control.Explanation
	if err != nil || json.Unmarshal(data, &found) != nil {
		return nil
	}
	return found
}

// join pairs the object with what the node tells of it. A mirror pod has the UID of
// its own, its static pod is known by an annotation.
func join(pod *v1.Pod, found []control.Explanation) []*explain.Answer {
	var answers []*explain.Answer
	if pod != nil {
		pod.ManagedFields = nil
		answers = append(answers, &explain.Answer{Pod: pod})
	}
	for i := range found {
		e := &found[i]
		if pod != nil && e.GoneAt.IsZero() && (e.UID == string(pod.UID) || e.UID == pod.Annotations[v1.MirrorPodAnnotationKey]) {
			answers[0].Explanation = e
			continue
		}
		answers = append(answers, &explain.Answer{Explanation: e})
	}
	return answers
}
