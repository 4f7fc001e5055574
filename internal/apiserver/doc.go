// Package apiserver is the API server: k8s.io/apiserver wired for one process.
//
// In: requests, over TLS and in process (LoopbackConfig). Out: the Kubernetes
// API v1.37. State: etcd, through the Store it is handed; nothing else.
//
// A resource is described as a value (package resource) in its group's folder
// (core, apps, batch …); package registry turns it into storage; groups.go and
// install.go put it on the map. What is more than "store this object" has
// its own folder: subresource (binding, eviction, exec, scale …), authn, authz,
// admit, alloc (cluster IPs, node ports), openapi.
//
//	request ─▶ authn ─▶ authz ─▶ mutating admission ─▶ strategy ─▶ validating admission ─▶ etcd
//	                                                      ▲ resource.Resource
//
//	New (everything built, nothing listening) ─▶ Run ─▶ Ready ─▶ ctx done ─▶ drained, closed
package apiserver
