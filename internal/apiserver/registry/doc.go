// Package registry turns resource.Resource values into what k8s.io/apiserver
// serves: a scheme and codecs, storage in etcd behind a watch cache, create,
// update and delete rules, and tables.
//
// The hub (what handlers work on, "__internal" to the library) is the external
// Go type itself, so nothing is converted between wire, hub and store. The
// few kinds with two Go types (HorizontalPodAutoscaler, Event) have one of them
// as hub and conversions to the other (see Hub).
package registry
