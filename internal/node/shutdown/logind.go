package shutdown

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
)

// systemd-logind's names: org.freedesktop.login1(5).
const (
	login1        = "org.freedesktop.login1"
	login1Path    = "/org/freedesktop/login1"
	login1Manager = "org.freedesktop.login1.Manager"
)

// reconnectEvery is how soon a lost bus is looked for again.
const reconnectEvery = 5 * time.Second

// Logind delays the machine's shutdown until the pods have ended, where
// systemd-logind is.
type Logind struct {
	// Dial connects to the system's message bus; nil is the usual way.
	Dial func(context.Context) (*dbus.Conn, error)
	// Needs is how long a shutdown may take.
	Needs time.Duration
	// Shutdown ends the pods; Resume says that the shutdown was called off.
	Shutdown func(context.Context) error
	Resume   func()
	Log      *slog.Logger
}

// Run watches until ctx ends, or at once gives up where there is no message bus.
func (l Logind) Run(ctx context.Context) error {
	if l.Dial == nil {
		l.Dial = func(ctx context.Context) (*dbus.Conn, error) { return dbus.ConnectSystemBus(dbus.WithContext(ctx)) }
	}
	for {
		err := l.watch(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			l.Log.Info("no message bus: the machine's shutdown ends pods in order only after `proa node shutdown`")
			<-ctx.Done()
			return ctx.Err()
		}
		l.Log.Warn("systemd-logind does not answer, will be tried again", "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(reconnectEvery):
		}
	}
}

func (l Logind) watch(ctx context.Context) error {
	conn, err := l.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	manager := conn.Object(login1, login1Path)
	if err := conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(login1Manager), dbus.WithMatchMember("PrepareForShutdown"), dbus.WithMatchObjectPath(login1Path)); err != nil {
		return fmt.Errorf("subscribe to PrepareForShutdown: %w", err)
	}
	signals := make(chan *dbus.Signal, 4) // the library drops what nobody takes
	conn.Signal(signals)
	l.checkDelay(manager)
	lock, err := inhibit(ctx, manager)
	if err != nil {
		return err
	}
	defer func() { lock.Close() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case s, ok := <-signals:
			if !ok {
				return errors.New("the message bus has closed the connection")
			}
			begins, ok := beginning(s)
			switch {
			case !ok:
			case begins:
				if err := l.Shutdown(ctx); err != nil && ctx.Err() == nil {
					l.Log.Warn("pods not ended in order", "err", err)
				}
				lock.Close() // the machine may go down
			default:
				l.Resume()
				lock.Close()
				if lock, err = inhibit(ctx, manager); err != nil {
					return err
				}
			}
		}
	}
}

// beginning reads the signal: true before a shutdown, false when it was called off.
func beginning(s *dbus.Signal) (begins, ok bool) {
	if s.Name != login1Manager+".PrepareForShutdown" || len(s.Body) != 1 {
		return false, false
	}
	begins, ok = s.Body[0].(bool)
	return begins, ok
}

// inhibit takes the lock, which is a file that is open.
func inhibit(ctx context.Context, manager dbus.BusObject) (*os.File, error) {
	var fd dbus.UnixFD
	call := manager.CallWithContext(ctx, login1Manager+".Inhibit", 0, "shutdown", "proa", "pods end in order", "delay")
	if err := call.Store(&fd); err != nil {
		return nil, fmt.Errorf("take the shutdown lock: %w", err)
	}
	return os.NewFile(uintptr(fd), "shutdown lock"), nil
}

// checkDelay says so when logind would not wait as long as the pods may take.
func (l Logind) checkDelay(manager dbus.BusObject) {
	value, err := manager.GetProperty(login1Manager + ".InhibitDelayMaxUSec")
	most, ok := value.Value().(uint64)
	if err != nil || !ok {
		return
	}
	if delay := time.Duration(most) * time.Microsecond; delay < l.Needs {
		l.Log.Warn("systemd-logind waits less than pods may take to end: set InhibitDelayMaxSec in /etc/systemd/logind.conf.d/",
			"waits", delay, "needed", l.Needs)
	}
}
