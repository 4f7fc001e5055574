// Package images keeps a node's container images and gives containers their
// root file systems.
//
// In: references and credentials (Pull), archives (Import), images to forget
// (Remove), and keys of containers that want a root file system (Prepare, View).
// Out: images as the CRI lists them, mounts, progress, errors that say what is
// wrong (see Error).
//
// On disk, below Config.Root:
//
//	content/          blobs by digest, and ingests under way
//	meta.db           names → images → blobs and layers; leases of what is under way
//	snapshots/        one folder a layer, shared by all images that have it
//	containers/<key>/ what a container wrote: fs, work, and the ID of its image
//	ballast           a reserve, given up so that a full disk can be cleaned
//
// The content store, the metadata with its garbage collection, the layers and
// the registry protocol are containerd's packages. Two things are done here
// instead, for a container's start waits for them: a container's writable layer
// is a plain folder (0.1 ms; a snapshot in two databases costs two or more disk
// flushes), and an image in use that is removed is kept under a hidden name until
// its last container is gone.
//
//	          Pull, Import                    Remove
//	(nothing) ────────────▶ named ──────────────────────▶ (collected)
//	              under a     │  Remove while a container    ▲
//	              lease       └───────────▶ held ────────────┘
//	                                             last container gone
//
// Nothing is visible until one transaction writes an image's names. All before
// that hangs on a lease; leases never outlive the process, so what a kill leaves
// is collected after the next Open.
//
// Compressed layers are dropped once they are unpacked: a node needs one copy.
package images
