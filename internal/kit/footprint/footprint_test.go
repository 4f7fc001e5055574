package footprint

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDecide(t *testing.T) {
	p := Policy{Quiet: 2, Garbage: 10, Work: 30, Rest: time.Minute}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var m memory
	for i, step := range []struct {
		at        time.Duration
		allocated uint64
		want      action
	}{
		{0, 5, action{}},                               // busy
		{5 * time.Second, 6, action{}},                 // quiet, but little garbage
		{10 * time.Second, 50, action{}},               // busy
		{15 * time.Second, 51, action{collect: true}},  // quiet again
		{20 * time.Second, 52, action{}},               // nothing new
		{70 * time.Second, 53, action{}},               // quiet for 55 s
		{75 * time.Second, 54, action{drop: true}},     // and for 60
		{80 * time.Second, 56, action{}},               // no work since
		{85 * time.Second, 100, action{}},              // busy
		{90 * time.Second, 101, action{collect: true}}, // the minute begins anew
		{149 * time.Second, 102, action{}},
		{150 * time.Second, 103, action{drop: true}},
	} {
		var got action
		if m, got = decide(p, m, step.allocated, began.Add(step.at)); got != step.want {
			t.Fatalf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
}

// What is given back is never more often than there was cause for, and a process
// that has come to rest has had its garbage collected.
func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Quiet: 10, Garbage: rapid.Uint64Range(1, 100).Draw(t, "garbage"), Work: rapid.Uint64Range(1, 500).Draw(t, "work"), Rest: time.Minute}
		var m memory
		var allocated, sinceCollect, sinceDrop uint64
		at := time.Unix(0, 0)
		for range rapid.IntRange(1, 100).Draw(t, "looks") {
			more := rapid.Uint64Range(0, 200).Draw(t, "more")
			at = at.Add(5 * time.Second)
			allocated, sinceCollect, sinceDrop = allocated+more, sinceCollect+more, sinceDrop+more
			var a action
			m, a = decide(p, m, allocated, at)
			if a != (action{}) && more > p.Quiet {
				t.Fatalf("gave back at work: %+v", a)
			}
			if a.collect && sinceCollect < p.Garbage || a.drop && sinceDrop < p.Work {
				t.Fatalf("gave back without cause: %+v", a)
			}
			if !a.collect && more <= p.Quiet && sinceCollect >= p.Garbage {
				t.Fatal("garbage left at rest")
			}
			if a.collect {
				sinceCollect = 0
			}
			if a.drop {
				sinceDrop = 0
			}
		}
	})
}

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 8 << 20: 400, 16 << 20: 200, 32 << 20: 100, 1 << 30: 100} {
		if got := gcPercent(DefaultPolicy(), live); got != want {
			t.Errorf("%d bytes alive: %d, want %d", live, got, want)
		}
	}
}

// programResident sums up what is resident of this program's constant parts.
func programResident(t *testing.T) (kib int) {
	t.Helper()
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer smaps.Close()
	own := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if strings.Contains(fields[0], "-") {
			own = len(fields) > 5 && fields[5] == path && !strings.Contains(fields[1], "w")
		}
		var rss int
		if n, _ := fmt.Sscanf(lines.Text(), "Rss: %d kB", &rss); n == 1 && own {
			kib += rss
		}
	}
	return kib
}

func TestDropProgram(t *testing.T) {
	before := programResident(t)
	if err := DropProgram(); err != nil {
		t.Fatal(err)
	}
	if after := programResident(t); before == 0 || after >= before {
		t.Errorf("resident of the program: %d KiB before, %d KiB after", before, after)
	}
}
