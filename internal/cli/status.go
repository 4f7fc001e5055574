package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/kit/version"
)

func newStatus(where locate) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether the cluster runs, and where",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			if output != "" && output != "json" {
				return fmt.Errorf("--output %q: want json, or nothing for text", output)
			}
			status, err := control.Dial(l.Control()).Status(cmd.Context())
			if errors.Is(err, control.ErrNotRunning) {
				status = control.Status{DataDir: l.Data, Version: version.Proa}
			} else if err != nil {
				return err
			}
			if err := printStatus(cmd.OutOrStdout(), status, output); err != nil {
				return err
			}
			if !status.Ready {
				return errSilent
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "output format: json")
	return cmd
}

func printStatus(w io.Writer, s control.Status, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	if !s.Running {
		_, err := fmt.Fprintf(w, "proa is not running (data in %s). Start it with: proa up --data-dir %[1]s\n", s.DataDir)
		return err
	}
	state := "starting"
	if s.Ready {
		state = "ready"
	}
	if s.APIServer == "" {
		_, err := fmt.Fprintf(w, "runtime     %s (%s)\ndata        %s\nprocesses   proa %d, keeper %d\nversion     %s\n",
			s.CRISocket, state, s.DataDir, s.PID, s.KeeperPID, s.Version)
		return err
	}
	if s.Kubeconfig == "" {
		_, err := fmt.Fprintf(w, "node        %s (%s)\nserver      %s\ndata        %s\nprocesses   proa %d, keeper %d\nversion     %s\n",
			s.Node, state, s.APIServer, s.DataDir, s.PID, s.KeeperPID, s.Version)
		return err
	}
	_, err := fmt.Fprintf(w, "node        %s (%s)\nAPI server  %s\nkubeconfig  %s\ndata        %s\nprocesses   proa %d, keeper %d\nversion     %s\n",
		s.Node, state, s.APIServer, s.Kubeconfig, s.DataDir, s.PID, s.KeeperPID, s.Version)
	return err
}
