package alloc

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// Every address that may be given comes exactly once, and none else.
func TestCandidatesCoverTheRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := netip.PrefixFrom(netip.MustParseAddr("10.43.16.0"), rapid.IntRange(20, 30).Draw(t, "bits"))
		start := rapid.Uint64().Draw(t, "start")
		seen := map[netip.Addr]bool{}
		for a := range candidates(p, func(n uint64) uint64 { return start % n }) {
			if seen[a] {
				t.Fatalf("%v twice", a)
			}
			if !given(p, a) {
				t.Fatalf("%v is not to be given in %v", a, p)
			}
			seen[a] = true
		}
		if want := 1<<(32-p.Bits()) - 2; len(seen) != want {
			t.Fatalf("%d addresses of %v, want %d", len(seen), p, want)
		}
	})
}

func TestFirstComesFromTheUpperBand(t *testing.T) {
	p := netip.MustParsePrefix("10.43.0.0/16")
	for a := range candidates(p, func(uint64) uint64 { return 0 }) {
		if a != netip.MustParseAddr("10.43.1.1") {
			t.Errorf("the first address is %v, want 10.43.1.1: the first 256 are for users' own picks", a)
		}
		break
	}
	if First(p) != netip.MustParseAddr("10.43.0.1") {
		t.Errorf("First = %v", First(p))
	}
	if First(netip.MustParsePrefix("fd00:43::/112")) != netip.MustParseAddr("fd00:43::1") {
		t.Error("First of an IPv6 range")
	}
}
