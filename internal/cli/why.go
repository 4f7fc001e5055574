package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

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
		Short: "Say what a pod does, what it waits for, and why",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" && output != "json" {
				return fmt.Errorf("--output %q: want json, or nothing for text", output)
			}
			l, err := where()
			if err != nil {
				return err
			}
			a, err := askWhy(cmd.Context(), l, namespace, strings.TrimPrefix(args[0], "pod/"))
			if err != nil {
				return err
			}
			if output == "json" {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(a.Explanations)
			}
			limit := recent
			if all {
				limit = 1 << 30
			}
			a.print(cmd.OutOrStdout(), time.Now(), limit)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&namespace, "namespace", "n", metav1.NamespaceDefault, "namespace of the pod")
	f.StringVarP(&output, "output", "o", "", "output format: json")
	f.BoolVarP(&all, "all", "a", false, "show every decision that is kept")
	return cmd
}

// answer is all that is known of the pods of a name: the API's object, if there
// is one, and what the node tells.
type answer struct {
	Pod          *v1.Pod
	Explanations []control.Explanation
}

func askWhy(ctx context.Context, l layout.Layout, namespace, name string) (*answer, error) {
	client := control.Dial(l.Control())
	found, err := client.Why(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	a := &answer{Explanations: found}
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return nil, err
	}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	a.Pod, err = api.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		a.Pod, err = nil, nil
	}
	if err == nil && a.Pod == nil && len(found) == 0 {
		err = fmt.Errorf("pod %s/%s is not known; one that is gone is remembered for an hour", namespace, name)
	}
	return a, err
}

func (a *answer) print(w io.Writer, now time.Time, limit int) {
	if a.Pod != nil {
		printObject(w, a.Pod)
	}
	for _, e := range a.Explanations {
		printExplanation(w, e, now, limit)
	}
}

// printObject says what the API's object alone tells: why a pod has no node, why
// it is not ready.
func printObject(w io.Writer, pod *v1.Pod) {
	fmt.Fprintf(w, "pod %s/%s is %s", pod.Namespace, pod.Name, pod.Status.Phase)
	if pod.Spec.NodeName != "" {
		fmt.Fprintf(w, " on node %s", pod.Spec.NodeName)
	}
	if pod.DeletionTimestamp != nil {
		fmt.Fprint(w, ", being deleted")
	}
	fmt.Fprintln(w)
	for _, c := range pod.Status.Conditions {
		if c.Status != v1.ConditionTrue && c.Message != "" {
			fmt.Fprintf(w, "  not %s: %s\n", c.Type, c.Message)
		}
	}
	for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if s.State.Waiting != nil && s.State.Waiting.Message != "" {
			fmt.Fprintf(w, "  container %s: %s: %s\n", s.Name, s.State.Waiting.Reason, s.State.Waiting.Message)
		}
	}
}

func printExplanation(w io.Writer, e control.Explanation, now time.Time, limit int) {
	if !e.GoneAt.IsZero() {
		fmt.Fprintf(w, "pod %s/%s (%s) is gone since %s\n", e.Namespace, e.Name, e.UID, ago(e.GoneAt, now))
	} else {
		fmt.Fprintf(w, "  on its node: %s\n", e.Phase)
	}
	for _, i := range e.InFlight {
		fmt.Fprintf(w, "  doing   %s for %s: %s\n", strings.TrimSpace(i.Kind+" "+i.Container), ago(i.Since, now), i.Why)
	}
	for _, x := range e.Waits {
		until := ""
		if !x.Until.IsZero() {
			until = " (in " + duration.ShortHumanDuration(x.Until.Sub(now)) + ")"
		}
		fmt.Fprintf(w, "  waits   %s%s\n", strings.TrimSpace(x.Subject+" for "+x.For), until)
	}
	log := e.Log[max(0, len(e.Log)-limit):]
	if len(log) == 0 {
		return
	}
	fmt.Fprintln(w, "  decisions, the last one at the bottom:")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range log {
		fmt.Fprintf(t, "    %s\t%s\t%s\t%s\n", d.At.Local().Format("15:04:05.000"), d.Subject, d.What, d.Why)
	}
	t.Flush()
}

func ago(t, now time.Time) string { return duration.HumanDuration(now.Sub(t)) }
