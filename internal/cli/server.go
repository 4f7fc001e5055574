package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// progressFD is where `proa up` reads how its server gets on: a line a stage,
// then "ready" or "error: …".
const progressEnv = "PROA_PROGRESS_FD"

func newServer(where locate, run func(context.Context, ServerConfig) error) *cobra.Command {
	var c ServerConfig
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the whole cluster in the foreground",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := where()
			if err != nil {
				return err
			}
			c.Layout = l
			report := reporter()
			c.Progress = func(stage string) { report("stage: " + stage) }
			c.Ready = func() { report("ready") }
			if err := run(cmd.Context(), c); err != nil {
				report("error: " + err.Error())
				return err
			}
			return nil
		},
	}
	serverFlags(cmd, &c)
	return cmd
}

// serverFlags are the same for `up` and `server`.
func serverFlags(cmd *cobra.Command, c *ServerConfig) {
	f := cmd.Flags()
	f.IntVar(&c.APIPort, "api-port", 0, "port of the API server (default: the one used before, or 6443)")
	f.StringVar(&c.Kubeconfig, "kubeconfig", "", "also write the administrator's kubeconfig here")
	f.StringVar(&c.CRISocket, "container-runtime-endpoint", "", "CRI socket of another runtime, like unix:///run/containerd/containerd.sock")
	f.StringSliceVar(&c.Etcd.Endpoints, "etcd-servers", nil, "URLs of an etcd cluster outside (default: etcd is built in)")
	f.StringVar(&c.Etcd.CAFile, "etcd-cafile", "", "certificate authority of --etcd-servers")
	f.StringVar(&c.Etcd.CertFile, "etcd-certfile", "", "client certificate for --etcd-servers")
	f.StringVar(&c.Etcd.KeyFile, "etcd-keyfile", "", "client key for --etcd-servers")
}

// serverArgs passes the same flags on to a server process.
func serverArgs(c ServerConfig) []string {
	args := []string{"server", "--data-dir", c.Layout.Data}
	if c.APIPort != 0 {
		args = append(args, "--api-port", fmt.Sprint(c.APIPort))
	}
	for flag, value := range map[string]string{
		"--kubeconfig": c.Kubeconfig, "--container-runtime-endpoint": c.CRISocket,
		"--etcd-cafile": c.Etcd.CAFile, "--etcd-certfile": c.Etcd.CertFile, "--etcd-keyfile": c.Etcd.KeyFile,
	} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	for _, e := range c.Etcd.Endpoints {
		args = append(args, "--etcd-servers", e)
	}
	return args
}

func reporter() func(line string) {
	var fd uintptr
	if _, err := fmt.Sscan(os.Getenv(progressEnv), &fd); err != nil {
		return func(string) {}
	}
	_ = os.Unsetenv(progressEnv)
	pipe := os.NewFile(fd, "progress")
	return func(line string) {
		fmt.Fprintln(pipe, line)
		if line == "ready" {
			pipe.Close()
		}
	}
}
