package persistentvolume

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	storagehelpers "k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"
)

// claimView is what is known around a claim.
type claimView struct {
	claim *v1.PersistentVolumeClaim
	// class that the claim names; nil: it names none, or none is there of that name.
	class *storagev1.StorageClass
	// defaultClass for a claim that names none; may be empty.
	defaultClass string
	// volume that the claim names; nil: it names none, or none is there of that name.
	volume *v1.PersistentVolume
	// volumes there are.
	volumes []*v1.PersistentVolume
	// waiting are the pods with the claim that have no node yet.
	waiting []string
}

// planClaim decides about a claim.
func planClaim(view claimView) (outcome, error) {
	_, complete := view.claim.Annotations[storagehelpers.AnnBindCompleted]
	switch {
	case complete:
		return planBound(view)
	case view.claim.Spec.VolumeName != "":
		return planRequested(view)
	default:
		return planUnbound(view)
	}
}

// planBound keeps a binding true, or says that it is lost.
func planBound(view claimView) (outcome, error) {
	claim, volume := view.claim, view.volume
	switch {
	case claim.Spec.VolumeName == "":
		return lost(claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"), nil
	case volume == nil:
		return lost(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"), nil
	case volume.Spec.ClaimRef != nil && volume.Spec.ClaimRef.UID != claim.UID:
		return lost(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly"), nil
	}
	return bound(volume, claim)
}

func lost(claim *v1.PersistentVolumeClaim, reason, message string) (o outcome) {
	if claim.Status.Phase == v1.ClaimLost {
		return outcome{}
	}
	o.claim = without(claim, v1.ClaimLost)
	o.tell(v1.EventTypeWarning, reason, message)
	return o
}

// planRequested is for a claim that asks for one volume by name.
func planRequested(view claimView) (outcome, error) {
	claim, volume := view.claim, view.volume
	pending := outcome{claim: without(claim, v1.ClaimPending)}
	switch {
	case volume == nil:
		return pending, nil
	case storagehelpers.IsVolumeBoundToClaim(volume, claim):
		return bound(volume, claim)
	case volume.Spec.ClaimRef != nil:
		pending.tell(v1.EventTypeWarning, "FailedBinding", fmt.Sprintf("volume %q already bound to a different claim.", volume.Name))
		return pending, nil
	}
	if err := satisfies(volume, claim); err != nil {
		pending.tell(v1.EventTypeWarning, "VolumeMismatch", fmt.Sprintf("Cannot bind to requested volume %q: %s", volume.Name, err))
		return pending, nil
	}
	return bound(volume, claim)
}

// satisfies says what the volume that a claim names lacks.
func satisfies(volume *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) error {
	want, have := claim.Spec.Resources.Requests[v1.ResourceStorage], volume.Spec.Capacity[v1.ResourceStorage]
	switch {
	case volume.DeletionTimestamp != nil:
		return fmt.Errorf("the volume is marked for deletion %q", volume.Name)
	case have.Cmp(want) < 0:
		return errors.New("requested PV is too small")
	case storagehelpers.GetPersistentVolumeClass(volume) != storagehelpers.GetPersistentVolumeClaimClass(claim):
		return errors.New("storageClassName does not match")
	case ptr.Deref(volume.Spec.VolumeAttributesClassName, "") != ptr.Deref(claim.Spec.VolumeAttributesClassName, ""):
		return errors.New("volumeAttributesClassName does not match")
	case storagehelpers.CheckVolumeModeMismatches(&claim.Spec, &volume.Spec):
		return errors.New("incompatible volumeMode")
	case !storagehelpers.CheckAccessModes(claim, volume):
		return errors.New("incompatible accessMode")
	}
	return nil
}

// planUnbound is for a claim that takes any volume that fits.
func planUnbound(view claimView) (outcome, error) {
	claim := view.claim
	waits := view.class != nil && ptr.Deref(view.class.VolumeBindingMode, storagev1.VolumeBindingImmediate) == storagev1.VolumeBindingWaitForFirstConsumer
	volume, err := bestMatch(view, waits)
	if err != nil {
		return outcome{}, err
	}
	if volume != nil {
		return bound(volume, claim)
	}
	if view.defaultClass != "" && !storagehelpers.PersistentVolumeClaimHasClass(claim) {
		o := outcome{claim: claim.DeepCopy()}
		o.claim.Spec.StorageClassName = &view.defaultClass
		return o, nil
	}
	switch {
	case waits && !storagehelpers.IsDelayBindingProvisioning(claim):
		return waitForConsumer(view), nil
	case storagehelpers.GetPersistentVolumeClaimClass(claim) != "":
		return provision(view), nil
	}
	o := outcome{claim: without(claim, v1.ClaimPending)}
	o.tell(v1.EventTypeNormal, "FailedBinding", "no persistent volumes available for this claim and no storage class is set")
	return o, nil
}

// bestMatch is the volume reserved for the claim, else the smallest that fits
// among those with the fewest access modes too many.
func bestMatch(view claimView, waits bool) (*v1.PersistentVolume, error) {
	byModes := map[int][]*v1.PersistentVolume{}
	var reserved []*v1.PersistentVolume
	for _, v := range view.volumes {
		if !storagehelpers.CheckAccessModes(view.claim, v) {
			continue
		}
		if storagehelpers.IsVolumeBoundToClaim(v, view.claim) {
			reserved = append(reserved, v)
		}
		byModes[len(v.Spec.AccessModes)] = append(byModes[len(v.Spec.AccessModes)], v)
	}
	groups := [][]*v1.PersistentVolume{reserved}
	for _, count := range slices.Sorted(maps.Keys(byModes)) {
		groups = append(groups, byModes[count])
	}
	for _, group := range groups {
		if found, err := storagehelpers.FindMatchingVolume(view.claim, group, nil, nil, waits, true); found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

func waitForConsumer(view claimView) outcome {
	o := outcome{claim: without(view.claim, v1.ClaimPending)}
	switch len(view.waiting) {
	case 0:
		o.tell(v1.EventTypeNormal, "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
	case 1:
		o.tell(v1.EventTypeNormal, "WaitForPodScheduled", fmt.Sprintf("waiting for pod %s to be scheduled", view.waiting[0]))
	default:
		o.tell(v1.EventTypeNormal, "WaitForPodScheduled", fmt.Sprintf("waiting for pods %s to be scheduled", strings.Join(view.waiting, ",")))
	}
	return o
}

// provision calls the provisioner of the class, by annotations that it watches for.
func provision(view claimView) outcome {
	o := outcome{claim: without(view.claim, v1.ClaimPending)}
	name := storagehelpers.GetPersistentVolumeClaimClass(view.claim)
	switch {
	case view.class == nil:
		o.tell(v1.EventTypeWarning, "ProvisioningFailed", fmt.Sprintf("storageclass.storage.k8s.io %q not found", name))
		return o
	case strings.HasPrefix(view.class.Provisioner, "kubernetes.io/"):
		o.tell(v1.EventTypeWarning, "ProvisioningFailed", "no volume plugin matched name: "+view.class.Provisioner)
		return o
	}
	if o.claim.Annotations == nil {
		o.claim.Annotations = map[string]string{}
	}
	o.claim.Annotations[storagehelpers.AnnStorageProvisioner] = view.class.Provisioner
	o.claim.Annotations[storagehelpers.AnnBetaStorageProvisioner] = view.class.Provisioner
	o.tell(v1.EventTypeNormal, "ExternalProvisioning", fmt.Sprintf("Waiting for a volume to be created either by the external provisioner '%s' "+
		"or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
		view.class.Provisioner))
	return o
}
