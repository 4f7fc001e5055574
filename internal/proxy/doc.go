// Package proxy makes the addresses of services work on a node.
//
// In: Services, EndpointSlices and this node's Node object, by the shared
// informers. Out: one nft table a family, proa-svc-<cluster>; the answers at
// services' health ports. State: what was last applied, in memory; a table that
// an earlier run left stays in force until the first one of this run replaces it.
//
//	service, slices, node ─▶ Compile (pure) ─▶ Rules of one service
//	                                             │
//	                             model (pure): all services, what changed
//	                                             │
//	                             table: one netlink transaction a family
//
// A packet's way through the table:
//
//	firewall (prerouting)   loadBalancerSourceRanges
//	prerouting, output      address . protocol . port ─▶ pool-… ─▶ DNAT to an endpoint
//	                        on the node's own addresses: protocol . port
//	                        outside addresses by way of ext-…: masquerade, or stay on the node
//	missed (all filters)    services without endpoints: refused or dropped
//	postrouting             masquerade what ext-… marked, and pods that call themselves
//
// Only what changed is written: a service whose endpoints move costs a few
// messages, however many services there are. A chain is named by a hash of what
// is in it and never changed: new packets go by the old one or the new one, never
// by half a change.
package proxy
