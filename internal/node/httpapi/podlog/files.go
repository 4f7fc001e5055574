package podlog

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLine bounds what is held of one line of a file. Runtimes write at most 16 KiB an entry; a longer line is no log.
const maxLine = 1 << 20

// rotated lists the files that were rotated away from path, the oldest first: path.20261122-225243, and the same with .gz. What
// is half made (.tmp) is left out, and a file whose compression crashed after it was complete comes once.
func rotated(path string) ([]string, error) {
	names, err := filepath.Glob(globQuote(path) + ".*")
	if err != nil {
		return nil, err
	}
	byStamp := map[string]string{}
	for _, name := range names {
		stamp := stampOf(path, name)
		if stamp == "" || strings.Trim(stamp, "0123456789-.") != "" {
			continue
		}
		if _, dup := byStamp[stamp]; !dup || !strings.HasSuffix(name, ".gz") {
			byStamp[stamp] = name
		}
	}
	out := make([]string, 0, len(byStamp))
	for _, name := range byStamp {
		out = append(out, name)
	}
	slices.SortFunc(out, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, ".gz"), strings.TrimSuffix(b, ".gz"))
	})
	return out, nil
}

// stampOf is when a file was moved away from path.
func stampOf(path, name string) string {
	return strings.TrimSuffix(strings.TrimPrefix(name, path+"."), ".gz")
}

func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// logFile is one file of a log, compressed or not.
type logFile struct {
	file *os.File
	in   *bufio.Reader
	// rest is the beginning of a line that isn't complete yet.
	rest []byte
}

// openLog opens a file of a log by its name; one that was compressed meanwhile by its new name.
func openLog(name string) (*logFile, error) {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(name, ".gz") {
		name += ".gz"
		file, err = os.Open(name)
	}
	if err != nil {
		return nil, err
	}
	var source io.Reader = file
	if strings.HasSuffix(name, ".gz") {
		if source, err = gzip.NewReader(file); err != nil {
			file.Close()
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return &logFile{file: file, in: bufio.NewReaderSize(source, 64<<10)}, nil
}

// rewind begins anew; for files that are not compressed.
func (l *logFile) rewind() error {
	l.in.Reset(l.file)
	l.rest = nil
	_, err := l.file.Seek(0, io.SeekStart)
	return err
}

func (l *logFile) is(info fs.FileInfo) bool {
	own, err := l.file.Stat()
	return err == nil && os.SameFile(own, info)
}

func (l *logFile) close() { l.file.Close() }

// next returns the next complete line without its newline, valid until the next call, or io.EOF. After io.EOF it may be called
// again, for what was written since.
func (l *logFile) next() ([]byte, error) {
	for {
		part, err := l.in.ReadSlice('\n')
		switch {
		case err == nil && len(l.rest) == 0:
			return part[:len(part)-1], nil
		case err == nil:
			line := append(l.rest, part[:len(part)-1]...)
			l.rest = nil
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull) || errors.Is(err, io.EOF):
			if len(l.rest)+len(part) <= maxLine {
				l.rest = append(l.rest, part...)
			}
			if errors.Is(err, io.EOF) {
				return nil, io.EOF
			}
		default:
			return nil, err
		}
	}
}

// pieces are the files of a log in order: those that were moved away, and the one that the runtime writes. That one is opened
// before the others are listed, so that none is missed whatever is moved away meanwhile.
type pieces struct {
	rotated []string
	current *logFile // nil: there is none
}

func findPieces(path string) (pieces, error) {
	var p pieces
	var err error
	if p.current, err = openLog(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	if p.rotated, err = rotated(path); err != nil || p.current == nil {
		return p, err
	}
	p.rotated = slices.DeleteFunc(p.rotated, func(name string) bool {
		info, err := os.Stat(name)
		return err == nil && p.current.is(info)
	})
	return p, nil
}

func (p *pieces) len() int { return len(p.rotated) + 1 }

// open opens the i-th piece at its beginning; nil where it is gone, which the oldest may be at any time. done closes it.
func (p *pieces) open(i int) (log *logFile, done func(), err error) {
	if i == len(p.rotated) {
		if p.current == nil {
			return nil, nil, nil
		}
		return p.current, func() {}, p.current.rewind()
	}
	log, err = openLog(p.rotated[i])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return log, log.close, nil
}

// position is a place in a log: skip this many lines of the files' i-th.
type position struct {
	file int
	skip int64
}

// tailPosition finds where the last n lines (of the streams wanted, the parts of a line counting once) begin. Only as many
// files are read as it takes, the newest first. A line may begin in one file and end in the next, so the first entry of a
// stream in a file is a beginning only once the file before it has shown that it is none's continuation.
func tailPosition(p *pieces, opts *Options, n int64) (position, error) {
	var scans []scan // of the pieces from i on
	for i := p.len() - 1; i >= 0; i-- {
		s, err := scanPiece(p, i, opts, n)
		if err != nil {
			return position{}, err
		}
		if n == 0 {
			return position{i, s.entries}, nil
		}
		scans = append([]scan{s}, scans...)
		places, certain := beginnings(scans, i)
		if k := int64(len(places)) - n; k >= 0 && k >= certain {
			return places[k], nil
		}
	}
	return position{}, nil
}

// beginnings lists where lines begin in the scanned files, of which the oldest is number offset. All from the index certain on
// are sure; before it some may turn out to be continuations.
func beginnings(scans []scan, offset int) (places []position, certain int64) {
	open, known := [2]bool{}, [2]bool{offset == 0, offset == 0}
	for j := range scans {
		s := &scans[j]
		for _, start := range s.starts {
			doubtful := false
			if stream := slices.Index(s.first[:], start); stream >= 0 {
				if known[stream] && open[stream] {
					continue
				}
				doubtful = !known[stream]
			}
			places = append(places, position{offset + j, start})
			if doubtful {
				certain = int64(len(places))
			}
		}
		for stream := range open {
			if s.first[stream] >= 0 {
				open[stream], known[stream] = s.open[stream], true
			}
		}
	}
	return places, certain
}

// scan is what a file says of its lines, as if nothing were open at its beginning. Streams are stdout and stderr.
type scan struct {
	entries int64
	// starts are the entries that begin a line, of which only the last are kept.
	starts []int64
	// first is the first entry of a stream, or -1.
	first [2]int64
	// open tells that the last entry of a stream goes on in the next file.
	open [2]bool
}

func scanPiece(p *pieces, i int, opts *Options, n int64) (scan, error) {
	s := scan{first: [2]int64{-1, -1}}
	log, done, err := p.open(i)
	if log == nil || err != nil {
		return s, err
	}
	defer done()
	for ; ; s.entries++ {
		line, err := log.next()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		if e, ok := parseEntry(line); ok && opts.wants(&e) {
			s.add(&e, n)
		}
	}
}

func (s *scan) add(e *Entry, n int64) {
	stream := e.stream()
	if s.first[stream] < 0 {
		s.first[stream] = s.entries
	}
	if !s.open[stream] {
		s.starts = append(s.starts, s.entries)
	}
	s.open[stream] = e.Partial
	// Two more than asked for: the first of either stream may turn out to be none.
	if keep := n + 2; int64(len(s.starts)) > 2*keep+1024 {
		s.starts = slices.Clone(s.starts[int64(len(s.starts))-keep:])
	}
}
