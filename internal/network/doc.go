// Package network connects the pods of a node.
//
// In: the network namespace of a sandbox, its host ports. Out: the sandbox's
// address, and a kernel that carries its packets. State: one small file a
// sandbox below the run folder (so it dies with the boot, like the namespaces
// it speaks of), and the kernel's own links, routes and packet rules.
//
// Pods are routed, not bridged: every pod has a point-to-point veth and a /32,
// so all of its traffic passes the node's IP layer, where address translation,
// policy and accounting see it (docs/adr/0002-routed-pods.md).
//
//	pod eth0 10.42.0.7/32 ──veth── pa1b2c3d4… ──┐
//	pod eth0 10.42.0.8/32 ──veth── p9f8e7d6c… ──┤ node's IP layer, nft table proa-<cluster>
//	anchor  proa<cluster> 10.42.0.1/32 ─────────┘
//
// The anchor is a link with nothing attached. It carries the node's own pod
// address, which stays the same wherever the machine roams, and the routes that
// keep packets to unknown cluster addresses from leaving the machine.
//
// Once there are other nodes, the routes to their pods lead into a tunnel:
//
//	10.42.1.0/24 ─▶ proax<cluster> ─ VXLAN over the machines' network ─▶ the other node's IP layer
package network
