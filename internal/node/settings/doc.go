// Package settings is what a user may decide about a node: a KubeletConfiguration
// (kubelet.config.k8s.io/v1beta1), so that files and habits from elsewhere serve
// here too, and labels and the like that the stock node agent has flags for.
//
// In: the file's bytes, what flags said. Out: Settings, the configurations of the
// node's parts as far as they are the user's to decide; every mistake, by its
// field; and the fields that have no effect here, so that nobody believes they had.
//
//	file.go       PURE: bytes → the configuration, strictly decoded, and ignored fields
//	settings.go   PURE: the configuration → Settings, defaults filled in, or errors
package settings
