package persistentvolume

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagehelpers "k8s.io/component-helpers/storage/volume"
)

// planVolume decides about a volume. claim is the one that claimRef means, by
// name and UID; nil: it is gone.
func planVolume(volume *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) outcome {
	ref := volume.Spec.ClaimRef
	switch {
	case ref == nil || ref.UID == "": // free, or reserved for a claim that has not come yet
		return outcome{volume: inPhase(volume, v1.VolumeAvailable, "")}
	case claim == nil:
		return released(volume)
	case claim.Spec.VolumeName == volume.Name:
		return outcome{volume: inPhase(volume, v1.VolumeBound, "")}
	case claim.Spec.VolumeName == "":
		return halfBound(volume, claim)
	case dynamic(volume) && volume.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete:
		return released(volume) // made for the claim, which found another meanwhile
	}
	return outcome{volume: unbound(volume)}
}

func inPhase(volume *v1.PersistentVolume, phase v1.PersistentVolumePhase, message string) *v1.PersistentVolume {
	if volume.Status.Phase == phase {
		return nil
	}
	v := volume.DeepCopy()
	v.Status.Phase, v.Status.Message = phase, message
	return v
}

// dynamic volumes were made by a provisioner.
func dynamic(volume *v1.PersistentVolume) bool {
	_, is := volume.Annotations[storagehelpers.AnnDynamicallyProvisioned]
	return is
}

// halfBound leaves the other half to the claim.
func halfBound(volume *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) (o outcome) {
	if storagehelpers.CheckVolumeModeMismatches(&claim.Spec, &volume.Spec) {
		o.claim = claim
		o.tell(v1.EventTypeWarning, "VolumeMismatch", fmt.Sprintf("Cannot bind PersistentVolume %q to requested PersistentVolumeClaim due to incompatible volumeMode.", volume.Name))
		o.events = append(o.events, event{
			ofVolume: true, kind: v1.EventTypeWarning, reason: "VolumeMismatch",
			message: fmt.Sprintf("Cannot bind PersistentVolume to requested PersistentVolumeClaim %q due to incompatible volumeMode.", claim.Name),
		})
		return o
	}
	o.next = []string{claim.Namespace + "/" + claim.Name}
	return o
}

// released says what becomes of a volume whose claim is gone. Data is removed
// by who made the volume; it watches for the phase.
func released(volume *v1.PersistentVolume) outcome {
	o := outcome{}
	v := volume
	if v.Status.Phase != v1.VolumeReleased && v.Status.Phase != v1.VolumeFailed {
		v = inPhase(volume, v1.VolumeReleased, "")
		o.volume = v
	}
	reason, message := "", ""
	switch v.Spec.PersistentVolumeReclaimPolicy {
	case v1.PersistentVolumeReclaimRetain:
	case v1.PersistentVolumeReclaimDelete:
		if !deletedByOthers(v) {
			reason, message = "VolumeFailedDelete", fmt.Sprintf("error getting deleter volume plugin for volume %q: no deletable volume plugin matched", v.Name)
		}
	case v1.PersistentVolumeReclaimRecycle:
		reason, message = "VolumeFailedRecycle", "No recycler plugin found for the volume!"
	default:
		reason, message = "VolumeUnknownReclaimPolicy", "Volume has unrecognized PersistentVolumeReclaimPolicy"
	}
	if reason == "" || v.Status.Phase == v1.VolumeFailed {
		return o
	}
	o.volume = inPhase(v, v1.VolumeFailed, message)
	o.events = append(o.events, event{ofVolume: true, kind: v1.EventTypeWarning, reason: reason, message: message})
	return o
}

// deletedByOthers: the provisioner that made it, or its CSI driver.
func deletedByOthers(volume *v1.PersistentVolume) bool {
	provisioner := volume.Annotations[storagehelpers.AnnDynamicallyProvisioned]
	return volume.Spec.CSI != nil || provisioner != "" && !strings.HasPrefix(provisioner, "kubernetes.io/")
}
