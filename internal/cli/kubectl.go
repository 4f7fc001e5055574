package cli

import (
	"os"

	"github.com/spf13/cobra"
	kubectlcmd "k8s.io/kubectl/pkg/cmd"

	"k8s.io/component-base/cli"

	"github.com/proa-project/proa/internal/kit/layout"
)

func newKubectl(where locate) *cobra.Command {
	return &cobra.Command{
		Use:                "kubectl",
		Short:              "The stock kubectl, against this cluster",
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			data, args := takeDataDir(args)
			l, err := where()
			if data != "" {
				l, err = layout.For(data)
			}
			if err != nil {
				return err
			}
			if code := kubectl(l.Data, args); code != 0 {
				return exitCode(code)
			}
			return nil
		},
	}
}

// takeDataDir takes our own flag out of kubectl's arguments, where it comes first.
func takeDataDir(args []string) (data string, rest []string) {
	const flag = "--data-dir"
	switch {
	case len(args) >= 2 && args[0] == flag:
		return args[1], args[2:]
	case len(args) >= 1 && len(args[0]) > len(flag) && args[0][:len(flag)+1] == flag+"=":
		return args[0][len(flag)+1:], args[1:]
	}
	return "", args
}

// kubectl runs in this process, against the cluster's own kubeconfig unless the
// user names another.
func kubectl(data string, args []string) int {
	if os.Getenv("KUBECONFIG") == "" {
		if l, err := layout.For(data); err == nil {
			_ = os.Setenv("KUBECONFIG", l.Kubeconfig())
		}
	}
	os.Args = append([]string{"kubectl"}, args...)
	command := kubectlcmd.NewDefaultKubectlCommand()
	command.SetArgs(args)
	return cli.Run(command)
}
