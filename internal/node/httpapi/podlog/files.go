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
		stamp := strings.TrimSuffix(strings.TrimPrefix(name, path+"."), ".gz")
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

func openLog(name string) (*logFile, error) {
	file, err := os.Open(name)
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

// position is a place in a log: skip this many lines of the files' i-th.
type position struct {
	file int
	skip int64
}

// tailPosition finds where the last n lines (of the streams wanted, the parts of a line counting once) begin. Only as many
// files are read as it takes, the newest first. A line may begin in one file and end in the next, so the first entry of a
// stream in a file is a beginning only once the file before it has shown that it is none's continuation.
func tailPosition(names []string, opts *Options, n int64) (position, error) {
	var scans []scan // of names[i:]
	for i := len(names) - 1; i >= 0; i-- {
		s, err := scanFile(names[i], opts, n)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
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

func scanFile(name string, opts *Options, n int64) (scan, error) {
	s := scan{first: [2]int64{-1, -1}}
	log, err := openLog(name)
	if err != nil {
		return s, err
	}
	defer log.close()
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
