package suite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// State of a test that has run.
type State string

// The states. A test is lost when its process ended without a report.
const (
	Passed  State = "passed"
	Failed  State = "failed"
	Skipped State = "skipped"
	Lost    State = "lost"
)

// Result of one test.
type Result struct {
	Name    string        `json:"name"`
	Group   string        `json:"group"`
	State   State         `json:"state"`
	Took    time.Duration `json:"took"`
	Reason  string        `json:"reason,omitempty"` // why it failed or was skipped
	Where   string        `json:"where,omitempty"`  // line of the suite's source
	Log     string        `json:"log"`              // file with all that the test printed
	Version string        `json:"version"`          // of proa
	Ended   time.Time     `json:"ended"`
}

// Runner runs tests one by one against a cluster.
type Runner struct {
	Program    string
	Kubectl    string
	Kubeconfig string
	Logs       string        // folder, a file a test
	Limit      time.Duration // of one test; then it is interrupted and counts as failed
}

const (
	// cleaning is how long an interrupted test may take to remove what it made.
	cleaning  = time.Minute
	suiteName = "Kubernetes e2e suite"
)

// Run one test in a process of its own: what it leaves in memory touches no other
// test, and one that hangs can be ended for sure.
func (r Runner) Run(ctx context.Context, spec Spec) (Result, error) {
	base := filepath.Join(r.Logs, fileName(spec.Name))
	log, err := os.Create(base + ".log")
	if err != nil {
		return Result{}, err
	}
	defer log.Close()
	report := base + ".json"
	if err := os.RemoveAll(report); err != nil {
		return Result{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, r.Limit+2*cleaning)
	defer cancel()
	cmd := exec.CommandContext(bounded, r.Program, r.args(spec, report)...)
	cmd.Dir = r.Logs
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: the terminal's interrupt reaches the test through us alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = cleaning
	began := time.Now()
	runErr := cmd.Run()
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	result := Result{Name: spec.Name, Group: spec.Group(), Log: log.Name(), Took: time.Since(began), Ended: time.Now()}
	reports, err := readReport(report)
	if err != nil {
		result.State, result.Reason = Lost, fmt.Sprintf("the test program ended without a report: %v", runErr)
		return result, nil
	}
	result.read(reports)
	return result, os.Remove(report)
}

func (r Runner) args(spec Spec, report string) []string {
	return []string{
		"--ginkgo.focus=^" + suiteName + " " + regexp.QuoteMeta(spec.Name) + "$",
		"--ginkgo.json-report=" + report, "--ginkgo.no-color", "--ginkgo.v",
		"--ginkgo.timeout=" + r.Limit.String(), "--ginkgo.grace-period=" + cleaning.String(),
		"--provider=skeleton", "--node-os-distro=custom",
		"--kubeconfig=" + r.Kubeconfig, "--kubectl-path=" + r.Kubectl, "--e2e-output-dir=" + r.Logs,
		"--disable-log-dump",
	}
}

// read what the report says of the one test that ran. A failure before or after it
// (the program's own set-up) is the test's failure too.
func (res *Result) read(reports []types.Report) {
	res.State, res.Reason = Lost, "no test of this name ran"
	for _, report := range reports {
		for _, s := range report.SpecReports {
			switch {
			case s.Failure.Message != "" && s.State.Is(types.SpecStateFailureStates):
				res.State, res.Reason = Failed, s.Failure.Message
				res.Where = fmt.Sprintf("%s:%d", shorten(s.Failure.Location.FileName), s.Failure.Location.LineNumber)
				return
			case s.LeafNodeType != types.NodeTypeIt || len(s.ContainerHierarchyTexts) == 0:
			case s.State == types.SpecStatePassed:
				res.State, res.Reason = Passed, ""
			case s.State == types.SpecStateSkipped && s.Failure.Message != "":
				res.State, res.Reason = Skipped, s.Failure.Message
			}
		}
	}
}

// shorten a path of the suite's source to what follows its module.
func shorten(path string) string {
	if i := strings.LastIndex(path, "/test/e2e/"); i >= 0 {
		return path[i+1:]
	}
	return path
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

// fileName for a test: readable, short enough for any file system, and no other's.
func fileName(test string) string {
	const longest = 180
	name := strings.Trim(notInNames.ReplaceAllString(test, "-"), "-")
	if len(name) <= longest {
		return name
	}
	sum := sha256.Sum256([]byte(test))
	return name[:longest] + "-" + hex.EncodeToString(sum[:4])
}
