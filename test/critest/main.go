// Command critest runs critest, the official test program of container runtimes
// (sigs.k8s.io/cri-tools), against `proa runtime` with images made here, and
// tells what passed.
//
//	make critest [FOCUS=regexp] [SKIP=regexp]
//	go run ./test/critest -benchmark
//
// The suite is a module of its own (suite/), so that its dependencies are not
// proa's. Run from the source's folder, after `make build`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/proa-project/proa/internal/runtime/images/registrytest"
)

type options struct {
	focus, skip string
	benchmark   bool
	endpoint    string
	report      string
	out         string
}

func main() {
	var o options
	flag.StringVar(&o.focus, "focus", "", "only tests that match this")
	flag.StringVar(&o.skip, "skip", "", "no tests that match this")
	flag.BoolVar(&o.benchmark, "benchmark", false, "run the suite's benchmarks instead of its tests")
	flag.StringVar(&o.endpoint, "endpoint", "", "another runtime's CRI socket, with its registries set up by hand (default: a proa runtime of our own)")
	flag.StringVar(&o.report, "report", "", "put the result into this document")
	flag.StringVar(&o.out, "out", ".cache/critest", "folder for the suite's binary and its raw reports")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "critest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	suite := filepath.Join(out, "critest.test")
	if err := command(ctx, "test/critest/suite", "go", "test", "-c", "-o", suite, "."); err != nil {
		return err
	}
	registry, err := registrytest.Run(registrytest.Options{})
	if err != nil {
		return err
	}
	defer registry.Close()
	byDigest, err := publish(ctx, registry, out)
	if err != nil {
		return err
	}
	if o.endpoint == "" {
		r, err := startRuntime(ctx, registry.Host)
		if err != nil {
			return err
		}
		defer r.stop()
		o.endpoint = r.endpoint
	} else {
		fmt.Println("images are at", registry.Host, "for", strings.Join(registries, ", "))
	}
	failed := command(ctx, out, suite, suiteArgs(o, out, byDigest)...)
	if o.benchmark {
		return errors.Join(failed, printBenchmarks(os.Stdout, out))
	}
	results, err := readReport(filepath.Join(out, rawReport))
	if err != nil {
		return fmt.Errorf("%w (the suite: %w)", err, failed)
	}
	results.print(os.Stdout)
	if o.report != "" {
		if err := results.write(o.report); err != nil {
			return err
		}
	}
	return failed
}

// rawReport is the suite's own, as JSON.
const rawReport = "report.json"

// notHere are tests that our images can't serve, and why.
var notHere = map[string]string{
	"runtime should support MaskedPaths": "it wants a shell that executes /bin/ls, and the shell of Debian's busybox has ls built in; critests has the same with another program",
}

func suiteArgs(o options, out, byDigest string) []string {
	args := []string{
		"-test.timeout", "60m", "-runtime-endpoint", o.endpoint, "-image-with-digest", byDigest,
		"-ginkgo.json-report", filepath.Join(out, rawReport), "-ginkgo.succinct", "-ginkgo.no-color",
	}
	if o.benchmark {
		return append(args, "-ginkgo.focus", "benchmark", "-benchmarking-params-file", filepath.Join(out, "..", "..", "test", "critest", "benchmark.yaml"), "-benchmarking-output-dir", out)
	}
	skip := []string{"benchmark"}
	for name := range notHere {
		skip = append(skip, regexp.QuoteMeta(name))
	}
	if o.skip != "" {
		skip = append(skip, o.skip)
	}
	args = append(args, "-ginkgo.skip", strings.Join(skip, "|"))
	if o.focus != "" {
		args = append(args, "-ginkgo.focus", o.focus)
	}
	return args
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}
