// Package netnstest makes network namespaces for tests.
package netnstest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// New makes a namespace with a loopback link that is up, and returns its path. It goes
// with the test.
func New(t testing.TB, name string) (path string) {
	t.Helper()
	name = fmt.Sprintf("proatest-%d-%s-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"), name)
	err := away(func() error {
		ns, err := netns.NewNamed(name)
		if err != nil {
			return err
		}
		defer ns.Close()
		t.Cleanup(func() { _ = netns.DeleteNamed(name) })
		// IPv6 addresses are usable at once: nobody else can have them.
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatalf("network namespace %s: %v", name, err)
	}
	return "/run/netns/" + name
}

// Inside calls do in a namespace. What do opens stays there; goroutines that it starts
// don't.
func Inside(path string, do func() error) error {
	return away(func() error {
		ns, err := netns.GetFromPath(path)
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return err
		}
		return do()
	})
}

// away calls f, which may leave this namespace, and comes back.
func away(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		return err
	}
	defer own.Close()
	err = f()
	if err := netns.Set(own); err != nil {
		panic(err) // the thread is of no use to anybody any more
	}
	return err
}
