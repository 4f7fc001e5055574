package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// second is a node on a machine of its own, as far as the network goes: a network
// namespace with one link, to the host. File systems and cgroups are the host's.
type second struct {
	first     Cluster
	data      string // its data folder
	space     string // of the network, as `ip netns` lists it
	link      string // the host's end of the link
	host, own netip.Addr
}

// second node of the cluster: its names and addresses follow from the data folder's.
func (c Cluster) second() second {
	sum := sha256.Sum256([]byte(c.Data))
	// 198.18.0.0/15 is for tests of networks (RFC 2544); four addresses a link.
	net := [4]byte{198, 18, sum[0], sum[1] &^ 3}
	s := second{first: c, data: c.Data + "-second", space: fmt.Sprintf("conformance-%x", sum[:4]), link: fmt.Sprintf("c%x", sum[:4])}
	net[3]++
	s.host = netip.AddrFrom4(net)
	net[3]++
	s.own = netip.AddrFrom4(net)
	return s
}

func (s second) exists() bool {
	_, err := os.Stat(s.data)
	return err == nil
}

// up joins the node to the cluster, or starts it again; it returns when the node is Ready.
func (s second) up(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	if s.exists() {
		return s.proa(ctx, "up")
	}
	server, err := s.server(ctx)
	if err != nil {
		return err
	}
	printed, err := s.first.proa(ctx, "token", "create", "--server", server, "--data-dir", s.first.Data)
	if err != nil {
		return err
	}
	_, command, ok := strings.Cut(printed, "proa join ")
	if !ok {
		return fmt.Errorf("proa token create printed no command: %s", printed)
	}
	return s.proa(ctx, append([]string{"join", "--node-name", "second"}, strings.Fields(command)...)...)
}

// server is the API server's URL as this node reaches it.
func (s second) server(ctx context.Context) (string, error) {
	out, err := s.first.proa(ctx, "status", "-o", "json", "--data-dir", s.first.Data)
	if err != nil {
		return "", err
	}
	var status struct{ APIServer string }
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return "", fmt.Errorf("proa status: %w", err)
	}
	u, err := url.Parse(status.APIServer)
	if err != nil {
		return "", fmt.Errorf("proa status: %w", err)
	}
	return fmt.Sprintf("https://%s:%s", s.host, u.Port()), nil
}

// connect makes the network namespace and its link, unless they are there.
func (s second) connect(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join("/run/netns", s.space)); err == nil {
		return nil
	}
	script := fmt.Sprintf(`set -e
ip netns add %[1]s
ip link add %[2]s type veth peer name eth0 netns %[1]s
ip addr add %[3]s/30 dev %[2]s
ip link set %[2]s up
ip -n %[1]s link set lo up
ip -n %[1]s addr add %[4]s/30 dev eth0
ip -n %[1]s link set eth0 up
ip -n %[1]s route add default via %[3]s`, s.space, s.link, s.host, s.own)
	_, err := output(exec.CommandContext(ctx, "sh", "-c", script))
	return err
}

func (s second) down(ctx context.Context) error {
	if !s.exists() {
		return nil
	}
	return s.proa(ctx, "down")
}

// purge ends the node and removes all of it.
func (s second) purge(ctx context.Context) error {
	if s.exists() {
		if err := s.connect(ctx); err != nil {
			return err
		}
		if err := s.proa(ctx, "down", "--purge"); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join("/run/netns", s.space)); err != nil {
		return nil
	}
	_, err := output(exec.CommandContext(ctx, "ip", "netns", "del", s.space))
	return err
}

// proa runs a command on the node. It sees the host's files: `ip netns exec` would
// hide the cgroups.
func (s second) proa(ctx context.Context, args ...string) error {
	args = append([]string{"--net=/run/netns/" + s.space, "--", s.first.Binary}, args...)
	_, err := output(exec.CommandContext(ctx, "nsenter", append(args, "--data-dir", s.data)...))
	return err
}
