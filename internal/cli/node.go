package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/proa-project/proa/internal/control"
)

func newNode(where locate) *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Look after the node of this machine"}
	cmd.AddCommand(newNodeShutdown(where))
	return cmd
}

func newNodeShutdown(where locate) *cobra.Command {
	var s control.Shutdown
	cmd := &cobra.Command{
		Use:   "shutdown",
		Short: "End the node's pods in order, before the machine goes down",
		Long: `End the node's pods in order, before the machine goes down: the least important
first, each with its grace period, as far as the time allows. The node is not
Ready from then on and takes no pods, until proa is started anew.

Where systemd-logind is, and the node's configuration sets shutdownGracePeriod,
this happens by itself when the machine is shut down.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.CriticalGrace > 0 && s.Grace == 0 {
				return errors.New("--critical-grace is a part of --grace: name that too")
			}
			l, err := where()
			if err != nil {
				return err
			}
			err = slowly(cmd.ErrOrStderr(), "Ending the node's pods", func() error {
				return control.Dial(l.Control()).ShutDown(cmd.Context(), s)
			})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the node's pods have ended; `proa down` stops the rest")
			return nil
		},
	}
	cmd.Flags().DurationVar(&s.Grace, "grace", 0, "how long all may take (default: shutdownGracePeriod of the node's configuration, or 30s)")
	cmd.Flags().DurationVar(&s.CriticalGrace, "critical-grace", 0, "how much of that is for the system's own pods, which end last")
	return cmd
}
