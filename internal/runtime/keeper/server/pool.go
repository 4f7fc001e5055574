package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/proa-project/proa/internal/runtime/keeper/process"
	"github.com/proa-project/proa/internal/runtime/keeper/sandbox"
)

// refillAfter is how long no sandbox or container must have been started before
// the stock is filled up: making a blank must not cost a start its CPU.
const refillAfter = 100 * time.Millisecond

// blank is a pause in its own namespaces that belongs to no sandbox yet.
type blank struct {
	pid    int
	start  uint64
	proc   *process.Process
	holder *sandbox.Holder
}

// pool keeps blank sandboxes of the plain kind in stock.
type pool struct {
	s *Server

	mu     sync.Mutex
	stock  []*blank
	timer  *time.Timer
	closed bool

	work sync.Mutex // held while the stock is filled up
}

func newPool(s *Server) *pool { return &pool{s: s} }

// get takes a blank from stock, or makes one.
func (p *pool) get(k sandbox.Kind) (*blank, error) {
	if k.Plain() {
		p.mu.Lock()
		if n := len(p.stock); n > 0 {
			b := p.stock[n-1]
			p.stock = p.stock[:n-1]
			p.mu.Unlock()
			return b, nil
		}
		p.mu.Unlock()
	}
	return p.s.spawn(k)
}

func (s *Server) spawn(k sandbox.Kind) (*blank, error) {
	pid, holder, err := s.pause.Spawn(k)
	if err != nil {
		return nil, err
	}
	proc, err := process.Watch(pid, 0)
	if err != nil {
		_ = holder.Close()
		return nil, fmt.Errorf("watch pause: %w", err)
	}
	return &blank{pid: pid, start: proc.StartTime, proc: proc, holder: holder}, nil
}

// kill ends a blank and reaps it.
func (b *blank) kill() {
	_ = b.holder.Close()
	_ = b.proc.Signal(syscall.SIGKILL)
	_, _ = b.proc.Wait()
}

// marker is the file that tells the next keeper of a blank.
func (p *pool) marker(b *blank) string {
	return filepath.Join(p.s.store.dir, "pool", fmt.Sprintf("%d-%d", b.pid, b.start))
}

// forget says that b is recorded elsewhere, or gone.
func (p *pool) forget(b *blank) { _ = os.Remove(p.marker(b)) }

// refillLater fills the stock up, once it is quiet.
func (p *pool) refillLater() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.s.cfg.Pool <= 0 {
		return
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(refillAfter, p.refill)
		return
	}
	p.timer.Reset(refillAfter)
}

func (p *pool) refill() {
	p.work.Lock()
	defer p.work.Unlock()
	for {
		p.mu.Lock()
		full := p.closed || len(p.stock) >= p.s.cfg.Pool
		p.mu.Unlock()
		if full {
			return
		}
		b, err := p.s.spawn(sandbox.Kind{Net: true, IPC: true, UTS: true})
		if err != nil {
			p.s.cfg.Log.Warn("make a blank sandbox", "err", err)
			return
		}
		if err := os.WriteFile(p.marker(b), nil, 0o600); err != nil {
			p.s.cfg.Log.Warn("make a blank sandbox", "err", err)
			b.kill()
			return
		}
		p.mu.Lock()
		keep := !p.closed
		if keep {
			p.stock = append(p.stock, b)
		}
		p.mu.Unlock()
		if !keep {
			b.kill()
			p.forget(b)
		}
		p.s.memory.touch()
	}
}

// close kills the stock.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.work.Lock() // a refill that is under way sees closed and stops
	defer p.work.Unlock()
	p.mu.Lock()
	stock := p.stock
	p.stock = nil
	p.mu.Unlock()
	for _, b := range stock {
		b.kill()
		p.forget(b)
	}
}

// killStock ends the blanks that a killed keeper has left behind.
func (p *pool) killStock() {
	dir := filepath.Join(p.s.store.dir, "pool")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		first, second, _ := strings.Cut(e.Name(), "-")
		pid, err1 := strconv.Atoi(first)
		start, err2 := strconv.ParseUint(second, 10, 64)
		if err1 == nil && err2 == nil {
			if proc, err := process.Watch(pid, start); err == nil {
				_ = proc.Signal(syscall.SIGKILL)
				_, _ = proc.Wait()
			}
		}
		_ = os.Remove(filepath.Join(dir, e.Name()))
	}
}
