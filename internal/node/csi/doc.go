// Package csi is the node's side of the Container Storage Interface: it gets to
// know drivers by their registration sockets, tells the API of them, and has them
// stage and publish volumes for pods.
//
//	socket in plugins_registry ─▶ GetInfo, NodeGetInfo ─▶ CSINode, Node ─▶ driver known
//	Mount:    [attached] ─▶ NodeStage (once a node) ─▶ NodePublish (once a pod)
//	Unmount:  NodeUnpublish ─▶ NodeUnstage when no pod of the node is left
//
// Who owns what:
//
//	sockets.go    which sockets there are
//	register.go   the handshake with one; drivers.go the drivers that are known
//	csinode.go    PURE: what CSINode and Node say of drivers
//	request.go    PURE: volumes → CSI requests
//	record.go     what is kept on disk of a volume, in upstream's format: enough to unmount it in another life
//	publish.go, stage.go, block.go, attach.go, expand.go   the calls
//
// The records are the only memory: a volume is staged for as long as a pod's
// folder has a record of it.
package csi
