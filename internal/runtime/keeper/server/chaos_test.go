package server_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/keepertest"
)

var (
	chaosSeed = flag.Uint64("chaos-seed", 0, "seed of the random kills; 0 = a new one")
	chaosTime = flag.Duration("chaos-time", 8*time.Second, "how long containers come and go under random kills")
)

// Containers come and go while the keeper is killed again and again, wherever it
// is. Whatever ran has its own exit code, ran once, and leaves nothing behind. Its
// output is whole, but for what a keeper had just read when it was killed.
func TestKilledAtRandom(t *testing.T) {
	k := keepertest.Start(t)
	c := newChaos(t, k)
	var workers sync.WaitGroup
	for n := range 3 {
		workers.Go(func() { c.work(n) })
	}
	for time.Now().Before(c.until) {
		time.Sleep(time.Duration(20+c.random(1000)) * time.Millisecond)
		c.kill()
	}
	workers.Wait()
	t.Logf("%d kills, %d containers ran, %d did not start", c.kills, c.ran, c.failed)
	if c.ran == 0 {
		t.Error("no container ran at all")
	}
	c.nothingLeft()
}

type chaos struct {
	*testing.T
	k     *keepertest.Real
	until time.Time

	mu                 sync.Mutex
	rand               *rand.Rand
	client             *keeper.Client // of the keeper that lives now
	kills, ran, failed int
}

func newChaos(t *testing.T, k *keepertest.Real) *chaos {
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-chaos-seed)", seed)
	return &chaos{T: t, k: k, until: time.Now().Add(*chaosTime), rand: rand.New(rand.NewPCG(seed, seed)), client: k.Client}
}

func (c *chaos) random(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rand.IntN(n)
}

// kill ends the keeper and starts another.
func (c *chaos) kill() {
	pid := c.k.PID(c)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		c.Fatal(err)
	}
	keepertest.Gone(c, pid)
	c.k.Launch(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = c.k.Client
	c.kills++
}

// try repeats a call until a keeper has answered it. What was cut off may have
// taken effect: done says whether an error means that.
func (c *chaos) try(what string, call func(ctx context.Context, k *keeper.Client) error, done ...error) error {
	for range 2000 {
		c.mu.Lock()
		client := c.client
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := call(ctx, client)
		cancel()
		for _, d := range done {
			if errors.Is(err, d) {
				return nil
			}
		}
		if !errors.Is(err, keeper.ErrUnavailable) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("%s: no keeper answers any more", what)
}

func (c *chaos) work(worker int) {
	for round := 0; time.Now().Before(c.until) && !c.Failed(); round++ {
		if err := c.pod(fmt.Sprintf("pod-%d-%d", worker, round)); err != nil {
			c.Errorf("%v", err)
			return
		}
	}
}

// pod is the life of one pod with one container.
func (c *chaos) pod(id string) error {
	group := c.k.Cgroup + "/" + id
	err := c.try("start sandbox", func(ctx context.Context, k *keeper.Client) error {
		_, err := k.StartSandbox(ctx, keeper.Sandbox{ID: id, Cgroup: group})
		return err
	}, keeper.ErrExists)
	if err != nil {
		return err
	}
	if err := c.container(id); err != nil {
		return err
	}
	return c.try("remove sandbox", func(ctx context.Context, k *keeper.Client) error { return k.RemoveSandbox(ctx, id) })
}

func (c *chaos) container(pod string) error {
	var sb keeper.SandboxStatus
	err := c.try("sandbox", func(ctx context.Context, k *keeper.Client) (err error) {
		sb, err = k.Sandbox(ctx, pod)
		return err
	})
	if err != nil {
		return err
	}
	code, kills := 1+c.random(100), c.killed()
	marker := c.k.Rootfs + "/tmp/" + pod
	r := c.k.Request(c, sb, pod+"-c", "sh", "-c", fmt.Sprintf("echo ran >>/tmp/%s; echo begins; sleep 0.%02d; echo ends; exit %d", pod, c.random(30), code))
	defer os.Remove(marker)
	if err := c.try("create", func(ctx context.Context, k *keeper.Client) error { _, err := k.Create(ctx, r); return err }, keeper.ErrExists); err != nil {
		return err
	}
	var start *keeper.StartError
	err = c.try("start", func(ctx context.Context, k *keeper.Client) error { _, err := k.Start(ctx, r.ID); return err }, keeper.ErrInvalid)
	if errors.As(err, &start) {
		return c.notStarted(r, marker)
	}
	if err != nil {
		return err
	}
	var st keeper.ContainerStatus
	err = c.try("wait", func(ctx context.Context, k *keeper.Client) (err error) { st, err = k.Wait(ctx, r.ID); return err })
	if err != nil {
		return err
	}
	c.judge(r, st, code, marker, c.killed() > kills)
	return c.try("remove", func(ctx context.Context, k *keeper.Client) error { return k.Remove(ctx, r.ID) })
}

// notStarted: its command must not have run.
func (c *chaos) notStarted(r keeper.Container, marker string) error {
	c.mu.Lock()
	c.failed++
	c.mu.Unlock()
	if _, err := os.Stat(marker); err == nil {
		return fmt.Errorf("%s: its start failed, and it ran", r.ID)
	}
	return nil
}

// killed is how many keepers were killed and replaced so far.
func (c *chaos) killed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kills
}

// judge a container that has ended; cut says that a keeper was killed meanwhile.
func (c *chaos) judge(r keeper.Container, st keeper.ContainerStatus, code int, marker string, cut bool) {
	if st.StartError != "" { // the start was cut off before the command ran, and answered so later
		if err := c.notStarted(r, marker); err != nil {
			c.Error(err)
		}
		return
	}
	c.mu.Lock()
	c.ran++
	c.mu.Unlock()
	if st.State != keeper.Exited || !st.ExitKnown || st.ExitCode != code {
		c.Errorf("%s: want exit code %d, got %+v", r.ID, code, st)
	}
	log := keepertest.ReadLog(c, r.LogPath, "stdout")
	if whole := log == "begins\nends\n"; !whole && (!cut || !slices.Contains([]string{"", "begins\n", "ends\n"}, log)) {
		c.Errorf("%s: its log is %q", r.ID, log)
	}
	if text, err := os.ReadFile(marker); err != nil || string(text) != "ran\n" {
		c.Errorf("%s: ran %q, %v", r.ID, text, err)
	}
}

// nothingLeft looks for processes, mounts and cgroups of pods that are removed.
func (c *chaos) nothingLeft() {
	for _, dir := range c.k.CgroupDirs(c) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			c.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				c.Errorf("cgroup %s/%s is left", dir, e.Name())
			}
		}
	}
	for _, m := range c.k.Mounts(c) {
		c.Errorf("mount %s is left", m)
	}
	// A killed process may yet have to be reaped, by whoever inherited it.
	keepertest.Eventually(c, "no process left", func() bool { return len(processesBelow(c.T, c.k.Cgroup)) == 0 })
}

// processesBelow are the command lines of processes in cgroups below path.
func processesBelow(t testing.TB, path string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		groups, _ := os.ReadFile("/proc/" + e.Name() + "/cgroup")
		if strings.Contains(string(groups), path+"/") {
			command, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			found = append(found, e.Name()+" "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}
