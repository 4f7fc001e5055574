// Package garbage deletes what lost its owners, and lets owners go once their
// dependents are deleted or set free.
//
//	owner deleted with     its finalizer          what happens
//	background             none                   it goes; its dependents lose their owner and follow
//	foreground             foregroundDeletion     dependents that block it go first, then it
//	orphan                 orphan                 dependents lose the reference to it, then it goes
//
// The metadata of every kind that can be listed, watched and deleted feeds one
// graph, in which an object is a few words: kinds that the process caches anyway
// through the shared informers, the others through watches that keep nothing.
// New kinds (CRDs) are taken up as they appear. The graph says which objects are
// worth a look; before anything is deleted, the API server has the last word.
package garbage
