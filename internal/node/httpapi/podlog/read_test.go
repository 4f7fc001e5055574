package podlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = "2026-11-22T10:00:0"

// logOf writes entries "second stream tag text".
func logOf(entries ...string) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(day + e[:1] + ".5Z" + e[1:] + "\n")
	}
	return b.String()
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if strings.HasSuffix(name, ".gz") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := io.WriteString(z, text); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		text = b.String()
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path+".20261122-090000.gz", logOf("0 stdout F zero", "1 stdout F one"))
	write(t, path+".20261122-100000", logOf("2 stderr F two", "3 stdout P th"))
	write(t, path+".20261122-100000.tmp", "half made")
	write(t, path, logOf("3 stdout F ree", "4 stdout F ", "5 stdout F")+"garbage\n"+logOf("6 stderr F six \x00\xff", "7 stdout P cut")+day+"8.5Z stdout F no newl")
	const all = "zero\none\ntwo\nthree\n\n\nsix \x00\xff\ncut"
	stamp := func(second string) string { return day + second + ".500000000Z " }
	for name, tc := range map[string]struct {
		opts Options
		want string
	}{
		"all":                   {Options{}, all},
		"stdout":                {Options{NoStderr: true}, "zero\none\nthree\n\n\ncut"},
		"stderr":                {Options{NoStdout: true}, "two\nsix \x00\xff\n"},
		"time stamps":           {Options{Timestamps: true, NoStdout: true}, stamp("2") + "two\n" + stamp("6") + "six \x00\xff\n"},
		"once a line":           {Options{Timestamps: true, NoStderr: true, Limit: ptr.To[int64](105)}, stamp("0") + "zero\n" + stamp("1") + "one\n" + stamp("3") + "thr"},
		"since":                 {Options{Since: time.Date(2026, 11, 22, 10, 0, 5, 0, time.UTC)}, "\nsix \x00\xff\ncut"},
		"tail 0":                {Options{Tail: ptr.To[int64](0)}, ""},
		"tail 2":                {Options{Tail: ptr.To[int64](2)}, "six \x00\xff\ncut"},
		"tail of a file before": {Options{Tail: ptr.To[int64](5), NoStderr: true}, "one\nthree\n\n\ncut"},
		"tail of stderr":        {Options{Tail: ptr.To[int64](2), NoStdout: true}, "two\nsix \x00\xff\n"},
		"tail too long":         {Options{Tail: ptr.To[int64](99)}, all},
		"limit":                 {Options{Limit: ptr.To[int64](6)}, "zero\no"},
		"limit 0":               {Options{Limit: ptr.To[int64](0)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Read(context.Background(), path, tc.opts, &out, nil); err != nil {
				t.Fatal(err)
			}
			if out.String() != tc.want {
				t.Errorf("got  %q\nwant %q", out.String(), tc.want)
			}
		})
	}
}

func TestReadWithoutALog(t *testing.T) {
	var out bytes.Buffer
	if err := Read(context.Background(), filepath.Join(t.TempDir(), "no", "0.log"), Options{Tail: ptr.To[int64](3)}, &out, nil); err != nil || out.Len() != 0 {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestFollowOverRotationToTheEnd(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	in, out := io.Pipe()
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() {
		err := Read(context.Background(), path, Options{Follow: true}, out, ended)
		out.Close()
		done <- err
	}()
	expect := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
			t.Fatalf("got %q %v, want %q", got, err, want)
		}
	}
	appendTo := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(path, logOf("1 stdout F first"))
	expect("first\n")
	// A line comes when it is complete.
	appendTo(path, day+"2Z stdout F sec")
	appendTo(path, "ond\n")
	expect("second\n")
	if err := os.Rename(path, path+".20261122-100000"); err != nil {
		t.Fatal(err)
	}
	// The runtime writes the old file until it is told to reopen.
	appendTo(path+".20261122-100000", logOf("3 stdout F late"))
	expect("late\n")
	appendTo(path, logOf("4 stdout F new file"))
	expect("new file\n")
	appendTo(path, logOf("5 stdout F last"))
	close(ended)
	expect("last\n")
	if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
		t.Errorf("after the end: %q %v", rest, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A client that is slow sees all the same what was written while it slept through several rotations, compressed ones too.
func TestFollowOverSeveralRotationsAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	write(t, path, logOf("1 stdout F one"))
	in, out := io.Pipe() // a write waits for its reader
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() {
		err := Read(context.Background(), path, Options{Follow: true}, out, ended)
		out.Close()
		done <- err
	}()
	first := make([]byte, 1) // the reader is in the middle of its first write
	if _, err := io.ReadFull(in, first); err != nil {
		t.Fatal(err)
	}
	rotate := func(stamp, compressed string) {
		t.Helper()
		if err := os.Rename(path, path+"."+stamp); err != nil {
			t.Fatal(err)
		}
		if compressed != "" {
			data, err := os.ReadFile(path + "." + compressed)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path+"."+compressed+".gz", string(data))
			if err := os.Remove(path + "." + compressed); err != nil {
				t.Fatal(err)
			}
		}
	}
	rotate("20261122-100001", "")
	write(t, path, logOf("2 stdout F two"))
	rotate("20261122-100002", "20261122-100001")
	write(t, path, logOf("3 stdout F three"))
	rotate("20261122-100003", "20261122-100002")
	write(t, path, logOf("4 stdout F four"))
	close(ended)
	rest, err := io.ReadAll(in)
	if got := string(first) + string(rest); err != nil || got != "one\ntwo\nthree\nfour\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowEndsWithItsClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write(t, path, logOf("1 stdout F x"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Read(ctx, path, Options{Follow: true}, io.Discard, make(chan struct{})); err == nil {
		t.Error("followed for nobody")
	}
}

// TestTailIsTheEndOfAll: for any log in any pieces, the tail is what the last lines of the whole are.
func TestTailIsTheEndOfAll(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(dir, fmt.Sprintf("%d.log", time.Now().UnixNano()))
		defer func() {
			for _, name := range glob(path) {
				os.Remove(name)
			}
		}()
		var pieces []string
		lines := rapid.SliceOfN(rapid.StringMatching(`[a-z ]{0,5}`), 0, 12).Draw(rt, "lines")
		piece := ""
		for _, line := range lines {
			cut := rapid.IntRange(0, len(line)).Draw(rt, "cut")
			if cut > 0 {
				piece += logOf("1 stdout P " + line[:cut])
			}
			if rapid.Bool().Draw(rt, "rotate") {
				pieces, piece = append(pieces, piece), ""
			}
			piece += logOf("1 stdout F " + line[cut:])
		}
		for i, text := range pieces {
			write(t, fmt.Sprintf("%s.2026%04d-000000%s", path, i, []string{"", ".gz"}[rapid.IntRange(0, 1).Draw(rt, "gz")]), text)
		}
		write(t, path, piece)
		var whole bytes.Buffer
		if err := Read(context.Background(), path, Options{}, &whole, nil); err != nil {
			rt.Fatal(err)
		}
		want := ""
		for _, line := range lines {
			want += line + "\n"
		}
		if whole.String() != want {
			rt.Fatalf("whole: %q, want %q", whole.String(), want)
		}
		n := rapid.Int64Range(0, 14).Draw(rt, "tail")
		var out bytes.Buffer
		if err := Read(context.Background(), path, Options{Tail: &n}, &out, nil); err != nil {
			rt.Fatal(err)
		}
		if !strings.HasSuffix(want, out.String()) || int64(strings.Count(out.String(), "\n")) != min(n, int64(len(lines))) {
			rt.Fatalf("tail %d of %q: %q", n, want, out.String())
		}
	})
}

func glob(path string) []string {
	names, _ := filepath.Glob(path + "*")
	return names
}
