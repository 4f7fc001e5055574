// Command quickstart is the program of the first pod: a web server that shows
// which pod it is and what its ConfigMap says, and that can be made to start
// late, to fail, or to hold memory, to see what the cluster does then.
//
//	GET /         the pod, as a page, text or JSON, by the Accept header
//	GET /healthz  200, or 500 once --fail-after has passed
//	GET /readyz   200, or 503 while it stops or once it fails
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	port       int
	startDelay time.Duration
	failAfter  time.Duration
	holdMemory size
	configDir  string
	infoDir    string
}

func main() {
	var o options
	flag.IntVar(&o.port, "port", 8080, "port to listen on")
	flag.DurationVar(&o.startDelay, "start-delay", 0, "wait this long before listening, like a program that starts slowly")
	flag.DurationVar(&o.failAfter, "fail-after", 0, "let /healthz and /readyz fail once this time has passed; 0 = never")
	flag.Var(&o.holdMemory, "hold-memory", "memory to take and keep, like 64Mi")
	flag.StringVar(&o.configDir, "config", "/etc/quickstart", "folder with the ConfigMap's values")
	flag.StringVar(&o.infoDir, "podinfo", "/etc/podinfo", "folder with the pod's labels, from a downwardAPI volume")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	held := hold(int64(o.holdMemory))
	defer runtime.KeepAlive(held)
	if o.startDelay > 0 {
		log.Printf("starting, listening in %s", o.startDelay)
		select {
		case <-time.After(o.startDelay):
		case <-ctx.Done():
			return nil
		}
	}
	s := &server{options: o, began: time.Now()}
	srv := &http.Server{Addr: ":" + strconv.Itoa(o.port), Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.ListenAndServe() }()
	log.Printf("listening on %s", srv.Addr)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Print("stopping: finishing the requests under way")
	s.stopping.Store(true)
	grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return srv.Shutdown(grace)
}

// hold takes memory and touches every page, so that it is really used.
func hold(n int64) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	log.Printf("holding %d bytes of memory", n)
	return b
}

// size is a number of bytes, written as Kubernetes writes quantities.
type size int64

func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }

// Set implements flag.Value.
func (s *size) Set(text string) error {
	factor := int64(1)
	for suffix, f := range map[string]int64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "k": 1e3, "M": 1e6, "G": 1e9} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, factor = rest, f
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("want a number of bytes like 64Mi")
	}
	*s = size(n * factor)
	return nil
}
