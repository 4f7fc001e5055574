// Package pods holds pure facts about a pod that several components need and no
// published library gives. Sums of requests and limits are in
// k8s.io/component-helpers/resource.
package pods
