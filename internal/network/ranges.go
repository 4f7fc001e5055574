package network

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Ranges of one cluster.
type Ranges struct {
	Cluster netip.Prefix `json:"cluster"` // pods of all nodes
	Service netip.Prefix `json:"service"`
}

// FreeRanges picks ranges that nothing on this machine uses, so that clusters
// side by side, VPNs and other container systems don't meet.
func FreeRanges() (Ranges, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return Ranges{}, fmt.Errorf("list routes: %w", err)
	}
	var used []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		ones, _ := r.Dst.Mask.Size()
		if ok && ones > 0 {
			used = append(used, netip.PrefixFrom(addr, ones))
		}
	}
	return pickRanges(used)
}

// pickRanges tries 10.42/16 with 10.43/16, then the next pair, and so on.
func pickRanges(used []netip.Prefix) (Ranges, error) {
	for second := byte(42); second < 254; second += 2 {
		r := Ranges{Cluster: slash16(second), Service: slash16(second + 1)}
		if !overlapsAny(r.Cluster, used) && !overlapsAny(r.Service, used) {
			return r, nil
		}
	}
	return Ranges{}, fmt.Errorf("no pair of /16 ranges is free between 10.42.0.0 and 10.253.0.0; name ranges with --cluster-cidr and --service-cidr")
}

func slash16(second byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, second, 0, 0}), 16)
}

func overlapsAny(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if u.Overlaps(p) {
			return true
		}
	}
	return false
}
