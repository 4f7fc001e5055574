package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/doctor"
)

func newUp(where locate) *cobra.Command {
	var c ServerConfig
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the cluster; returns when its node is Ready",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.Layout, err = where(); err != nil {
				return err
			}
			return up(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), c, passOn("server", c.Layout, cmd.Flags()))
		},
	}
	serverFlags(cmd, &c)
	return cmd
}

// up has the server of the cluster run, by these arguments if it doesn't yet.
func up(ctx context.Context, out, progress io.Writer, c ServerConfig, args []string) error {
	client := control.Dial(c.Layout.Control())
	began := time.Now()
	status, err := client.Status(ctx)
	switch {
	case err == nil && c.Join.Server != "" && status.APIServer != c.Join.Server:
		return fmt.Errorf("something of the cluster at %s runs in %s already; name another folder with --data-dir, or run `proa down` first", status.APIServer, c.Layout.Data)
	case err == nil && c.APIPort != 0 && !strings.HasSuffix(status.APIServer, fmt.Sprintf(":%d", c.APIPort)):
		return fmt.Errorf("the cluster in %s runs already, with its API server at %s; run `proa down` first to change --api-port", c.Layout.Data, status.APIServer)
	case errors.Is(err, control.ErrNotRunning):
		if err := examine(progress, c); err != nil {
			return err
		}
		if err := spawn(ctx, progress, c, args); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	if status, err = awaitReady(ctx, client); err != nil {
		return err
	}
	if c.Kubeconfig != "" {
		status.Kubeconfig = c.Kubeconfig
	}
	fmt.Fprintf(out, "node %s is Ready after %.1f s\n", status.Node, time.Since(began).Seconds())
	if status.Kubeconfig == "" {
		fmt.Fprintf(out, "its cluster's server is %s\n", status.APIServer)
		return nil
	}
	fmt.Fprintf(out, "export KUBECONFIG=%s\n", status.Kubeconfig)
	return nil
}

// examine refuses to start on a machine that can't run a node, a line a problem.
func examine(w io.Writer, c ServerConfig) error {
	problems := doctor.Run(doctor.Checks(doctor.Config{DataDir: c.Layout.Data, APIPort: portOf(c)}))
	for _, p := range problems {
		fmt.Fprintln(w, p)
	}
	if len(problems) > 0 {
		return errSilent
	}
	strangers, err := c.Layout.Strangers()
	if err == nil && len(strangers) > 0 {
		err = fmt.Errorf("%s holds no cluster, but %s; name an empty folder, or one that is not there yet", c.Layout.Data, strings.Join(strangers, ", "))
	}
	return err
}

// DefaultAPIPort is the one that everybody knows.
const DefaultAPIPort = 6443

// portOf the API server that a start would take; 0 where it is elsewhere.
func portOf(c ServerConfig) int {
	var kept struct {
		APIPort int    `json:"apiPort"`
		Server  string `json:"server"`
	}
	if data, err := os.ReadFile(c.Layout.Cluster()); err == nil {
		_ = json.Unmarshal(data, &kept) // the server says what is wrong with it
	}
	if c.Join.Server != "" || kept.Server != "" {
		return 0
	}
	return cmp.Or(c.APIPort, kept.APIPort, DefaultAPIPort)
}

// spawn starts the server detached from this terminal and waits until it says
// that its node is Ready, or what went wrong.
func spawn(ctx context.Context, progress io.Writer, c ServerConfig, args []string) error {
	if err := c.Layout.Make(); err != nil {
		return err
	}
	log, err := os.OpenFile(c.Layout.ServerLog(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(ourselves(), args...)
	cmd.Args[0] = "proa"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = append(os.Environ(), progressEnv+"=3", tokenEnv+"="+c.Join.Token)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// What a shell has opened, a lock file say, would be held as long as the cluster runs.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	if err := follow(progress, r); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("%w\nThe server's log: %s", err, c.Layout.ServerLog())
	}
	return cmd.Process.Release()
}

// ourselves is the program's own file. By its path, so that `ps` and `ss` show
// its name, or as the kernel holds it once the file is gone.
func ourselves() string {
	if path, err := os.Executable(); err == nil && exists(path) {
		return path
	}
	return "/proc/self/exe"
}

// follow shows each stage that takes long, until the server is ready.
func follow(progress io.Writer, r io.Reader) error {
	lines := make(chan string)
	go func() { // ends with the pipe
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	stage := ""
	slow := time.NewTimer(quiet)
	defer slow.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return errors.New("the server ended before its node was Ready")
			}
			if line == "ready" {
				return nil
			}
			if reason, failed := strings.CutPrefix(line, "error: "); failed {
				return errors.New(strings.ReplaceAll(reason, lineBreak, "\n"))
			}
			stage = strings.TrimPrefix(line, "stage: ")
			slow.Reset(quiet)
		case <-slow.C:
			if stage != "" {
				fmt.Fprintf(progress, "%s …\n", stage)
			}
		}
	}
}

// awaitReady covers a server that somebody else has started a moment ago.
func awaitReady(ctx context.Context, client *control.Client) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		status, err := client.Status(ctx)
		if err != nil || status.Ready {
			return status, err
		}
		select {
		case <-ctx.Done():
			return status, errors.New("the node is not Ready; see `proa kubectl describe node` for the reason")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
