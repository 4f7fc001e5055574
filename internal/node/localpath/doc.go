// Package localpath makes the volumes of the built-in storage class: folders on
// this node, each for one claim, kept out of everybody's way below one root.
//
// In: claims that name our provisioner and this node, volumes that we made. Out:
// folders, PersistentVolumes with an affinity to this node, events. State: none
// beyond the folders and the API.
//
//	claim with our annotation and this node selected ─▶ folder ─▶ PersistentVolume ─▶ (bound by the binder)
//	volume Released, policy Delete, no pod here uses it ─▶ folder removed ─▶ finalizer and volume removed
//	claim grown ─▶ the volume's size, then the claim's
//
// Sizes are what users ask for, not limits: a folder may grow as far as the disk
// goes. plan.go is pure.
package localpath
