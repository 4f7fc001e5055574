package app

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"reflect"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/proa-project/proa/internal/cli"
	"github.com/proa-project/proa/internal/kit/atomicfile"
	"github.com/proa-project/proa/internal/network"
)

// podBits is the size of one node's share of the cluster's pod range.
const podBits = 24

// cluster is what was settled when the cluster was made and stays so: its
// objects name these addresses.
type cluster struct {
	Node    string         `json:"node"`
	APIPort int            `json:"apiPort,omitempty"`
	Ranges  network.Ranges `json:"ranges"`
	// Etcd is the cluster's that keeps the state; nil is our own.
	Etcd *cli.EtcdConfig `json:"etcd,omitempty"`
	// Runtime is the CRI socket that pods last ran on; "" is our own runtime.
	Runtime string `json:"runtime,omitempty"`
	// Of a node whose control plane is elsewhere: its URL, and the node's share of
	// the cluster's pod range. Ranges are what the server says.
	Server string       `json:"server,omitempty"`
	Pods   netip.Prefix `json:"pods,omitzero"`
}

// loadCluster reads the file at path, or settles a new cluster and writes it there.
func loadCluster(path string, want cli.ServerConfig) (cluster, error) {
	c, err := readCluster(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && want.Join.Server != "":
		node, err := nodeName(want.Node.Name)
		return cluster{Node: node, Server: want.Join.Server}, err // kept once the server has taken us
	case errors.Is(err, fs.ErrNotExist):
		return makeCluster(path, want)
	case err != nil:
		return cluster{}, err
	}
	return c.follow(path, want)
}

func readCluster(path string) (c cluster, err error) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return cluster{}, fmt.Errorf("read cluster: %s: %w", path, err)
	}
	return c, nil
}

// follow what the user wants otherwise than before, as far as it can change.
func (c cluster) follow(path string, want cli.ServerConfig) (cluster, error) {
	before := c
	if name := want.Node.Name; name != "" && name != c.Node {
		return cluster{}, fmt.Errorf("the node here is %s and can't become %s: pods are bound to it by its name", c.Node, name)
	}
	switch {
	case want.Join.Server != "" && c.Server == "":
		return cluster{}, errors.New("the folder holds a cluster of its own: name another with --data-dir, or remove this one with `proa down --purge`")
	case want.Join.Server != "":
		c.Server = want.Join.Server
	case want.APIPort != 0 && c.Server != "":
		return cluster{}, fmt.Errorf("the folder is a node's of the cluster at %s and has no API server: leave out --api-port", c.Server)
	case want.APIPort != 0:
		c.APIPort = want.APIPort
	}
	if len(want.Etcd.Endpoints) > 0 {
		if _, err := os.Stat(want.Layout.Etcd()); err == nil {
			return cluster{}, fmt.Errorf("--etcd-servers: the cluster's state is in its own etcd, in %s, and would be left behind there", want.Layout.Etcd())
		}
		c.Etcd = &want.Etcd
	}
	if reflect.DeepEqual(c, before) {
		return c, nil
	}
	return c, c.save(path)
}

func makeCluster(path string, want cli.ServerConfig) (cluster, error) {
	ranges, err := network.FreeRanges()
	if err != nil {
		return cluster{}, err
	}
	node, err := nodeName(want.Node.Name)
	if err != nil {
		return cluster{}, err
	}
	c := cluster{Node: node, APIPort: cmp.Or(want.APIPort, cli.DefaultAPIPort), Ranges: ranges}
	if len(want.Etcd.Endpoints) > 0 {
		c.Etcd = &want.Etcd
	}
	return c, c.save(path)
}

func (c cluster) save(path string) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}

// nodeName is the wanted one, or the host's in the form that the API allows.
func nodeName(wanted string) (string, error) {
	if wanted != "" {
		if problems := validation.IsDNS1123Subdomain(wanted); len(problems) > 0 {
			return "", fmt.Errorf("--node-name %q: %s", wanted, strings.Join(problems, "; "))
		}
		return wanted, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("node name: %w", err)
	}
	name := strings.ToLower(strings.TrimSpace(host))
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return "", fmt.Errorf("node name %q, from the host's name: %s; set another with --node-name", name, strings.Join(problems, "; "))
	}
	return name, nil
}

// podRange is the node's share: the first of the cluster's, if nobody gave it another.
func (c cluster) podRange() netip.Prefix {
	if c.Pods.IsValid() {
		return c.Pods
	}
	return netip.PrefixFrom(c.Ranges.Cluster.Addr(), podBits)
}

func (c cluster) url() string {
	if c.Server != "" {
		return c.Server
	}
	return "https://127.0.0.1:" + strconv.Itoa(c.APIPort)
}

// nodeAddr is the node's address: on a link of our own, so it stays when the
// host's own addresses change.
func (c cluster) nodeAddr() netip.Addr { return c.podRange().Addr().Next() }

// serviceAddr is the address of the "kubernetes" service.
func (c cluster) serviceAddr() netip.Addr { return c.Ranges.Service.Addr().Next() }

// dnsAddrs are the addresses of the service of the nodes' resolvers: the tenth
// of the range, as everywhere.
func (c cluster) dnsAddrs() []netip.Addr {
	a := c.Ranges.Service.Addr()
	for range 10 {
		a = a.Next()
	}
	return []netip.Addr{a}
}

// own are the ranges of the cluster's pods and services.
func (c cluster) own() []netip.Prefix { return []netip.Prefix{c.Ranges.Cluster, c.Ranges.Service} }
