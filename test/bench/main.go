// Command bench measures a cluster of the built binary and prints each figure
// beside its goal: a table on standard error, JSON on standard output.
//
//	go run ./test/bench [-rounds 30] [-bursts 30,100]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"github.com/proa-project/proa/test/cluster"
)

// Figure is one result.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Goal of docs/architecture.md; 0 = none. Below: less is better.
	Goal  float64 `json:"goal,omitempty"`
	Below bool    `json:"below,omitempty"`
}

func (f Figure) met() string {
	switch {
	case f.Goal == 0:
		return ""
	case f.Below && f.Value <= f.Goal, !f.Below && f.Value >= f.Goal:
		return "met"
	}
	return "missed"
}

func atMost(name string, value float64, unit string, goal float64) Figure {
	return Figure{name, value, unit, goal, true}
}

func atLeast(name string, value float64, unit string, goal float64) Figure {
	return Figure{name, value, unit, goal, false}
}

func main() {
	rounds := flag.Int("rounds", 30, "pods that are started one by one")
	bursts := flag.String("bursts", "30,100", "pods that are created at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	figures, err := run(ctx, *rounds, *bursts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	_ = e.Encode(figures)
	print(figures)
}

func print(figures []Figure) {
	w := tabwriter.NewWriter(os.Stderr, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tVALUE\tGOAL\t")
	for _, f := range figures {
		goal := ""
		if f.Goal != 0 {
			sign := "≥"
			if f.Below {
				sign = "≤"
			}
			goal = fmt.Sprintf("%s %g", sign, f.Goal)
		}
		fmt.Fprintf(w, "%s\t%.4g %s\t%s\t%s\n", f.Name, f.Value, f.Unit, goal, f.met())
	}
	w.Flush()
}

func run(ctx context.Context, rounds int, bursts string) (figures []Figure, err error) {
	dir, err := os.MkdirTemp("", "proa-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, err := cluster.New(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if downErr := c.Down(context.WithoutCancel(ctx), true); err == nil {
			err = downErr
		}
	}()
	starts, err := measureStarts(ctx, c)
	if err != nil {
		return nil, err
	}
	figures = append(figures, starts...)
	if err := importImage(ctx, c, dir); err != nil {
		return nil, err
	}
	b, err := newBench(ctx, c)
	if err != nil {
		return nil, err
	}
	time.Sleep(10 * time.Second) // idle is after the start's garbage is collected
	idle, err := b.memory(ctx)
	if err != nil {
		return nil, err
	}
	figures = append(figures, idle...)
	for _, measure := range []func(context.Context) ([]Figure, error){
		func(ctx context.Context) ([]Figure, error) { return b.oneByOne(ctx, rounds) },
		b.deletions,
		b.memoryPerPod,
		b.creates,
	} {
		more, err := measure(ctx)
		if err != nil {
			return figures, err
		}
		figures = append(figures, more...)
	}
	for _, n := range strings.Split(bursts, ",") {
		count, err := strconv.Atoi(n)
		if err != nil {
			return figures, fmt.Errorf("-bursts %q: %w", bursts, err)
		}
		more, err := b.burst(ctx, count)
		if err != nil {
			return figures, err
		}
		figures = append(figures, more)
	}
	return figures, nil
}

// measureStarts takes the whole command's time, as a user would.
func measureStarts(ctx context.Context, c *cluster.Cluster) ([]Figure, error) {
	up := func() (float64, error) {
		began := time.Now()
		err := c.Up(ctx)
		return time.Since(began).Seconds(), err
	}
	empty, err := up()
	if err != nil {
		return nil, err
	}
	if err := c.Down(ctx, false); err != nil {
		return nil, err
	}
	warm, err := up()
	return []Figure{
		atMost("empty disk to node Ready", empty, "s", 1),
		atMost("warm data folder to node Ready", warm, "s", 1),
	}, err
}

const image = "proa.test/busybox:bench"

func importImage(ctx context.Context, c *cluster.Cluster, dir string) error {
	built, err := imagetest.Busybox()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "busybox.tar")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := built.WriteOCIArchive(f, image); err != nil {
		return err
	}
	_, err = c.Proa(ctx, "image", "import", path)
	return err
}
