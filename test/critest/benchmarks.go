package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// benchmark is one of the suite's result files.
type benchmark struct {
	OperationsNames []string
	Datapoints      []struct{ OperationsDurationsNs []time.Duration }
}

// printBenchmarks tells the median of every operation.
func printBenchmarks(w io.Writer, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*_benchmark_data.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var b benchmark
		if err := json.Unmarshal(data, &b); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		for i, name := range b.OperationsNames {
			var took []time.Duration
			for _, d := range b.Datapoints {
				took = append(took, d.OperationsDurationsNs[i])
			}
			if len(took) > 0 {
				slices.Sort(took)
				fmt.Fprintf(w, "%-16s %8.1f ms, median of %d\n", name, float64(took[len(took)/2].Microseconds())/1000, len(took))
			}
		}
	}
	return nil
}
