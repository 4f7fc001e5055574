package cli

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"

	"github.com/proa-project/proa/internal/kit/layout"
)

func TestTheServerIsToldWhatUpWasTold(t *testing.T) {
	root := &cobra.Command{Use: "proa"}
	root.PersistentFlags().String("data-dir", "", "")
	var c ServerConfig
	var got []string
	up := &cobra.Command{Use: "up", Run: func(cmd *cobra.Command, _ []string) {
		got = passOn("server", layout.Layout{Data: "/abs/data"}, cmd.Flags())
	}}
	serverFlags(up, &c)
	root.AddCommand(up)
	root.SetArgs([]string{"up", "--data-dir", "data", "--api-port", "7000", "--node-labels", "a=b,c=d", "--etcd-servers=https://e1", "--etcd-servers", "https://e2"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	want := []string{"server", "--data-dir", "/abs/data", "--api-port=7000", "--etcd-servers=https://e1", "--etcd-servers=https://e2", "--node-labels=a=b", "--node-labels=c=d"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
