package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A token is taken from the environment where no flag gives it: arguments are
// everybody's to see.
const (
	tokenFlag = "token"
	tokenEnv  = "PROA_TOKEN"
)

const joinLong = `
The server's machine prints the command to use, with everything in it:

  proa token create

Server, token and hash are needed once: what is settled then is kept in the data
folder, and "proa up" starts the node again. The token may also be in the
environment, as ` + tokenEnv + `.`

func newJoin(where locate) *cobra.Command {
	var c ServerConfig
	cmd := &cobra.Command{
		Use:   "join",
		Short: "Make this machine a node of a cluster elsewhere; returns when it is Ready",
		Long:  "Make this machine a node of a cluster whose control plane runs elsewhere, and\nreturn when the node is Ready.\n" + joinLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := joining(&c, where); err != nil {
				return err
			}
			return up(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), c, passOn("agent", c.Layout, cmd.Flags()))
		},
	}
	joinFlags(cmd.Flags(), &c)
	return cmd
}

func newAgent(where locate, run func(context.Context, ServerConfig) error) *cobra.Command {
	var c ServerConfig
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run a node of a cluster elsewhere in the foreground",
		Long:  "Run a node of a cluster whose control plane runs elsewhere, in the foreground.\n" + joinLong,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := joining(&c, where); err != nil {
				return err
			}
			return foreground(cmd.Context(), where, &c, run)
		},
	}
	joinFlags(cmd.Flags(), &c)
	return cmd
}

func joinFlags(f *pflag.FlagSet, c *ServerConfig) {
	f.StringVar(&c.Join.Server, "server", "", "URL of the cluster's API server (default: the one joined before)")
	f.StringVar(&c.Join.Token, tokenFlag, "", "token of `proa token create`, to join with (default: $"+tokenEnv+")")
	f.StringVar(&c.Join.CAHash, "ca-hash", "", "sha256:HASH by which the server's authority is known, to join with")
	nodeFlags(f, c)
}

func takeToken(c *ServerConfig) {
	if c.Join.Token == "" {
		c.Join.Token = os.Getenv(tokenEnv)
	}
	_ = os.Unsetenv(tokenEnv)
}

// joining completes what the flags say of the cluster to join.
func joining(c *ServerConfig, where locate) (err error) {
	takeToken(c)
	if c.Layout, err = where(); err != nil {
		return err
	}
	return joinable(*c)
}

// joinable: a folder that knows no cluster needs to be told one.
func joinable(c ServerConfig) error {
	if c.Join.Server != "" || exists(c.Layout.Cluster()) {
		return nil
	}
	return fmt.Errorf("%s is no node of a cluster yet: %w", c.Layout.Data, errors.New("`proa token create`, on the server, prints the command that joins"))
}
