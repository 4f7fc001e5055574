// Package dns answers pods' questions: names of the cluster by the Kubernetes
// DNS specification 1.1.0, all others by the resolvers that the node itself uses.
//
// In: Services, EndpointSlices and Namespaces, by the shared informers; the
// node's resolv.conf. Out: a resolver on UDP and TCP. State: a cache of what
// upstream said, in memory.
//
//	question ─▶ Zone.Resolve (pure) ─ ours ────────────────▶ answer
//	                 │                  └─ CNAME to outside ─┐
//	                 └─ not ours ─▶ forwarder ─▶ cache ─▶ upstream
//
// Every node that runs proa runs one: names resolve while the control plane is
// away, and a question never crosses a network to be told of a local service
// (docs/adr/0005-own-resolver.md).
package dns
