// Package imagegc removes images that nobody uses when the disk gets full.
//
// In: images, containers and the image file system's fill, from the runtime. Out: removals, and a complaint when they don't
// suffice.
//
//	plan.go     PURE: what is there, who uses it, how full it is → what to remove, in order
//	collect.go  the shell: every five minutes, or when Collect is called because the node is short of disk
//
// When an image was last used is remembered here only: after a restart every image counts as just seen, so nothing is removed
// for being old before it was watched.
package imagegc
