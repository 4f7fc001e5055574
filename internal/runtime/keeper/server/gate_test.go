package server

import (
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	g := &gate{places: make(chan struct{}, 2), patience: time.Hour}
	first, second := g.enter(), g.enter()
	third := make(chan func())
	go func() { third <- g.enter() }()
	select {
	case <-third:
		t.Fatal("three in two places")
	case <-time.After(10 * time.Millisecond):
	}
	first()
	leave := <-third
	leave()
	second()
	if len(g.places) != 0 {
		t.Errorf("%d places are still taken", len(g.places))
	}
}

// Who hangs loses the place, once.
func TestGateWhereStartsHang(t *testing.T) {
	g := &gate{places: make(chan struct{}, 1), patience: time.Millisecond}
	hangs := g.enter()
	g.patience = time.Hour
	leave := g.enter()
	hangs() // after all
	if len(g.places) != 1 {
		t.Errorf("%d places are taken, want that of the second", len(g.places))
	}
	leave()
}
