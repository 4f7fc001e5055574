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
	for _, line := range describe(s, state) {
		if line[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-11s %s\n", line[0], line[1]); err != nil {
			return err
		}
	}
	return nil
}

// describe what runs, in lines of a name and a value; what there is none of is empty.
func describe(s control.Status, state string) [][2]string {
	lines := [][2]string{{"node", s.Node + " (" + state + ")"}, {"API server", s.APIServer}, {"kubeconfig", s.Kubeconfig}}
	if s.APIServer == "" { // the container runtime alone
		lines = [][2]string{{"runtime", s.CRISocket + " (" + state + ")"}}
	}
	processes := fmt.Sprintf("proa %d, keeper %d", s.PID, s.KeeperPID)
	if s.KeeperPID == 0 { // another container runtime
		processes = fmt.Sprintf("proa %d", s.PID)
		lines = append(lines, [2]string{"runtime", s.CRISocket})
	}
	return append(lines, [2]string{"data", s.DataDir}, [2]string{"processes", processes}, [2]string{"version", s.Version})
}
