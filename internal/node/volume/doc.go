// Package volume brings the volumes of pods to life on this node, keeps their contents true to the API, and takes them down.
//
// In: pods; ConfigMaps, Secrets, tokens and trust bundles through the client. Out: folders and mounts below
// <Root>/<uid>/volumes/<plugin>/<volume>, CRI mounts for a container, and a nudge (Config.Changed) when what a pod waited
// for has come.
//
// Who owns what:
//
//	payload.go, downward.go    PURE: objects → files of a volume (Payload), and which objects a pod needs (Needs)
//	atomic.go                  Payload → a folder that readers only ever see whole (the ..data symbolic link)
//	objects.go                 one watch an object, reference counted: the latest ConfigMap, Secret, ClusterTrustBundle
//	token.go                   service account tokens and when to ask for the next
//	certificate.go             pods' own certificates: what was asked of signers, and what they answered
//	emptydir.go, hostpath.go   the volumes without a payload
//	mounts.go, subpath.go      what a container gets to see, free of symbolic-link races
//	ownership.go               fsGroup
//	teardown.go                unmount first, then remove, never across a mount
//	manager.go                 the shell: one lock a pod, one goroutine for refreshes
//
// The folder itself is the memory: after a restart Setup finds what is there and goes on, and TearDown needs nothing but the
// pod's UID, so pods deleted while the node agent was down are cleaned from a listing (Orphans).
package volume
