// Package cri is the node agent's end of the Container Runtime Interface: the
// methods it uses, and how they reach a server in this process (a direct call)
// or behind a socket (gRPC). Nothing else in the agent knows which it is.
package cri
