package images

import (
	"context"
	"sync"
)

// flights lets all who want the same image at once share one pull. The pull ends
// early only when nobody waits for it any more.
type flights struct {
	mu      sync.Mutex
	running map[string]*flight
	tasks   *sync.WaitGroup // that the owner waits for
}

type flight struct {
	cancel   context.CancelFunc
	done     chan struct{}
	image    Image
	err      error
	waiters  int // guarded by flights.mu
	progress broadcast
}

// do joins the flight of that key, or starts fly in base's lifetime.
func (f *flights) do(ctx, base context.Context, key string, report func(Progress), fly func(context.Context, func(Progress)) (Image, error)) (Image, error) {
	f.mu.Lock()
	fl, ok := f.running[key]
	if !ok {
		fl = f.start(base, key, fly)
	}
	fl.waiters++
	f.mu.Unlock()

	stop := fl.progress.subscribe(report)
	defer stop()
	select {
	case <-fl.done:
		return fl.image, fl.err
	case <-ctx.Done():
		f.leave(key, fl)
		return Image{}, ctx.Err()
	}
}

// start is called with the lock held.
func (f *flights) start(base context.Context, key string, fly func(context.Context, func(Progress)) (Image, error)) *flight {
	ctx, cancel := context.WithCancel(base)
	fl := &flight{cancel: cancel, done: make(chan struct{})}
	if f.running == nil {
		f.running = map[string]*flight{}
	}
	f.running[key] = fl
	f.tasks.Go(func() {
		defer cancel()
		fl.image, fl.err = fly(ctx, fl.progress.send)
		f.mu.Lock()
		if f.running[key] == fl {
			delete(f.running, key)
		}
		f.mu.Unlock()
		close(fl.done)
	})
	return fl
}

func (f *flights) leave(key string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.waiters--
	if fl.waiters == 0 {
		// A newcomer must not join what is about to end.
		if f.running[key] == fl {
			delete(f.running, key)
		}
		fl.cancel()
	}
}

// broadcast hands every value to all subscribers, one value at a time.
type broadcast struct {
	mu   sync.Mutex
	subs map[int]func(Progress)
	next int
	last *Progress
}

func (b *broadcast) send(p Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = &p
	for _, sub := range b.subs {
		sub(p)
	}
}

func (b *broadcast) subscribe(fn func(Progress)) (stop func()) {
	if fn == nil {
		return func() {}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[int]func(Progress){}
	}
	id := b.next
	b.next++
	b.subs[id] = fn
	if b.last != nil {
		fn(*b.last)
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, id)
	}
}

// keyedLock is a lock for each key.
type keyedLock struct {
	mu   sync.Mutex
	keys map[string]*keyedEntry
}

type keyedEntry struct {
	token chan struct{}
	users int // who hold or want it, guarded by keyedLock.mu
}

func newKeyedLock() *keyedLock { return &keyedLock{keys: map[string]*keyedEntry{}} }

// Lock waits for the key until ctx ends.
func (k *keyedLock) Lock(ctx context.Context, key string) error {
	k.mu.Lock()
	e, ok := k.keys[key]
	if !ok {
		e = &keyedEntry{token: make(chan struct{}, 1)}
		k.keys[key] = e
	}
	e.users++
	k.mu.Unlock()
	select {
	case e.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		k.drop(key, e)
		return ctx.Err()
	}
}

// Unlock gives the key to the next.
func (k *keyedLock) Unlock(key string) {
	k.mu.Lock()
	e := k.keys[key]
	k.mu.Unlock()
	<-e.token
	k.drop(key, e)
}

func (k *keyedLock) drop(key string, e *keyedEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e.users--
	if e.users == 0 {
		delete(k.keys, key)
	}
}
