package loop

import (
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/observe"
	"github.com/proa-project/proa/internal/node/podlife"
)

// mail is what happened to a pod since its goroutine looked last. The zero value
// is: nothing.
type mail struct {
	pod      *v1.Pod // newest version of the object
	gone     bool    // there is no object any more
	mirror   *v1.Pod // newest version of a static pod's mirror
	noMirror bool
	look     bool // something changed in the runtime
	nudge    bool // what a retry waits for may be there
	snapshot *observe.Snapshot
	lookErr  error
	ends     []end
	probes   []podlife.ProbeResult
	evict    *podlife.Want
}

// end of an action, with what the runtime had of the pod afterwards.
type end struct {
	outcome  podlife.Outcome
	snapshot *observe.Snapshot // nil: the action has no effect there, or the look failed
}

// mailbox merges mail until it is taken.
type mailbox struct {
	ready chan struct{} // holds a token while there is mail

	mu  sync.Mutex
	box mail
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

// put lets f add to the mail.
func (m *mailbox) put(f func(*mail)) {
	m.mu.Lock()
	f(&m.box)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take empties the box.
func (m *mailbox) take() mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.box
	m.box = mail{}
	return out
}
