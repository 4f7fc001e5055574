// Package etcd runs the state store: one etcd member inside this process, or a
// client of an external cluster.
//
// In: a data directory, or endpoints with TLS. Out: a *clientv3.Client; every
// write that it acknowledged is on disk (fsync is on). State: the directory,
// owned by one process at a time (an flock says so at once, where etcd itself
// would wait for ever).
//
// The embedded member listens nowhere: it is driven through direct calls
// (v3client), so there is no port, no socket and no certificate to guard. An
// external cluster is for those who want more than one member.
//
//	Start ─▶ lock dir ─▶ bootstrap (WAL, bbolt) ─▶ raft elects itself ─▶ ready ─▶ Close
package etcd
