package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/kit/layout"
)

func newDown(where locate, clean func(context.Context, layout.Layout, bool) error) *cobra.Command {
	var purge bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the cluster and everything that runs in it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			if err := stop(cmd.Context(), l); err != nil {
				return err
			}
			if err := clean(cmd.Context(), l, purge); err != nil {
				return err
			}
			if purge {
				fmt.Fprintf(cmd.OutOrStdout(), "stopped; %s is removed\n", l.Data)
			} else {
				fmt.Fprintf(cmd.OutOrStdout(), "stopped; the cluster's state stays in %s\n", l.Data)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "remove the data folder too")
	return cmd
}

// stop ends the server, if one runs, and waits until it is gone.
func stop(ctx context.Context, l layout.Layout) error {
	client := control.Dial(l.Control())
	err := client.Stop(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		status, err := client.Status(ctx)
		if errors.Is(err, control.ErrNotRunning) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server (PID %d) does not stop; see %s", status.PID, l.ServerLog())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
