package alloc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Ports is the node ports in use, in one key of etcd: port → owner.
type Ports struct {
	Client      *clientv3.Client
	Key         string
	First, Last int
}

var (
	errPortTaken = errors.New("provided port is already allocated")
	errPortsFull = errors.New("range is full")
)

type errPortRange struct{ first, last int }

func (e errPortRange) Error() string {
	return fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %d-%d", e.first, e.last)
}

// Take gives owner the port, or any free one if it is 0.
func (p *Ports) Take(ctx context.Context, port int, owner string, dry bool) (int, error) {
	if port != 0 && (port < p.First || port > p.Last) {
		return 0, errPortRange{p.First, p.Last}
	}
	taken := 0
	err := p.change(ctx, dry, func(used map[int]string) (bool, error) {
		if taken = port; port == 0 {
			if taken = p.free(used); taken == 0 {
				return false, errPortsFull
			}
		} else if _, ok := used[port]; ok {
			return false, errPortTaken
		}
		used[taken] = owner
		return true, nil
	})
	return taken, err
}

// free is a random unused port, 0 if there is none.
func (p *Ports) free(used map[int]string) int {
	n := p.Last - p.First + 1
	start := rand.IntN(n)
	for i := range n {
		if port := p.First + (start+i)%n; used[port] == "" {
			return port
		}
	}
	return 0
}

// Release gives ports back.
func (p *Ports) Release(ctx context.Context, ports ...int) error {
	if len(ports) == 0 {
		return nil
	}
	return p.change(ctx, false, func(used map[int]string) (bool, error) {
		changed := false
		for _, port := range ports {
			if _, ok := used[port]; ok {
				delete(used, port)
				changed = true
			}
		}
		return changed, nil
	})
}

// Repair makes the record what the services say: a crash between the two writes
// leaves a port taken by nobody.
func (p *Ports) Repair(ctx context.Context, owners map[int]string) error {
	return p.change(ctx, false, func(used map[int]string) (bool, error) {
		changed := false
		for port := range used {
			if owners[port] == "" {
				delete(used, port)
				changed = true
			}
		}
		for port, owner := range owners {
			if used[port] == "" {
				used[port] = owner
				changed = true
			}
		}
		return changed, nil
	})
}

// change is a compare-and-swap, tried until nobody was in between.
func (p *Ports) change(ctx context.Context, dry bool, f func(used map[int]string) (changed bool, err error)) error {
	for {
		got, err := p.Client.Get(ctx, p.Key)
		if err != nil {
			return fmt.Errorf("node ports: %w", err)
		}
		used, revision := map[int]string{}, int64(0)
		if len(got.Kvs) > 0 {
			if err := json.Unmarshal(got.Kvs[0].Value, &used); err != nil {
				return fmt.Errorf("node ports: %w", err)
			}
			revision = got.Kvs[0].ModRevision
		}
		changed, err := f(used)
		if err != nil || !changed || dry {
			return err
		}
		value, err := json.Marshal(used)
		if err != nil {
			return err
		}
		done, err := p.Client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(p.Key), "=", revision)).
			Then(clientv3.OpPut(p.Key, string(value))).Commit()
		if err != nil {
			return fmt.Errorf("node ports: %w", err)
		}
		if done.Succeeded {
			return nil
		}
	}
}
