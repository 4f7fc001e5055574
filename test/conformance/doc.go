// Command conformance holds proa against the official Kubernetes conformance
// suite: it builds the suite's own test program, makes the images that the suite
// asks for, starts a cluster of the built bin/proa, runs each test in a process of
// its own and writes what came of it.
//
//	assets   the test program, kubectl and the images; made once a version, shared by all checkouts
//	cluster  bin/proa, as a user would run it
//	registry the images, for pods that ask to pull them
//	suite    the list of tests, and the run of one of them
//	record   what each test of a run came to, kept on disk so that a run can go on where it was ended
//	report   records as text, as JUnit and as the summary in docs/conformance.md
//
// It is a module of its own because it alone may require k8s.io/kubernetes, which
// the product must never see. The staging modules, which k8s.io/kubernetes replaces
// by folders that are not published, are replaced by the published ones.
package main
