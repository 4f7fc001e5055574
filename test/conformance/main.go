package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/proa-project/proa/test/conformance/internal/suite"
)

// errFailed ends a run that has told by itself which tests failed.
var errFailed = errors.New("not all tests passed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := parse(os.Args[1:])
	if err == nil {
		err = c.run(ctx)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "ended; the same command goes on from here")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// config of one invocation.
type config struct {
	selection suite.Selection
	root      string // folder of proa's source
	state     string // folder of the cluster and of the runs
	cache     string
	parallel  int
	nodes     int
	limit     time.Duration
	keep      bool
	rerun     bool
	list      bool
}

func parse(args []string) (config, error) {
	var c config
	cache, err := os.UserCacheDir()
	if err != nil {
		return c, err
	}
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	f.StringVar(&c.selection.Focus, "focus", "", "run the tests whose names match this regular expression")
	f.StringVar(&c.selection.Skip, "skip", "", "and don't match this one")
	f.BoolVar(&c.selection.Any, "any", false, "choose among all of the suite's tests, not just the conformance tests")
	f.IntVar(&c.parallel, "parallel", 4, "tests at a time; most of a test's time is waiting")
	f.IntVar(&c.nodes, "nodes", 2, "nodes of the cluster, one or two; some tests need two")
	f.DurationVar(&c.limit, "limit", 15*time.Minute, "the longest that one test may take")
	f.BoolVar(&c.keep, "keep", false, "use the cluster of the last run, and leave it running")
	f.BoolVar(&c.rerun, "rerun", false, "keep what passed the last time and run the rest again")
	f.BoolVar(&c.list, "list", false, "show the tests' names and run nothing")
	f.StringVar(&c.root, "root", filepath.Join("..", ".."), "folder of proa's source, with bin/proa in it")
	f.StringVar(&c.state, "state", "", "folder for the cluster and the results (default .cache/conformance in the source)")
	f.StringVar(&c.cache, "cache", filepath.Join(cache, "proa", "conformance"), "folder for what is made once a version: the test program and the images")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if c.parallel < 1 {
		return c, fmt.Errorf("-parallel %d: want at least 1", c.parallel)
	}
	if c.nodes != 1 && c.nodes != 2 {
		return c, fmt.Errorf("-nodes %d: want 1 or 2", c.nodes)
	}
	if c.root, err = filepath.Abs(c.root); err != nil {
		return c, err
	}
	if c.state == "" {
		c.state = filepath.Join(c.root, ".cache", "conformance")
	}
	c.state, err = filepath.Abs(c.state)
	return c, err
}
