// Package spec turns what the CRI asks for into what an OCI runtime does.
//
// Build is pure: everything it needs of the host, of the image and of the
// container's root file system is in its [Input], gathered by the caller, so
// every rule here is shown by a golden file in testdata. One file a concern:
// process.go (command, environment, folder), user.go, capabilities.go,
// namespaces.go, mounts.go, devices.go, resources.go, security.go (seccomp,
// masked paths, AppArmor, SELinux).
package spec
