// Package inprocess is an http.RoundTripper that calls an http.Handler directly:
// no socket, no TLS, no HTTP framing, but the whole handler chain. Bodies
// stream, so watches work; upgrades (exec, port-forward) do not.
//
// The caller's identity travels as a context value that nothing outside this
// process can set (see Authenticator).
package inprocess
