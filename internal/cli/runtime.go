package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newRuntime(where locate, run func(context.Context, ServerConfig) error) *cobra.Command {
	return &cobra.Command{
		Use:   "runtime",
		Short: "Run the container runtime alone, in the foreground",
		Long: `Run the container runtime alone, in the foreground, for crictl or another
node agent: the CRI, version 1, on a unix socket. Containers go on when it ends;
"proa down" ends them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			return run(cmd.Context(), ServerConfig{
				Layout:   l,
				Progress: func(string) {},
				Ready:    func() { fmt.Fprintf(cmd.OutOrStdout(), "unix://%s\n", l.CRI()) },
			})
		},
	}
}
