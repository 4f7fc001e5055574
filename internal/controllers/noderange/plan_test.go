package noderange

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

var whole = netip.MustParsePrefix("10.42.0.0/16")

func TestNextGoesRound(t *testing.T) {
	taken := []netip.Prefix{netip.MustParsePrefix("10.42.0.0/24"), netip.MustParsePrefix("10.42.2.0/24")}
	for _, c := range []struct{ last, want string }{
		{"", "10.42.1.0/24"}, {"10.42.1.0/24", "10.42.3.0/24"}, {"10.42.255.0/24", "10.42.1.0/24"},
	} {
		var last netip.Prefix
		if c.last != "" {
			last = netip.MustParsePrefix(c.last)
		}
		if got, ok := next(whole, 24, last, taken); !ok || got.String() != c.want {
			t.Errorf("after %s: %v %v, want %s", c.last, got, ok, c.want)
		}
	}
	if got, ok := next(whole, 24, netip.Prefix{}, []netip.Prefix{whole}); ok {
		t.Errorf("a full cluster gave %s", got)
	}
}

// Whatever was given and given back before, a share is the node's alone, and
// there is one as long as one is free.
func TestSharesNeverOverlap(t *testing.T) {
	small := netip.MustParsePrefix("10.42.0.0/20") // sixteen shares
	rapid.Check(t, func(t *rapid.T) {
		var last netip.Prefix
		held := map[netip.Prefix]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			var taken []netip.Prefix
			for p := range held {
				taken = append(taken, p)
			}
			if len(taken) > 0 && rapid.Bool().Draw(t, "give back") {
				delete(held, taken[0])
				continue
			}
			p, ok := next(small, 24, last, taken)
			if ok != (len(held) < 16) {
				t.Fatalf("ok %v with %d of 16 held", ok, len(held))
			}
			if !ok {
				continue
			}
			if held[p] || !small.Contains(p.Addr()) || p.Bits() != 24 || p != p.Masked() {
				t.Fatalf("%s of %v", p, taken)
			}
			held[p], last = true, p
		}
	})
}
