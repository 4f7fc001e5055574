package crilog

import (
	"errors"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// chunkSize is a pipe's capacity: one read empties it.
const chunkSize = 64 << 10

// chunks and batches are lent for one read each, so that an idle stream holds
// neither.
var (
	chunks  = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}
	batches = sync.Pool{New: func() any { b := make([]byte, 0, chunkSize*2); return &b }}
)

// Pump empties one stream of a container into its log file and its clients.
type Pump struct {
	source *os.File // non-blocking
	raw    syscall.RawConn
	file   *File
	tee    *Tee
	split  Splitter
	now    func() time.Time
	log    *slog.Logger

	done     chan struct{}
	failed   bool // the last write failed, and was reported
	suspends bool // set before the deadline wakes the loop
}

// Start begins to pump source, which stays the caller's to close after Done.
func Start(source *os.File, stream string, file *File, tee *Tee, log *slog.Logger) (*Pump, error) {
	raw, err := source.SyscallConn()
	if err != nil {
		return nil, err
	}
	// A suspended pump has left its deadline on the source.
	if err := source.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	p := &Pump{
		source: source, raw: raw, file: file, tee: tee, split: Splitter{Stream: stream},
		now: time.Now, log: log, done: make(chan struct{}),
	}
	go p.run()
	return p, nil
}

// Done is closed when the stream has ended and everything of it is written.
func (p *Pump) Done() <-chan struct{} { return p.done }

// Finish takes what is left in the stream and ends it, even if somebody still
// holds its write end.
func (p *Pump) Finish() {
	_ = p.source.SetReadDeadline(time.Unix(1, 0))
	<-p.done
}

// Suspend ends the pump without ending the stream: what is not read stays in
// the pipe for the next pump, the unfinished line is marked as such.
func (p *Pump) Suspend() {
	p.suspends = true
	p.Finish()
}

func (p *Pump) run() {
	defer close(p.done)
	for {
		more := false
		err := p.raw.Read(func(fd uintptr) bool {
			n, err := p.read(int(fd))
			more = n > 0
			return !errors.Is(err, syscall.EAGAIN)
		})
		if err == nil && more {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !p.suspends {
			p.drain()
		}
		break
	}
	if rest := p.split.Flush(nil, p.now()); len(rest) > 0 {
		p.write(rest)
	}
}

// drain takes what the pipe holds, without waiting for more. It is bounded,
// because a process that escaped may write for ever.
func (p *Pump) drain() {
	const limit = 64 << 20
	_ = p.raw.Control(func(fd uintptr) {
		for total := 0; total < limit; {
			n, err := p.read(int(fd))
			if n <= 0 || err != nil {
				return
			}
			total += n
		}
	})
}

// read takes one chunk, if there is one, and writes its lines.
func (p *Pump) read(fd int) (int, error) {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	n, err := syscall.Read(fd, *buf)
	for err == syscall.EINTR {
		n, err = syscall.Read(fd, *buf)
	}
	if n <= 0 {
		return 0, err
	}
	chunk := (*buf)[:n]
	batch := batches.Get().(*[]byte)
	*batch = p.split.Append((*batch)[:0], chunk, p.now())
	p.write(*batch)
	if cap(*batch) <= 16*chunkSize {
		batches.Put(batch)
	}
	p.tee.Write(chunk)
	return n, nil
}

func (p *Pump) write(lines []byte) {
	_, err := p.file.Write(lines)
	if err != nil && !p.failed {
		p.log.Warn("write container log", "path", p.file.path, "err", err)
	}
	p.failed = err != nil
}
