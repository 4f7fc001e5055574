package node

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/execute"
	"github.com/proa-project/proa/internal/node/podlife"
)

// Config is what an agent is made of.
type Config struct {
	NodeName string
	Client   kubernetes.Interface
	// Informers are shared by the whole process; the agent uses those of pods and
	// services, and starts none.
	Informers informers.SharedInformerFactory

	Runtime Runtime
	Images  Images
	Volumes Volumes
	Probes  Probes
	Cgroups execute.Cgroups // normally a *cgroup.Tree
	Source  Source          // of static pods; nil: none
	Mirrors Mirrors         // of static pods; nil: none

	// Node is the newest version of the node's object, nil while there is none:
	// pods wait for it, but for static ones where Own says what the machine knows of
	// itself.
	Node func() *v1.Node
	Own  func() *v1.Node // nil: nothing
	// HostIPs are the node's addresses, at most one a family, the primary first.
	HostIPs func() []string

	// Guard may refuse a pod that fits (pressure, shutdown, sysctls); nil takes all.
	Guard func(*v1.Pod) *podlife.Admission

	// DataDir holds pods' folders, logs and the journal (D of the whole system).
	DataDir    string
	SeccompDir string // of Localhost profiles; default DataDir/seccomp
	// ClusterDomain and ClusterDNS are told to pods; ResolvConf is the node's own
	// ("" = pods with dnsPolicy Default get none).
	ClusterDomain string
	ClusterDNS    []string
	ResolvConf    string

	Policy podlife.Policy // zero: podlife.DefaultPolicy
	Limits container.LimitPolicy
	Clock  clock.WithTicker
	Log    *slog.Logger
}

// Validate fills in defaults and says all that is wrong.
func (c *Config) Validate() error {
	var errs []error
	need := func(missing bool, name string) {
		if missing {
			errs = append(errs, fmt.Errorf("node agent: %s is missing", name))
		}
	}
	need(c.NodeName == "", "NodeName")
	need(c.Client == nil, "Client")
	need(c.Informers == nil, "Informers")
	need(c.Runtime == nil, "Runtime")
	need(c.Images == nil, "Images")
	need(c.Volumes == nil, "Volumes")
	need(c.Probes == nil, "Probes")
	need(c.Cgroups == nil, "Cgroups")
	need(c.Node == nil, "Node")
	need(c.HostIPs == nil, "HostIPs")
	need(!filepath.IsAbs(c.DataDir), "an absolute DataDir")
	if c.Policy == (podlife.Policy{}) {
		c.Policy = podlife.DefaultPolicy()
	}
	if c.Policy.Initial <= 0 || c.Policy.Max < c.Policy.Initial || c.Policy.RetryInitial <= 0 || c.Policy.ImageInitial <= 0 {
		errs = append(errs, errors.New("node agent: back-off times must be positive, the longest not below the first"))
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.SeccompDir == "" {
		c.SeccompDir = filepath.Join(c.DataDir, "seccomp")
	}
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	return errors.Join(errs...)
}

func (c *Config) podsDir() string    { return filepath.Join(c.DataDir, "pods") }
func (c *Config) logDir() string     { return filepath.Join(c.DataDir, "log", "pods") }
func (c *Config) journalDir() string { return filepath.Join(c.DataDir, "node", "pods") }
func (c *Config) historyDir() string { return filepath.Join(c.DataDir, "node", "history") }
