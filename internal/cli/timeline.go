package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/cli/explain"
)

func newTimeline(where locate) *cobra.Command {
	var namespace string
	var all bool
	var width int
	cmd := &cobra.Command{
		Use:   "timeline POD",
		Short: "Show a pod's life as a chart",
		Long: `Show what a pod and its containers did, and how long it took, as a chart. The
axis is wide where things happen: the fractions of a second of a start can be seen
in a life of days. Pods that are gone are remembered for an hour.

Colours are left out where the output is no terminal or NO_COLOR is set; in a
terminal without UTF-8 the chart is drawn in ASCII.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			answers, err := ask(cmd.Context(), l, namespace, args[0])
			if err != nil {
				return err
			}
			style := terminal()
			if width > 0 {
				style.Width = width
			}
			told := false
			for _, a := range answers {
				if a.Explanation != nil {
					a.Timeline(cmd.OutOrStdout(), style, time.Now(), unless(all, explain.SpansShown))
					told = true
				}
			}
			if !told {
				return fmt.Errorf("pod %s/%s has done nothing on a node yet; `proa why %[2]s -n %[1]s` says why", namespace, answers[0].Pod.Name)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&namespace, "namespace", "n", metav1.NamespaceDefault, "namespace of the pod")
	f.BoolVarP(&all, "all", "a", false, "list everything that is kept, not only its beginning and end")
	f.IntVar(&width, "width", 0, "columns of the chart (default: those of the terminal)")
	return cmd
}
