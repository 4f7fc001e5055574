package crilog

import (
	"os"
	"sync"
	"time"
)

const (
	// teeRoom is how far an attached client may lag behind, in bytes.
	teeRoom = 1 << 20
	// teePatience is how long a full client may hold up the container, once:
	// after that it misses output until it has read all that it was given.
	teePatience = 200 * time.Millisecond
	// headRoom is how much a stream may begin with, in bytes, that still waits
	// for the first client. Who runs a program to look at it (`kubectl run -it`)
	// comes a moment after it began, and would miss its prompt or, if it is a
	// short one, all of it. What prints more is no conversation.
	headRoom = 16 << 10
)

// Tee copies a stream to the clients attached to it.
type Tee struct {
	mu      sync.Mutex
	clients map[*client]struct{}
	closed  bool
	head    []byte // the stream so far, while begun is false
	begun   bool   // the beginning was given to a client, or is too long, or unknown
}

// Join says that the stream began elsewhere: nothing of it waits.
func (t *Tee) Join() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.head = true, nil
}

// client is one attached reader: a bounded queue before a pipe.
type client struct {
	pipe *os.File
	tee  *Tee

	done chan struct{} // closed with the pipe

	mu      sync.Mutex
	queue   [][]byte
	room    int
	lagging bool
	ended   bool          // no more chunks will come
	changed chan struct{} // capacity 1: the queue or ended changed
	drained chan struct{} // capacity 1: room came free
}

// Add sends the stream from now on into pipe, which it closes at the end, or
// when the returned function is called.
func (t *Tee) Add(pipe *os.File) (remove func()) {
	c := &client{pipe: pipe, tee: t, room: teeRoom, done: make(chan struct{}),
		changed: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
	t.mu.Lock()
	if len(t.head) > 0 {
		c.queue = [][]byte{t.head}
		c.room -= len(t.head)
	}
	t.begun, t.head = true, nil
	if t.closed {
		c.ended = true
	} else {
		if t.clients == nil {
			t.clients = map[*client]struct{}{}
		}
		t.clients[c] = struct{}{}
	}
	t.mu.Unlock()
	go c.run()
	return func() {
		c.drop()
		_ = pipe.SetWriteDeadline(time.Unix(1, 0)) // ends a write that stands still
	}
}

// Write hands a copy of the chunk to every client.
func (t *Tee) Write(chunk []byte) {
	t.mu.Lock()
	t.keep(chunk)
	clients := make([]*client, 0, len(t.clients))
	for c := range t.clients {
		clients = append(clients, c)
	}
	t.mu.Unlock()
	if len(clients) == 0 {
		return
	}
	copied := append([]byte(nil), chunk...)
	for _, c := range clients {
		c.offer(copied)
	}
}

// keep adds to what waits for the first client.
func (t *Tee) keep(chunk []byte) {
	if t.begun {
		return
	}
	if len(t.head)+len(chunk) > headRoom {
		t.begun, t.head = true, nil
		return
	}
	t.head = append(t.head, chunk...)
}

// Close lets the clients read what they were given, then ends their pipes.
func (t *Tee) Close() {
	t.mu.Lock()
	t.closed = true
	clients := t.clients
	t.clients = nil
	t.mu.Unlock()
	for c := range clients {
		c.end()
	}
}

// CloseWithin is Close, and returns when the clients have read what they were
// given; what they have not by the deadline they miss.
func (t *Tee) CloseWithin(patience time.Duration) {
	t.mu.Lock()
	clients := make([]*client, 0, len(t.clients))
	for c := range t.clients {
		clients = append(clients, c)
	}
	t.mu.Unlock()
	t.Close()
	for _, c := range clients {
		_ = c.pipe.SetWriteDeadline(time.Now().Add(patience))
		<-c.done
	}
}

func (c *client) offer(chunk []byte) {
	var patience <-chan time.Time
	for {
		c.mu.Lock()
		// A chunk larger than the room must get through an empty queue.
		fits := c.room >= len(chunk) || c.room == teeRoom
		if c.lagging && c.room == teeRoom {
			c.lagging = false
		}
		if c.ended || c.lagging {
			c.mu.Unlock()
			return
		}
		if fits {
			c.queue = append(c.queue, chunk)
			c.room -= len(chunk)
			c.mu.Unlock()
			signal(c.changed)
			return
		}
		c.mu.Unlock()
		if patience == nil {
			timer := time.NewTimer(teePatience)
			defer timer.Stop()
			patience = timer.C
		}
		select {
		case <-c.drained:
		case <-patience:
			c.mu.Lock()
			c.lagging = true
			c.mu.Unlock()
			return
		}
	}
}

func (c *client) run() {
	defer close(c.done)
	defer c.pipe.Close()
	for {
		c.mu.Lock()
		queue, ended := c.queue, c.ended
		c.queue = nil
		c.mu.Unlock()
		for _, chunk := range queue {
			if _, err := c.pipe.Write(chunk); err != nil {
				c.drop()
				return
			}
			c.mu.Lock()
			c.room += len(chunk)
			c.mu.Unlock()
			signal(c.drained)
		}
		if len(queue) > 0 {
			continue
		}
		if ended {
			return
		}
		<-c.changed
	}
}

// end says that no more will come.
func (c *client) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	signal(c.changed)
	signal(c.drained)
}

// drop takes the client off the stream, with what it has not read.
func (c *client) drop() {
	c.tee.mu.Lock()
	delete(c.tee.clients, c)
	c.tee.mu.Unlock()
	c.mu.Lock()
	c.queue = nil
	c.mu.Unlock()
	c.end()
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
