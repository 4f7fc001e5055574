package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
			return down(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), l, clean, purge)
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "remove the data folder too")
	return cmd
}

func down(ctx context.Context, out, progress io.Writer, l layout.Layout, clean func(context.Context, layout.Layout, bool) error, purge bool) error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	if !exists(l.Run) && !exists(l.Data) {
		fmt.Fprintf(out, "there is no cluster in %s\n", l.Data)
		return nil
	}
	work := func() error {
		if err := stop(ctx, l); err != nil {
			return err
		}
		return clean(ctx, l, purge)
	}
	if err := slowly(progress, "Stopping", work); err != nil {
		return err
	}
	switch {
	case !purge:
		fmt.Fprintf(out, "stopped; the cluster's state stays in %s\n", l.Data)
	case exists(l.Data):
		fmt.Fprintf(out, "stopped; %s is emptied\n", l.Data)
	default:
		fmt.Fprintf(out, "stopped; %s is removed\n", l.Data)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
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
