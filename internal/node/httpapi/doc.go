// Package httpapi serves the node's HTTPS endpoint, on which the API server and monitoring reach what runs here: logs, exec,
// attach, port-forward, pods, stats, metrics. Paths, parameters, status codes and messages are those of the stock node agent.
//
// In: HTTP requests of clients whose certificate the cluster's CA signed, or whose token the API server knows, each authorized
// as an access to the node's subresource. Out: streams from the container runtime (proxied to the address it names) and from
// log files. It holds no state of its own.
//
//	server.go    routes and the HTTP server
//	access.go    who asks, and may they (Authenticate, Authorize; reviews by the API server)
//	logs.go      /containerLogs; which container is meant (the reading is in package podlog)
//	stream.go    /exec, /attach, /portForward, /run
//	info.go      /pods, /runningpods, /stats, /metrics, /healthz, /logs, /configz
package httpapi
