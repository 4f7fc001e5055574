package app

import (
	"net"
	"testing"
)

func TestNodePorts(t *testing.T) {
	// Whoever has the usual port, us or another, the second one gets some other.
	first, err := listenNode(0)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := listenNode(0)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	port := second.Addr().(*net.TCPAddr).Port
	if port == nodePort {
		t.Errorf("the usual port twice")
	}
	if again, err := listenNode(port); err == nil {
		again.Close()
		t.Errorf("port %d was asked for and is taken, and another was given", port)
	}
}
