// Package proxy makes the addresses of services work on a node.
//
// In: Services and EndpointSlices, by the shared informers. Out: one nft table,
// proa-svc-<cluster>. State: what was last applied, in memory; a start begins
// with an empty table.
//
//	services ─┐
//	          ├─▶ Compile (pure) ─▶ Ruleset ─▶ apply (one netlink transaction)
//	slices ───┘
//
// A chain is named by a hash of what is in it and never changed: a service whose
// endpoints change gets another chain, and its entry in the map is moved over, so
// that no packet ever meets half a change and client affinity lasts as long as
// the endpoints do.
package proxy
