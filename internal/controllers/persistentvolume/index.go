package persistentvolume

import (
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	storagehelpers "k8s.io/component-helpers/storage/volume"
)

const (
	byVolume  = "binder/volume"  // claims by the volume that they name
	byPending = "binder/pending" // claims that have none yet, by class
	byClaim   = "binder/claim"   // volumes by the claim that they name
)

// indexes answer what else is to be looked at when an object changes.
type indexes struct {
	claims, volumes cache.Indexer
}

func (x *indexes) register(claims, volumes cache.SharedIndexInformer) error {
	x.claims, x.volumes = claims.GetIndexer(), volumes.GetIndexer()
	return errors.Join(
		claims.AddIndexers(cache.Indexers{byVolume: namedVolume, byPending: pendingClass}),
		volumes.AddIndexers(cache.Indexers{byClaim: namedClaim}),
	)
}

func namedVolume(o any) ([]string, error) {
	if claim, ok := o.(*v1.PersistentVolumeClaim); ok && claim.Spec.VolumeName != "" {
		return []string{claim.Spec.VolumeName}, nil
	}
	return nil, nil
}

func pendingClass(o any) ([]string, error) {
	if claim, ok := o.(*v1.PersistentVolumeClaim); ok && claim.Spec.VolumeName == "" {
		return []string{storagehelpers.GetPersistentVolumeClaimClass(claim)}, nil
	}
	return nil, nil
}

func namedClaim(o any) ([]string, error) {
	if volume, ok := o.(*v1.PersistentVolume); ok && volume.Spec.ClaimRef != nil {
		return []string{volume.Spec.ClaimRef.Namespace + "/" + volume.Spec.ClaimRef.Name}, nil
	}
	return nil, nil
}

// claimsOf a volume are the keys of those that name it.
func (x *indexes) claimsOf(volume string) []string { return keys(x.claims, byVolume, volume, "") }

// pending are the keys of the claims of a class that have no volume.
func (x *indexes) pending(class string) []string { return keys(x.claims, byPending, class, "") }

// volumesOf a claim are the keys of those that name it.
func (x *indexes) volumesOf(claim string) []string { return keys(x.volumes, byClaim, claim, ofVolume) }

func keys(indexer cache.Indexer, index, value, prefix string) []string {
	found, err := indexer.IndexKeys(index, value)
	if err != nil {
		return nil // only for an index that was never registered
	}
	for i := range found {
		found[i] = prefix + found[i]
	}
	return found
}
