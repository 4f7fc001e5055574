// Package critests says what a CRI runtime must do, as tests that drive one over
// its socket. It runs over our own service with the keeper's fake and with real
// processes, and can be pointed at any other runtime: it knows nothing but the
// CRI's clients.
//
// One file a concern. Tests that look at the kernel's side of a container (who
// the process is, what it may do, what it has mounted) run where [Target].Kernel
// is set.
package critests
