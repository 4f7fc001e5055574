// Package keepertest holds the conformance suite of keeper.Keeper, which runs
// over the fake and the real keeper, and what tests with real containers need:
// a keeper built from this tree, a root file system of busybox, specs.
package keepertest
