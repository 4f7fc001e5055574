package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
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
			// A cluster that is named is the one that is meant, whatever the environment says.
			if data != "" || os.Getenv("KUBECONFIG") == "" {
				if err := useKubeconfig(l); err != nil {
					return err
				}
			}
			if code := kubectl(args); code != 0 {
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

// useKubeconfig has kubectl speak to the cluster. Without any file it would try a
// server on port 8080 that nobody has named.
func useKubeconfig(l layout.Layout) error {
	_, err := os.Stat(l.Kubeconfig())
	switch {
	case errors.Is(err, fs.ErrNotExist) && l.Data == layout.DefaultData && exists(clientcmd.RecommendedHomeFile):
		return nil
	case errors.Is(err, fs.ErrNotExist) && exists(l.Cluster()):
		return fmt.Errorf("%s is the folder of a node whose control plane is elsewhere: run this on its server's machine", l.Data)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no cluster in %s; start one with: proa up --data-dir %[1]s", l.Data)
	case errors.Is(err, fs.ErrPermission):
		return errNotRoot
	case err != nil:
		return err
	}
	return os.Setenv("KUBECONFIG", l.Kubeconfig())
}

// kubectl runs in this process.
func kubectl(args []string) int {
	os.Args = append([]string{"kubectl"}, args...)
	command := kubectlcmd.NewDefaultKubectlCommand()
	command.SetArgs(args)
	return cli.Run(command)
}
