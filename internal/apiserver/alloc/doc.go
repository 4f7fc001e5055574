// Package alloc gives Services their cluster addresses and node ports.
//
// What a service wants is decided by pure functions (core's service_address.go);
// here it is taken and given back. An address is taken by creating the IPAddress
// object of its name, which only one can; a port by a compare-and-swap on one
// key in etcd. So several API servers may allocate at once.
//
//	Begin ─▶ allocate what is missing ─▶ (object stored) commit: release what is no longer used
//	                                 └▶ (refused) revert: release what was just taken
package alloc
