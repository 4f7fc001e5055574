// Package subresource has the endpoints below a resource that are more than
// another way to update it: binding and eviction of pods, scale, and everything
// that is answered by a node (log, exec, attach, port-forward, proxy).
//
// What a request means (which container, which path at the node) is decided by
// pure functions in location.go; the rest is plumbing to the library's proxies.
package subresource
