// Package persistentvolume binds claims to volumes, for life and one to one, and
// says what becomes of a volume whose claim is gone.
//
// A binding is two pointers, claimRef in the volume and volumeName in the claim,
// in two objects that cannot be written at once. The volume is always written
// first: it decides, since two claims that want it collide in its resource
// version. Whatever stops in between, the next look at either object goes on.
//
//	volume:  Available ──claimRef──▶ Bound ──claim gone──▶ Released ──Delete──▶ (removed by its provisioner)
//	claim:   Pending ──volumeName, bind-completed──▶ Bound ──volume gone──▶ Lost
//
// claim.go and volume.go are pure: from what is known to how both objects shall
// be (outcome). bind.go has the four steps of a binding as edits of copies.
// controller.go looks and writes. A claim without a fitting volume is handed to
// the provisioner of its class by an annotation, and bound when the volume has
// come. A class that waits for its first consumer leaves the choice to the
// scheduler, which writes claimRef or the selected node.
package persistentvolume
