// Package volumes tells the scheduler where the volumes of a pod can be, and
// brings claims that waited for their first pod to a volume there.
//
// In: claims, volumes, classes and what drivers say of themselves, by the shared
// informers. Out: claimRef in a volume that a claim shall have, or the selected
// node in a claim that is to be provided for; the binder and the provisioners do
// the rest. State: what was promised to pods on their way (promises), until the
// informers show it.
//
//	Need ──▶ need: Refuse node by node ──▶ Reserve: promises ──▶ Bind: written, and waited for
//	                                            └──Release, or it fails──▶ forgotten
//
// fit.go, zone.go, limit.go and capacity.go are pure; promise.go holds the
// promises; binder.go and bind.go are the shell.
package volumes
