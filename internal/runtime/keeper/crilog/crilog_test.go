package crilog

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var at = time.Date(2026, 1, 2, 15, 4, 5, 60, time.UTC)

const stamp = "2026-01-02T15:04:05.000000060Z"

func TestSplitterLines(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	for _, c := range []struct {
		name   string
		chunks []string
		want   []string
	}{
		{"one line", []string{"hello\n"}, []string{"F hello"}},
		{"two lines in one chunk", []string{"a\nb\n"}, []string{"F a", "F b"}},
		{"a line in two chunks", []string{"he", "llo\n"}, []string{"F hello"}},
		{"an empty line", []string{"\n"}, []string{"F "}},
		{"no end of line", []string{"tail"}, []string{"P tail"}},
		{"as long as fits", []string{long + "\n"}, []string{"F " + long}},
		{"one byte longer", []string{long + "y\n"}, []string{"P " + long, "F y"}},
		{"long without an end", []string{long, "y"}, []string{"P " + long, "P y"}},
		{"binary", []string{"\x00\xff\r\n"}, []string{"F \x00\xff\r"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Splitter{Stream: Stdout}
			var got []byte
			for _, chunk := range c.chunks {
				got = s.Append(got, []byte(chunk), at)
			}
			got = s.Flush(got, at)
			var want strings.Builder
			for _, line := range c.want {
				fmt.Fprintf(&want, "%s stdout %s\n", stamp, line)
			}
			if string(got) != want.String() {
				t.Fatalf("got %.200q\nwant %.200q", got, want.String())
			}
		})
	}
}

// Whatever the chunks, the log gives back every byte in order, and no log line
// is longer than allowed.
func TestSplitterKeepsEveryByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chunks := rapid.SliceOf(rapid.SliceOfN(rapid.SampledFrom([]byte("ab\n\x00\xff")), 0, 40)).Draw(t, "chunks")
		if rapid.Bool().Draw(t, "long") {
			chunks = append(chunks, bytes.Repeat([]byte("z"), rapid.IntRange(MaxLine-2, 3*MaxLine).Draw(t, "length")))
		}
		s := Splitter{Stream: Stderr}
		var log []byte
		for _, c := range chunks {
			log = s.Append(log, c, at)
		}
		log = s.Flush(log, at)
		got := parse(t, log)
		want := bytes.Join(chunks, nil)
		if !bytes.Equal(got, want) {
			t.Fatalf("got %.100q want %.100q", got, want)
		}
	})
}

type fataler interface{ Fatalf(string, ...any) }

// parse reads a log as its readers do.
func parse(t fataler, log []byte) []byte {
	var out []byte
	for line := range bytes.Lines(log) {
		fields := bytes.SplitN(bytes.TrimSuffix(line, []byte("\n")), []byte(" "), 4)
		if len(fields) != 4 {
			t.Fatalf("bad line %.100q", line)
		}
		if _, err := time.Parse(time.RFC3339Nano, string(fields[0])); err != nil {
			t.Fatalf("bad time: %v", err)
		}
		if len(fields[3]) > MaxLine {
			t.Fatalf("line of %d bytes", len(fields[3]))
		}
		out = append(out, fields[3]...)
		if fields[2][0] == 'F' {
			out = append(out, '\n')
		}
	}
	return out
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func startPump(t *testing.T, path string) (p *Pump, tee *Tee, file *File, w *os.File) {
	t.Helper()
	r, w := pipe(t)
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tee = &Tee{}
	p, err = Start(r, Stdout, file, tee, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p, tee, file, w
}

func TestPumpFinishesWithTheWriterStillThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d", "0.log")
	p, _, _, w := startPump(t, path)
	fmt.Fprint(w, "one\ntwo")
	p.Finish()
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(parse(t, log)); got != "one\ntwo" {
		t.Fatalf("got %q", got)
	}
}

func TestPumpSuspendedLineGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	p, tee, file, w := startPump(t, path)
	fmt.Fprint(w, "one\ntw")
	for !strings.Contains(read(t, path), "one") {
		time.Sleep(time.Millisecond)
	}
	p.Suspend()
	fmt.Fprint(w, "o\n")
	p, err := Start(p.source, Stdout, file, tee, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.Finish()
	if got := string(parse(t, []byte(read(t, path)))); got != "one\ntwo\n" {
		t.Fatalf("got %q", got)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReopenRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	p, _, file, w := startPump(t, path)
	fmt.Fprint(w, "old\n")
	for read(t, path) == "" {
		time.Sleep(time.Millisecond)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := file.Reopen(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "new\n")
	p.Finish()
	if old, fresh := read(t, path+".1"), read(t, path); !strings.Contains(old, "old") || !strings.Contains(fresh, "new") || strings.Contains(fresh, "old") {
		t.Fatalf("old %q new %q", old, fresh)
	}
}

// A client that never reads must not hold up the stream, and one that reads
// gets everything.
func TestSlowClientDoesNotHoldTheStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	p, tee, _, w := startPump(t, path)
	deafR, deafW := pipe(t)
	_ = deafR
	remove := tee.Add(deafW)
	goodR, goodW := pipe(t)
	tee.Add(goodW)
	received := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(goodR)
		received <- b
	}()
	sent := bytes.Repeat([]byte(strings.Repeat("0123456789", 10)+"\n"), 50_000) // 5 MB
	if _, err := w.Write(sent); err != nil {
		t.Fatal(err)
	}
	p.Finish()
	tee.Close()
	if got := <-received; !bytes.Equal(got, sent) {
		t.Fatalf("the reading client got %d of %d bytes", len(got), len(sent))
	}
	if got := parse(t, []byte(read(t, path))); !bytes.Equal(got, sent) {
		t.Fatalf("the log got %d of %d bytes", len(got), len(sent))
	}
	remove()
}

func BenchmarkSplitter(b *testing.B) {
	chunk := bytes.Repeat([]byte(strings.Repeat("0123456789", 10)+"\n"), chunkSize/101)
	s := Splitter{Stream: Stdout}
	var dst []byte
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		dst = s.Append(dst[:0], chunk, at)
	}
}

func TestTheFirstClientGetsTheBeginning(t *testing.T) {
	long := strings.Repeat("x", headRoom)
	for name, c := range map[string]struct {
		before     []string
		join       bool
		one, other string
	}{
		"a prompt":                 {before: []string{"/ ", "# "}, one: "/ # now", other: "now"},
		"more than a conversation": {before: []string{long, "x"}, one: "now", other: "now"},
		"a stream taken over":      {before: []string{"here"}, join: true, one: "now", other: "now"},
	} {
		t.Run(name, func(t *testing.T) {
			tee := &Tee{}
			if c.join {
				tee.Join()
			}
			for _, chunk := range c.before {
				tee.Write([]byte(chunk))
			}
			one, oneEnd := pipe(t)
			other, otherEnd := pipe(t)
			tee.Add(oneEnd)
			tee.Add(otherEnd)
			tee.Write([]byte("now"))
			tee.Close()
			for who, want := range map[*os.File]string{one: c.one, other: c.other} {
				if got, err := io.ReadAll(who); err != nil || string(got) != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
			}
		})
	}
}

func TestAClientThatComesAfterTheEndGetsWhatNobodyHasRead(t *testing.T) {
	tee := &Tee{}
	tee.Write([]byte("hi"))
	tee.Close()
	r, w := pipe(t)
	tee.Add(w)
	if got, err := io.ReadAll(r); err != nil || string(got) != "hi" {
		t.Errorf("got %q, %v", got, err)
	}
}
