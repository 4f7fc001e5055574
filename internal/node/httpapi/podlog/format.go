package podlog

import (
	"bufio"
	"errors"
	"io"
	"time"
)

// Options say what of a log to read; the zero value is all of both streams.
type Options struct {
	// Tail is the number of lines from the end; nil is all.
	Tail *int64
	// Limit is the number of bytes at most; nil is no limit.
	Limit *int64
	// Since drops what is older.
	Since time.Time
	// Timestamps puts the time before each line.
	Timestamps bool
	// Follow goes on until the container has ended.
	Follow bool
	// NoStdout and NoStderr leave a stream out.
	NoStdout, NoStderr bool
}

func (o *Options) wants(e *Entry) bool {
	if e.Stderr {
		return !o.NoStderr
	}
	return !o.NoStdout
}

// stampLayout has nanoseconds of fixed width, as stock clients show them.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// errLimit ends the reading: the client has all the bytes that it asked for.
var errLimit = errors.New("byte limit reached")

// formatter turns entries into output. A time stamp stands at the beginning of a line only, not of its later parts.
type formatter struct {
	out  *bufio.Writer
	opts *Options
	// left is how many bytes may still be written, or below zero for no limit.
	left int64
	// open tells, a stream (stdout, stderr), that its last entry was partial.
	open [2]bool
}

func newFormatter(out io.Writer, opts *Options) *formatter {
	f := &formatter{out: bufio.NewWriterSize(out, 32<<10), opts: opts, left: -1}
	if opts.Limit != nil {
		f.left = *opts.Limit
	}
	return f
}

func (f *formatter) entry(e *Entry) error {
	if !f.opts.wants(e) || e.Time.Before(f.opts.Since) {
		return nil
	}
	stream := e.stream()
	if f.opts.Timestamps && !f.open[stream] {
		if err := f.write(append(e.Time.AppendFormat(nil, stampLayout), ' ')); err != nil {
			return err
		}
	}
	f.open[stream] = e.Partial
	if err := f.write(e.Text); err != nil || e.Partial {
		return err
	}
	return f.write([]byte{'\n'})
}

func (f *formatter) write(data []byte) error {
	if f.left < 0 {
		_, err := f.out.Write(data)
		return err
	}
	cut := data[:min(int64(len(data)), f.left)]
	f.left -= int64(len(cut))
	if _, err := f.out.Write(cut); err != nil {
		return err
	}
	if f.left == 0 {
		return errLimit
	}
	return nil
}
