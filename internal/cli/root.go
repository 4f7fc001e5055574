// Package cli is the command line. A command parses, asks, prints; what it sets
// in motion is elsewhere.
package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/kit/version"
)

// ServerConfig is what the user may say about a server.
type ServerConfig struct {
	Layout     layout.Layout
	APIPort    int    // 0 = the one used before, or 6443
	Kubeconfig string // where else to write the administrator's kubeconfig; "" = nowhere
	CRISocket  string // an external runtime; "" = our own
	Etcd       EtcdConfig
	Join       JoinConfig // a cluster elsewhere whose node this machine is to be
	NodeIP     netip.Addr // this machine's, for the others; invalid = found out
	Node       NodeConfig
	Audit      AuditConfig
	Encryption string // an EncryptionConfiguration; "" = encryption.yaml in the data folder, if it is there
	// Progress is told what is being done, in a few words.
	Progress func(stage string)
	// Ready is called once, when the node is Ready.
	Ready func()
}

// EtcdConfig names an etcd cluster outside; no endpoints = the one used before, or
// embedded. Files are named by absolute paths.
type EtcdConfig struct {
	Endpoints []string `json:"endpoints"`
	CAFile    string   `json:"caFile,omitempty"`
	CertFile  string   `json:"certFile,omitempty"`
	KeyFile   string   `json:"keyFile,omitempty"`
}

// JoinConfig names a control plane elsewhere. Token and hash are needed once.
type JoinConfig struct {
	Server string // URL; "" = the one joined before, or the control plane is here
	Token  string
	CAHash string
}

// AuditConfig is what is told of requests to the API server, and where to.
type AuditConfig struct {
	PolicyFile                  string // "" = audit-policy.yaml in the data folder, if it is there
	LogFile                     string // "" = audit.log among the logs, unless there is a webhook
	LogDays, LogBackups, LogMiB int
	WebhookFile                 string
}

// NodeConfig is what the user says about the node, in the words of the stock node
// agent's flags. Empty = what the file says, or the default.
type NodeConfig struct {
	File                      string // a KubeletConfiguration; "" = kubelet.yaml in the data folder, if it is there
	Name                      string // for a new cluster; "" = the host's
	ManifestPath, ManifestURL string
	ManifestURLHeaders        []string // name:value
	MaxPods                   int
	EvictionHard              []string // signal<amount
	Labels                    []string // key=value
	Taints                    []string // key=value:effect
}

// Servers are the long-running things that commands start, handed in by main so
// that the command line depends on none of them.
type Servers struct {
	All     func(ctx context.Context, c ServerConfig) error
	Runtime func(ctx context.Context, c ServerConfig) error
	Clean   func(ctx context.Context, l layout.Layout, purge bool) error
}

// errSilent ends a command with failure after it has printed what is wrong.
var errSilent = errors.New("")

// errNotRoot: the cluster's files and what the kernel holds of it are root's.
var errNotRoot = errors.New("this takes root: run it again with sudo")

// Main runs the command line and returns the exit code.
func Main(args []string, servers Servers) int {
	if filepath.Base(args[0]) == "kubectl" {
		args = append([]string{"proa", "kubectl"}, args[1:]...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(servers)
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	var exit exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case !errors.Is(err, errSilent):
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	return 1
}

// exitCode passes on the code of a program that ran in our place.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func newRoot(servers Servers) *cobra.Command {
	root := &cobra.Command{
		Use:           "proa",
		Short:         "Kubernetes Pods from one binary",
		Version:       version.Proa + " (Kubernetes " + version.Kubernetes + ")",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var data string
	root.PersistentFlags().StringVar(&data, "data-dir", layout.DefaultData, "folder that holds the cluster")
	where := func() (layout.Layout, error) { return layout.For(data) }
	root.AddCommand(
		newUp(where),
		newDown(where, servers.Clean),
		newStatus(where),
		newServer(where, servers.All),
		newJoin(where),
		newAgent(where, servers.All),
		newToken(where),
		newRuntime(where, servers.Runtime),
		newDoctor(where),
		newNode(where),
		newKubectl(where),
		newImageCommand(where),
		newQuickstart(where),
		newWhy(where),
		newTimeline(where),
	)
	return root
}

// locate finds the cluster that a command means.
type locate func() (layout.Layout, error)
