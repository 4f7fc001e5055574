package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/proa-project/proa/test/conformance/internal/assets"
	"github.com/proa-project/proa/test/conformance/internal/cluster"
	"github.com/proa-project/proa/test/conformance/internal/record"
	"github.com/proa-project/proa/test/conformance/internal/registry"
	"github.com/proa-project/proa/test/conformance/internal/report"
	"github.com/proa-project/proa/test/conformance/internal/suite"
)

// run does what the user asked for, from the first build to the report.
func (c config) run(ctx context.Context) error {
	made, err := assets.Make(ctx, assets.Config{Module: filepath.Join(c.root, "test", "conformance"), Cache: c.cache, Log: os.Stderr})
	if err != nil {
		return err
	}
	all, err := suite.List(ctx, made.E2E())
	if err != nil {
		return err
	}
	specs, err := suite.Select(all, c.selection)
	if err != nil {
		return err
	}
	if len(specs) == 0 {
		return fmt.Errorf("no test matches")
	}
	if c.list {
		for _, s := range specs {
			fmt.Println(s.Name)
		}
		return nil
	}
	results, err := record.Open(c.runFolder(), c.kept())
	if err != nil {
		return err
	}
	defer results.Close()
	began := time.Now()
	runErr := c.judge(ctx, made, specs, results)
	if runErr != nil && !errors.Is(runErr, context.Canceled) {
		return runErr
	}
	missing := 0
	for _, s := range specs {
		if !results.Has(s.Name) {
			missing++
		}
	}
	r := report.Report{Suite: made.Version, Machine: report.Machine(), Asked: c.selection, Results: results.Results(), Missing: missing, Elapsed: time.Since(began)}
	return errors.Join(runErr, c.publish(r, results))
}

// kept says which results of the last run stand; nil = the default.
func (c config) kept() func(suite.Result) bool {
	if !c.rerun {
		return nil
	}
	return func(r suite.Result) bool { return r.State == suite.Passed || r.State == suite.Skipped }
}

// runFolder is that of the runs of this selection, so that a look at one test
// leaves a long run's results alone.
func (c config) runFolder() string {
	if c.selection == (suite.Selection{}) {
		return filepath.Join(c.state, "all")
	}
	data, _ := json.Marshal(c.selection) // strings and a bool
	sum := sha256.Sum256(data)
	return filepath.Join(c.state, "some-"+hex.EncodeToString(sum[:4]))
}

// judge runs on a cluster the tests that have no result yet.
func (c config) judge(ctx context.Context, made assets.Assets, specs []suite.Spec, results *record.Run) (err error) {
	var open []suite.Spec
	for _, s := range specs {
		if !results.Has(s.Name) {
			open = append(open, s)
		}
	}
	if len(open) == 0 {
		return nil
	}
	proa := cluster.Cluster{Binary: filepath.Join(c.root, "bin", "proa"), Data: filepath.Join(c.state, "cluster"), Two: c.nodes == 2, Log: os.Stderr}
	version, err := proa.Version(ctx)
	if err != nil {
		return err
	}
	release, err := proa.Hold(!c.keep)
	if err != nil {
		return err
	}
	defer release()
	images, err := registry.Serve(made.Images)
	if err != nil {
		return err
	}
	defer images.Close()
	if err := proa.Up(ctx, c.keep); err != nil {
		return err
	}
	if !c.keep {
		defer func() { err = errors.Join(err, proa.Purge(context.WithoutCancel(ctx))) }()
	}
	if err := proa.Import(ctx, made.Images); err != nil {
		return err
	}
	if err := proa.PullFrom(images.Port); err != nil {
		return err
	}
	q := queue{
		runner: suite.Runner{Program: made.E2E(), Kubectl: made.Kubectl(), Kubeconfig: proa.Kubeconfig(), Logs: results.Logs(), Limit: c.limit},
		add: func(r suite.Result) error {
			r.Version = version
			return results.Add(r)
		},
		out: os.Stderr, total: len(open),
	}
	together, alone := suite.Order(open, results.Took)
	if err := q.run(ctx, together, c.parallel); err != nil {
		return err
	}
	return q.run(ctx, alone, 1)
}

// publish the report: on the terminal, as files beside the results, and, of a full
// run, in the documentation.
func (c config) publish(r report.Report, results *record.Run) error {
	if err := r.Text(os.Stdout); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(results.Dir(), "report.txt"), r.Text); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(results.Dir(), "junit.xml"), r.JUnit); err != nil {
		return err
	}
	fmt.Printf("\nreport, junit.xml and logs: %s\n", results.Dir())
	if r.Missing > 0 {
		return nil
	}
	if err := results.Done(); err != nil {
		return err
	}
	if c.selection == (suite.Selection{}) {
		if err := r.Insert(filepath.Join(c.root, "docs", "conformance.md")); err != nil {
			return err
		}
	}
	if r.Tally().Failed > 0 {
		return errFailed
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
