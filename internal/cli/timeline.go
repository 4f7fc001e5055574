package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/control"
)

// chartWidth is the columns that the bars have.
const chartWidth = 50

func newTimeline(where locate) *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use:   "timeline POD",
		Short: "Show a pod's life as a chart",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			a, err := askWhy(cmd.Context(), l, namespace, strings.TrimPrefix(args[0], "pod/"))
			if err != nil {
				return err
			}
			if len(a.Explanations) == 0 {
				return fmt.Errorf("pod %s/%s has done nothing on a node yet; `proa why %s` says why", namespace, a.Pod.Name, a.Pod.Name)
			}
			for _, e := range a.Explanations {
				printTimeline(cmd.OutOrStdout(), e, time.Now())
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", metav1.NamespaceDefault, "namespace of the pod")
	return cmd
}

// span is one line of the chart: from a decision until the next one about the
// same subject.
type span struct {
	subject, what string
	from, to      time.Time
	open          bool // still so
}

// spans of a decision log, in order of their beginning.
func spans(e control.Explanation, now time.Time) []span {
	end := now
	if !e.GoneAt.IsZero() {
		end = e.GoneAt
	}
	var out []span
	last := map[string]int{}
	for _, d := range e.Log {
		if i, ok := last[d.Subject]; ok {
			out[i].to, out[i].open = d.At, false
		}
		last[d.Subject] = len(out)
		out = append(out, span{subject: d.Subject, what: d.What, from: d.At, to: end, open: e.GoneAt.IsZero()})
	}
	return out
}

func printTimeline(w io.Writer, e control.Explanation, now time.Time) {
	all := spans(e, now)
	if len(all) == 0 {
		return
	}
	from, to := all[0].from, all[0].to
	for _, s := range all {
		if s.to.After(to) {
			to = s.to
		}
	}
	fmt.Fprintf(w, "%s/%s from %s, %s in all\n", e.Namespace, e.Name, from.Local().Format("15:04:05.000"), round(to.Sub(from)))
	for _, s := range all {
		subject := s.subject
		if subject == "" {
			subject = "pod"
		}
		fmt.Fprintf(w, "%-14.14s %-26.26s |%s| %s\n", subject, s.what, bar(s, from, to), round(s.to.Sub(s.from)))
	}
}

// bar of at least one mark, on the scale of the whole chart.
func bar(s span, from, to time.Time) string {
	total := max(to.Sub(from), 1)
	column := func(t time.Time) int { return int(chartWidth * t.Sub(from) / total) }
	first := min(column(s.from), chartWidth-1)
	length := max(column(s.to)-first, 1)
	end := "="
	if s.open {
		end = ">"
	}
	return strings.Repeat(" ", first) + strings.Repeat("=", length-1) + end + strings.Repeat(" ", chartWidth-first-length)
}

func round(d time.Duration) time.Duration {
	switch {
	case d > time.Minute:
		return d.Round(time.Second)
	case d > time.Second:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}
