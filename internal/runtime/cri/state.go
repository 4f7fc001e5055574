package cri

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// sandbox in memory. Fields are guarded by Service.mu unless said otherwise.
type sandbox struct {
	id     string
	op     sync.Mutex // one stop or remove at a time; taken before Service.mu
	record sandboxRecord
	status keeper.SandboxStatus
	// closing: no container may be created any more. creating are those in the
	// making, which a removal waits for.
	closing    bool
	creating   sync.WaitGroup
	containers map[string]*container
}

func (s *sandbox) config() *runtimeapi.PodSandboxConfig { return s.record.Config }

func (s *sandbox) ready() bool {
	return s.status.Running && s.record.Complete && !s.record.Detached
}

func namespaceOptions(c *runtimeapi.PodSandboxConfig) *runtimeapi.NamespaceOption {
	return c.GetLinux().GetSecurityContext().GetNamespaceOptions()
}

func hostNetwork(c *runtimeapi.PodSandboxConfig) bool {
	return namespaceOptions(c).GetNetwork() == runtimeapi.NamespaceMode_NODE
}

// container in memory, guarded likewise.
type container struct {
	id      string
	op      sync.Mutex // one start, update or remove at a time
	sandbox *sandbox
	record  containerRecord
	status  keeper.ContainerStatus
	exited  chan struct{} // closed once the status is Exited
	usage   usageSample
	disk    diskSample
}

// rank orders the states of a container's life: it only ever goes forward, so a
// status of lower rank is an old one that was overtaken.
func rank(s keeper.State) int {
	switch s {
	case keeper.Created:
		return 1
	case keeper.Running:
		return 2
	case keeper.Exited:
		return 3
	}
	return 0
}

func newContainer(sb *sandbox, record containerRecord, st keeper.ContainerStatus) *container {
	c := &container{id: record.ID, sandbox: sb, record: record, status: st, exited: make(chan struct{})}
	if st.State == keeper.Exited {
		close(c.exited)
	}
	return c
}

// podName and containerName are the names that must be unique.
func podName(m *runtimeapi.PodSandboxMetadata) string {
	return fmt.Sprintf("%s_%s_%s_%d", m.GetName(), m.GetNamespace(), m.GetUid(), m.GetAttempt())
}

func containerName(sandboxID string, m *runtimeapi.ContainerMetadata) string {
	return fmt.Sprintf("%s_%d_%s", m.GetName(), m.GetAttempt(), sandboxID)
}

// cgroupParent is where the groups of a pod's containers are.
func (s *Service) cgroupParent(c *runtimeapi.PodSandboxConfig) string {
	if p := c.GetLinux().GetCgroupParent(); p != "" {
		return filepath.Join("/", p)
	}
	return s.cfg.CgroupParent
}

// find looks an ID up, or the one that begins so: people at a terminal write the
// beginning of an ID. One that fits several is as good as none.
func find[T any](m map[string]*T, id string) *T {
	if v := m[id]; v != nil || id == "" || len(id) == idLength {
		return v
	}
	var found *T
	for full, v := range m {
		if strings.HasPrefix(full, id) {
			if found != nil {
				return nil
			}
			found = v
		}
	}
	return found
}
