package crilog

import (
	"bytes"
	"time"
)

// MaxLine is how much of a line goes into one log line, in bytes; readers of
// CRI logs allocate for it.
const MaxLine = 16 << 10

// Stream names, as they stand in the file.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// timeFormat is RFC3339Nano with all nine digits, in UTC: lines sort as text.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// Splitter turns chunks of one stream into log lines. It keeps the last,
// unfinished line.
type Splitter struct {
	Stream  string
	pending []byte
}

// Append adds the lines that the chunk completes to dst.
func (s *Splitter) Append(dst, chunk []byte, now time.Time) []byte {
	prefix := s.prefix(now)
	for len(chunk) > 0 {
		end := bytes.IndexByte(chunk, '\n')
		if end < 0 {
			break
		}
		line := chunk[:end]
		chunk = chunk[end+1:]
		if len(s.pending) > 0 {
			s.pending = append(s.pending, line...)
			line = s.pending
		}
		dst, line = appendPartial(dst, prefix, line)
		dst = appendLine(dst, prefix, 'F', line)
		s.pending = s.pending[:0]
	}
	if len(chunk) > 0 {
		s.pending = append(s.pending, chunk...)
		var rest []byte
		dst, rest = appendPartial(dst, prefix, s.pending)
		s.pending = append(s.pending[:0], rest...)
	}
	if len(s.pending) == 0 && cap(s.pending) > 1<<10 {
		s.pending = nil // a quiet container should not hold a long line's room
	}
	return dst
}

// Flush adds the unfinished line as such: no end of line was written, and readers
// show none.
func (s *Splitter) Flush(dst []byte, now time.Time) []byte {
	if len(s.pending) == 0 {
		return dst
	}
	dst = appendLine(dst, s.prefix(now), 'P', s.pending)
	s.pending = nil
	return dst
}

// prefix is what a line begins with, up to the tag.
func (s *Splitter) prefix(now time.Time) []byte {
	b := make([]byte, 0, len(timeFormat)+len(s.Stream)+2)
	b = now.UTC().AppendFormat(b, timeFormat)
	b = append(b, ' ')
	b = append(b, s.Stream...)
	return append(b, ' ')
}

// appendPartial adds the parts of line that are beyond what one log line holds,
// and returns the last one, which is not added.
func appendPartial(dst, prefix, line []byte) (lines, rest []byte) {
	for len(line) > MaxLine {
		dst = appendLine(dst, prefix, 'P', line[:MaxLine])
		line = line[MaxLine:]
	}
	return dst, line
}

func appendLine(dst, prefix []byte, tag byte, line []byte) []byte {
	dst = append(dst, prefix...)
	dst = append(dst, tag, ' ')
	dst = append(dst, line...)
	return append(dst, '\n')
}
