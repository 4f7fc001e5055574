package cli

import (
	"github.com/spf13/cobra"

	"github.com/proa-project/proa/internal/doctor"
)

func newDoctor(where locate) *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check that this machine can run a node",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			checks := doctor.Checks(doctor.Config{DataDir: l.Data, APIPort: port})
			if failed := doctor.Print(cmd.OutOrStdout(), checks); failed > 0 {
				return errSilent
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&port, "api-port", 0, "also check that this port is free")
	return cmd
}
