package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	root.SetArgs([]string{"up", "--data-dir", "data", "--api-port", "7000", "--node-labels", "a=b,c=d", "--etcd-servers=https://e1", "--etcd-servers", "https://e2", "--etcd-cafile", "/elsewhere/../ca.crt"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	want := []string{"server", "--data-dir", "/abs/data", "--api-port=7000", "--etcd-cafile=/ca.crt", "--etcd-servers=https://e1", "--etcd-servers=https://e2", "--node-labels=a=b", "--node-labels=c=d"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The server runs in another folder than who starts it.
func TestFilesBecomeAbsolute(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{"": "", "-": "-", "/a/b": "/a/b", "ca.crt": filepath.Join(here, "ca.crt"), "./x/../y": filepath.Join(here, "y")} {
		var f file
		if err := f.Set(in); err != nil || f.String() != want {
			t.Errorf("%q became %q, %v", in, f, err)
		}
	}
}

// What a server tells of its end arrives whole, also in several lines.
func TestAServersReasonArrivesWhole(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	t.Setenv(progressEnv, fmt.Sprint(w.Fd()))
	reason := errors.New("first\nsecond")
	where := func() (layout.Layout, error) { return layout.Layout{}, nil }
	go func() {
		defer w.Close()
		_ = foreground(t.Context(), where, &ServerConfig{}, func(_ context.Context, c ServerConfig) error {
			c.Progress("Starting")
			return reason
		})
	}()
	if got := follow(io.Discard, r); got == nil || got.Error() != reason.Error() {
		t.Errorf("got %q", got)
	}
}

func TestThePortThatAStartTakes(t *testing.T) {
	for _, c := range []struct {
		kept   string
		config ServerConfig
		want   int
	}{
		{"", ServerConfig{}, DefaultAPIPort},
		{"", ServerConfig{APIPort: 7}, 7},
		{`{"apiPort": 8}`, ServerConfig{}, 8},
		{`{"apiPort": 8}`, ServerConfig{APIPort: 7}, 7},
		{`{"server": "https://a"}`, ServerConfig{}, 0},
		{"", ServerConfig{Join: JoinConfig{Server: "https://a"}}, 0},
	} {
		c.config.Layout = layout.Layout{Data: t.TempDir()}
		if c.kept != "" {
			if err := os.WriteFile(c.config.Layout.Cluster(), []byte(c.kept), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := portOf(c.config); got != c.want {
			t.Errorf("%s %+v: %d, want %d", c.kept, c.config, got, c.want)
		}
	}
}
