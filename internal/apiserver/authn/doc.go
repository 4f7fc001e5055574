// Package authn says who a request comes from: an in-process component, the
// owner of a client certificate, or a service account with a token. Nobody
// else is let in, but for the paths that tell whether the server lives.
package authn
