package execute

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Every pod with a user namespace of its own gets one block of IDs, the first
// block being the host's.
const (
	usernsLength = 65536
	usernsBlocks = 1024
)

// Userns gives out blocks of IDs. Which is whose is kept in the pods' folders.
type Userns struct {
	dir string

	mu     sync.Mutex
	blocks map[uint32]types.UID
}

// OpenUserns reads what is given out already.
func OpenUserns(podsDir string) (*Userns, error) {
	u := &Userns{dir: podsDir, blocks: map[uint32]types.UID{}}
	files, err := filepath.Glob(filepath.Join(podsDir, "*", "userns"))
	if err != nil {
		return nil, fmt.Errorf("read user namespaces: %w", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("read user namespaces: %w", err)
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
		if err != nil {
			continue // torn by a crash before anything used it
		}
		u.blocks[uint32(n)] = types.UID(filepath.Base(filepath.Dir(f)))
	}
	return u, nil
}

func (e *Executor) userns(pod *v1.Pod) (*runtimeapi.UserNamespace, error) {
	if pod.Spec.HostUsers == nil || *pod.Spec.HostUsers {
		return nil, nil
	}
	if e.Userns == nil {
		return nil, errors.New("this node has no user namespaces for pods")
	}
	block, err := e.Userns.block(pod.UID)
	if err != nil {
		return nil, err
	}
	mapping := []*runtimeapi.IDMapping{{HostId: block * usernsLength, ContainerId: 0, Length: usernsLength}}
	return &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: mapping, Gids: mapping}, nil
}

func (u *Userns) block(uid types.UID) (uint32, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	free := uint32(0)
	for n := uint32(1); n < usernsBlocks; n++ {
		switch u.blocks[n] {
		case uid:
			return n, nil
		case "":
			if free == 0 {
				free = n
			}
		}
	}
	if free == 0 {
		return 0, errors.New("no block of user IDs is left")
	}
	file := filepath.Join(u.dir, string(uid), "userns")
	if err := writeFile(file, strconv.FormatUint(uint64(free), 10), 0o600); err != nil {
		return 0, fmt.Errorf("keep user namespace: %w", err)
	}
	u.blocks[free] = uid
	return free, nil
}

func (u *Userns) release(uid types.UID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n, owner := range u.blocks {
		if owner == uid {
			delete(u.blocks, n)
		}
	}
}
