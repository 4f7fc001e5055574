// Package static brings pods that run without an API server: from manifests in a folder and from a URL; and shows each in the
// API as a mirror pod.
//
// In: manifest files, an HTTP answer. Out: complete pods (Source.Run) and mirror pods.
//
//	manifest.go    PURE: bytes → pods; what a static pod may not refer to; names, UID, annotations
//	folder.go      the manifests of a folder, followed with inotify and looked through every 20 s
//	page.go        the manifests at a URL, asked every 20 s
//	source.go      both as one list
//	mirror.go      mirror pods
//
// A manifest that can't be read or is wrong is a line in the log; the others go on, and so does the pod that the same file
// described before: a slip of an editor stops nothing. Removing the file ends its pod.
package static
