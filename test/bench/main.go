// Command bench measures a cluster of the built binary and prints each figure
// beside its goal and what upstream takes on the same machine: a table on standard
// error, JSON on standard output.
//
//	go run ./test/bench [-rounds 30] [-bursts 30,100] [-only pods,memory] [-page docs/bench.md] [-profiles DIR]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"github.com/proa-project/proa/test/cluster"
)

type options struct {
	rounds   int
	bursts   []int
	only     []string // names of parts; none = all
	page     string   // file to write the report to, as Markdown
	profiles string   // folder for CPU profiles of the server
}

func main() {
	var o options
	var bursts, only string
	flag.IntVar(&o.rounds, "rounds", 30, "pods that are started one by one")
	flag.StringVar(&bursts, "bursts", "30,100", "pods that are created at once")
	flag.StringVar(&only, "only", "", "parts to measure, of "+strings.Join(partNames(), ",")+" (default all)")
	flag.StringVar(&o.page, "page", "", "also write the report to this file, as Markdown")
	flag.StringVar(&o.profiles, "profiles", "", "write a CPU profile of the server during each part to this folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.parse(bursts, only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	report := Report{Date: time.Now().UTC().Format(time.RFC3339), Commit: commit(ctx), Machine: machine()}
	var err error
	report.Figures, err = run(ctx, o)
	// What was measured before a failure is shown all the same.
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	_ = e.Encode(report)
	report.table(os.Stderr)
	if err == nil && o.page != "" {
		err = os.WriteFile(o.page, report.page(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o *options) parse(bursts, only string) error {
	for n := range strings.FieldsFuncSeq(bursts, isComma) {
		count, err := strconv.Atoi(n)
		if err != nil {
			return fmt.Errorf("-bursts: %w", err)
		}
		o.bursts = append(o.bursts, count)
	}
	for name := range strings.FieldsFuncSeq(only, isComma) {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("-only: no part %q; there are %s", name, strings.Join(partNames(), ", "))
		}
		o.only = append(o.only, name)
	}
	return nil
}

func isComma(r rune) bool { return r == ',' }

// part is a group of figures that are measured together, in this order.
type part struct {
	name    string
	measure func(context.Context, *bench, options) ([]Figure, error)
}

var parts = []part{
	{"memory", func(ctx context.Context, b *bench, _ options) ([]Figure, error) { return b.memory(ctx) }},
	{"pods", func(ctx context.Context, b *bench, o options) ([]Figure, error) { return b.oneByOne(ctx, o.rounds) }},
	{"delete", func(ctx context.Context, b *bench, _ options) ([]Figure, error) { return b.deletions(ctx) }},
	{"perpod", func(ctx context.Context, b *bench, _ options) ([]Figure, error) { return b.memoryPerPod(ctx) }},
	{"creates", func(ctx context.Context, b *bench, _ options) ([]Figure, error) { return b.creates(ctx) }},
	{"burst", func(ctx context.Context, b *bench, o options) ([]Figure, error) { return b.allBursts(ctx, o.bursts) }},
}

func partNames() []string {
	names := []string{"start"}
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

func (o options) wants(name string) bool { return len(o.only) == 0 || slices.Contains(o.only, name) }

func run(ctx context.Context, o options) (figures []Figure, err error) {
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
	starts, err := measureStarts(ctx, c, o.wants("start"))
	if err != nil {
		return nil, err
	}
	figures = append(figures, starts...)
	if err := importImage(ctx, c, dir); err != nil {
		return figures, err
	}
	b, err := newBench(ctx, c)
	if err != nil {
		return figures, err
	}
	for _, p := range parts {
		if !o.wants(p.name) {
			continue
		}
		stop, err := b.profile(ctx, o.profiles, p.name)
		if err != nil {
			return figures, err
		}
		more, err := p.measure(ctx, b, o)
		figures = append(figures, more...)
		if err = errors.Join(err, stop()); err != nil {
			return figures, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return figures, nil
}

// measureStarts takes the whole command's time, as a user would; the second start
// only if the figures are wanted.
func measureStarts(ctx context.Context, c *cluster.Cluster, wanted bool) ([]Figure, error) {
	up := func() (float64, error) {
		began := time.Now()
		err := c.Up(ctx)
		return time.Since(began).Seconds(), err
	}
	empty, err := up()
	if err != nil || !wanted {
		return nil, err
	}
	if err := c.Down(ctx, false); err != nil {
		return nil, err
	}
	warm, err := up()
	return []Figure{
		atMost("empty disk to node Ready", empty, "s", 1).beside("5.3–8.2"),
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
