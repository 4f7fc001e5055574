// Package sandbox makes what the containers of a pod share: namespaces, the
// pause process that holds them, /dev/shm, and the holder, a queue of
// descriptors that outlives the keeper.
//
// It keeps no state; the keeper's server does. Every function undoes what it
// did when it fails.
package sandbox
