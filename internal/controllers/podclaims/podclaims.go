// Package podclaims tells which pods use a claim. Several controllers ask, so
// the pods' cache is indexed by it once.
package podclaims

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/storage/ephemeral"
)

const index = "persistentvolumeclaim"

// Index makes the informer of pods answer Using.
func Index(pods cache.SharedIndexInformer) error {
	if _, done := pods.GetIndexer().GetIndexers()[index]; done {
		return nil
	}
	return pods.AddIndexers(cache.Indexers{index: func(o any) ([]string, error) {
		p, ok := o.(*v1.Pod)
		if !ok {
			return nil, nil
		}
		return Keys(p), nil
	}})
}

// Keys of the claims that a pod uses, namespace/name, those of its ephemeral
// volumes too.
func Keys(p *v1.Pod) (keys []string) {
	for i := range p.Spec.Volumes {
		if name := Name(p, &p.Spec.Volumes[i]); name != "" {
			keys = append(keys, p.Namespace+"/"+name)
		}
	}
	return keys
}

// Name of the claim behind a volume; empty for all other kinds of volumes.
func Name(p *v1.Pod, vol *v1.Volume) string {
	switch {
	case vol.PersistentVolumeClaim != nil:
		return vol.PersistentVolumeClaim.ClaimName
	case vol.Ephemeral != nil:
		return ephemeral.VolumeClaimName(p, vol)
	}
	return ""
}

// Using lists the pods that name the claim.
func Using(pods cache.Indexer, namespace, name string) ([]*v1.Pod, error) {
	objects, err := pods.ByIndex(index, namespace+"/"+name)
	if err != nil {
		return nil, fmt.Errorf("pods that use claim %s/%s: %w", namespace, name, err)
	}
	found := make([]*v1.Pod, 0, len(objects))
	for _, o := range objects {
		if p, ok := o.(*v1.Pod); ok {
			found = append(found, p)
		}
	}
	return found, nil
}

// Ended tells whether nothing of the pod runs any more: it has come to its end,
// or is being deleted and all its containers have.
func Ended(p *v1.Pod) bool {
	if p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed {
		return true
	}
	return p.DeletionTimestamp != nil && noneRuns(p.Status.ContainerStatuses)
}

func noneRuns(statuses []v1.ContainerStatus) bool {
	for i := range statuses {
		if s := &statuses[i].State; s.Terminated == nil && s.Waiting == nil {
			return false
		}
	}
	return true
}
