package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2/types"
)

// List all tests of the program. It takes some seconds, so the answer is kept
// beside the program.
func List(ctx context.Context, program string) ([]Spec, error) {
	kept := program + ".specs.json"
	var specs []Spec
	if data, err := os.ReadFile(kept); err == nil && json.Unmarshal(data, &specs) == nil {
		return specs, nil
	}
	dir, err := os.MkdirTemp(filepath.Dir(program), "list-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "report.json")
	cmd := exec.CommandContext(ctx, program, "--ginkgo.dry-run", "--ginkgo.json-report="+file, "--provider=skeleton", "--kubeconfig=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("list the tests: %w\n%s", err, out)
	}
	reports, err := readReport(file)
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	specs = specsOf(reports)
	data, err := json.Marshal(specs)
	if err != nil {
		return nil, err
	}
	return specs, os.WriteFile(kept, data, 0o644)
}

func readReport(file string) ([]types.Report, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var reports []types.Report
	return reports, json.Unmarshal(data, &reports)
}

func specsOf(reports []types.Report) []Spec {
	var specs []Spec
	for _, r := range reports {
		for _, s := range r.SpecReports {
			if s.LeafNodeType != types.NodeTypeIt {
				continue
			}
			labels := s.Labels()
			specs = append(specs, Spec{Name: s.FullText(), Labels: labels, Conformance: slices.Contains(labels, "Conformance")})
		}
	}
	slices.SortFunc(specs, func(a, b Spec) int { return strings.Compare(a.Name, b.Name) })
	return specs
}
