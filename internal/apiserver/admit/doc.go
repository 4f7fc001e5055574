// Package admit has the admission plugins that are not in the libraries: what
// is set on, or refused to, an object by the state of the cluster around it.
//
// One file a plugin. Each is a pure function over the object and what it looks
// up through a small port; plugin.go makes the library's interfaces of it.
package admit
