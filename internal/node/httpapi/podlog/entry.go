package podlog

import (
	"bytes"
	"time"
)

// Entry is one line of a CRI log file: a line of output, or a part of a long one.
type Entry struct {
	// Time as the runtime wrote it (RFC 3339 with nanoseconds).
	Time   time.Time
	Stderr bool
	// Partial entries go on in the next one of the same stream.
	Partial bool
	Text    []byte
}

// parseEntry reads "2026-11-22T22:52:43.123456789Z stdout F text" without its newline; false is a line that is none. Text
// points into line.
func parseEntry(line []byte) (Entry, bool) {
	stamp, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok {
		return Entry{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return Entry{}, false
	}
	stream, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok || (string(stream) != "stdout" && string(stream) != "stderr") {
		return Entry{}, false
	}
	// An empty line may have lost the space before its text. More tags may follow after a colon.
	tags, text, _ := bytes.Cut(rest, []byte{' '})
	tag, _, _ := bytes.Cut(tags, []byte{':'})
	if string(tag) != "F" && string(tag) != "P" {
		return Entry{}, false
	}
	return Entry{Time: at, Stderr: string(stream) == "stderr", Partial: string(tag) == "P", Text: text}, true
}

// stream numbers the streams: stdout is 0, stderr 1.
func (e *Entry) stream() int {
	if e.Stderr {
		return 1
	}
	return 0
}
