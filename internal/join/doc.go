// Package join makes this machine a member of a cluster whose control plane runs
// elsewhere, as kubelets join.
//
// In: the server's URL, the pin of its authority, a bootstrap token. Out: how to
// speak to the API as this node, and the certificate of the node's own server.
// State: the authority's certificate and the keys, in one folder.
//
//	server's chain ── holds the pinned authority? ─▶ ca.crt
//	token ─▶ request ── approved, signed by the cluster ─▶ client-current.pem, renewed by itself from then on
//	client certificate ─▶ request ─▶ serving-current.pem, the same
//
// Pin and token are needed once. A node that was away for longer than its
// certificate is good (a year) needs a new token.
package join
