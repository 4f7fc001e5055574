package cli

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/proa-project/proa/internal/kit/layout"
)

// progressFD is where `proa up` reads how its server gets on: a line a stage,
// then "ready" or "error: …". A message of several lines has lineBreak between them.
const (
	progressEnv = "PROA_PROGRESS_FD"
	lineBreak   = "\x1e" // ASCII's record separator
)

func newServer(where locate, run func(context.Context, ServerConfig) error) *cobra.Command {
	var c ServerConfig
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the whole cluster in the foreground",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return foreground(cmd.Context(), where, &c, run)
		},
	}
	serverFlags(cmd, &c)
	return cmd
}

// foreground runs a server and tells whoever started it how it gets on.
func foreground(ctx context.Context, where locate, c *ServerConfig, run func(context.Context, ServerConfig) error) (err error) {
	if c.Layout, err = where(); err != nil {
		return err
	}
	report := reporter()
	c.Progress = func(stage string) { report("stage: " + stage) }
	c.Ready = func() { report("ready") }
	if err := run(ctx, *c); err != nil {
		report("error: " + strings.ReplaceAll(err.Error(), "\n", lineBreak))
		return err
	}
	return nil
}

// serverFlags are the same for `up` and `server`.
func serverFlags(cmd *cobra.Command, c *ServerConfig) {
	f := cmd.Flags()
	f.IntVar(&c.APIPort, "api-port", 0, "port of the API server (default: the one used before, or 6443)")
	f.Var((*file)(&c.Kubeconfig), "kubeconfig", "also write the administrator's kubeconfig here")
	f.StringSliceVar(&c.Etcd.Endpoints, "etcd-servers", nil, "URLs of an etcd cluster outside (default: etcd is built in)")
	f.Var((*file)(&c.Etcd.CAFile), "etcd-cafile", "certificate authority of --etcd-servers")
	f.Var((*file)(&c.Etcd.CertFile), "etcd-certfile", "client certificate for --etcd-servers")
	f.Var((*file)(&c.Etcd.KeyFile), "etcd-keyfile", "client key for --etcd-servers")
	f.Var((*file)(&c.Encryption), "encryption-provider-config", "EncryptionConfiguration file of what is stored (default: encryption.yaml in the data folder, if it is there)")
	auditFlags(f, &c.Audit)
	nodeFlags(f, c)
}

// file is a flag that names a file, or "-". It becomes an absolute path at once: the
// server does not run in the folder of who starts it.
type file string

var _ pflag.Value = (*file)(nil)

func (f *file) String() string { return string(*f) }
func (f *file) Type() string   { return "file" }

func (f *file) Set(path string) error {
	if path == "" || path == "-" {
		*f = file(path)
		return nil
	}
	abs, err := filepath.Abs(path)
	*f = file(abs)
	return err
}

// auditFlags have the stock API server's names.
func auditFlags(f *pflag.FlagSet, c *AuditConfig) {
	f.Var((*file)(&c.PolicyFile), "audit-policy-file", "file that says which requests to the API are audited (default: audit-policy.yaml in the data folder, if it is there)")
	f.Var((*file)(&c.LogFile), "audit-log-path", "where audited requests are written (default: log/audit.log in the data folder, unless there is a webhook)")
	f.IntVar(&c.LogDays, "audit-log-maxage", 0, "days that old audit logs are kept (default: for ever)")
	f.IntVar(&c.LogBackups, "audit-log-maxbackup", 0, "how many old audit logs are kept (default: all)")
	f.IntVar(&c.LogMiB, "audit-log-maxsize", 100, "MiB at which a new audit log is begun; 0: never")
	f.Var((*file)(&c.WebhookFile), "audit-webhook-config-file", "kubeconfig of a server that audited requests are sent to")
}

// nodeFlags say what a node is like.
func nodeFlags(f *pflag.FlagSet, server *ServerConfig) {
	c := &server.Node
	f.StringVar(&server.CRISocket, "container-runtime-endpoint", "", "CRI socket of another runtime, like unix:///run/containerd/containerd.sock, or \"own\" (default: the one used before, or our own)")
	f.TextVar(&server.NodeIP, "node-ip", netip.Addr{}, "IPv4 address at which other machines reach this one (default: the one that leads to the server)")
	f.Var((*file)(&c.File), "config", "KubeletConfiguration file of the node (default: kubelet.yaml in the data folder, if it is there)")
	f.StringVar(&c.Name, "node-name", "", "name of a new node (default: the host's)")
	f.Var((*file)(&c.ManifestPath), "pod-manifest-path", "folder, or file, of static pods (default /etc/kubernetes/manifests)")
	f.StringVar(&c.ManifestURL, "manifest-url", "", "URL of static pods' manifests")
	f.StringSliceVar(&c.ManifestURLHeaders, "manifest-url-header", nil, "header, as name:value, for --manifest-url")
	f.IntVar(&c.MaxPods, "max-pods", 0, "how many pods the node takes (default 110)")
	f.StringSliceVar(&c.EvictionHard, "eviction-hard", nil, "when pods are evicted at once, like memory.available<100Mi,nodefs.available<10%")
	f.StringSliceVar(&c.Labels, "node-labels", nil, "labels of the node, as key=value")
	f.StringSliceVar(&c.Taints, "register-with-taints", nil, "taints of a new node, as key=value:effect")
}

// passOn are the arguments of a process that is to do as this one was told. A token
// is not among them: everybody sees those.
func passOn(command string, l layout.Layout, flags *pflag.FlagSet) []string {
	args := []string{command, "--data-dir", l.Data}
	flags.Visit(func(f *pflag.Flag) {
		if f.Name == "data-dir" || f.Name == tokenFlag {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				args = append(args, "--"+f.Name+"="+v)
			}
			return
		}
		args = append(args, "--"+f.Name+"="+f.Value.String())
	})
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
