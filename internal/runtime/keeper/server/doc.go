// Package server is the keeper itself: it serves the socket, owns the state
// below R/keeper and is the parent of pauses and containers.
//
//	R/keeper.sock           where clients connect
//	R/keeper/lock           held by the one keeper of this run folder
//	R/keeper/sandboxes/ID.json
//	R/keeper/containers/ID/state.json, stdout, stderr (FIFOs)
//	R/keeper/oci/ID/        libcontainer's own state
//	R/keeper/pool/PID-START blank sandboxes in stock, to be killed by a next keeper
//	R/{net,ipc,uts,pid,user}ns/ID, R/shm/ID   pinned namespaces, shared memory
//
// Ownership and order. Every sandbox and container has one mutex, held for the
// length of an operation; its status is a value that is replaced under the
// server's mutex, after it is on disk and before the event is sent. One
// goroutine a process waits for its end (package process), one a stream empties
// it (package crilog). Streams of clients (events, exec, attach) belong to their
// connection.
//
// Replacement. A keeper that is killed leaves processes, FIFOs, pinned
// namespaces and the descriptors parked in pauses (package sandbox); the next
// one adopts them from R/keeper. An upgrade does the same on purpose, in the
// same process: it stops reading, hands over the listener and the streams, and
// executes the new program.
package server
