package persistentvolume

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	storagehelpers "k8s.io/component-helpers/storage/volume"
)

// Annotations without a name in the libraries.
const (
	yes = "yes"
	// preResize holds, while a volume grows, the size that its file system still has.
	preResize = "volume.alpha.kubernetes.io/pre-resize-capacity"
)

// event to tell the user, of one of the two objects.
type event struct {
	ofVolume bool
	kind     string
	reason   string
	message  string
}

// outcome is how the objects shall be; nil for one that stays as it is.
type outcome struct {
	volume *v1.PersistentVolume
	claim  *v1.PersistentVolumeClaim
	events []event
	// claims to look at next, since this object is theirs to decide.
	next []string
}

func (o *outcome) tell(kind, reason, message string) {
	o.events = append(o.events, event{kind: kind, reason: reason, message: message})
}

// bound is the end of every way to a binding. It changes nothing in objects that
// are bound to each other already.
func bound(volume *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) (outcome, error) {
	v, _, err := storagehelpers.GetBindVolumeToClaim(volume, claim)
	if err != nil {
		return outcome{}, err
	}
	if v.Status.Phase != v1.VolumeBound {
		v.Status.Phase, v.Status.Message = v1.VolumeBound, ""
	}
	c := claim.DeepCopy()
	if c.Spec.VolumeName != v.Name {
		c.Spec.VolumeName = v.Name
		annotateOnce(&c.Annotations, storagehelpers.AnnBoundByController)
	}
	annotateOnce(&c.Annotations, storagehelpers.AnnBindCompleted)
	showVolume(c, v)
	return outcome{volume: v, claim: c}, nil
}

func annotateOnce(annotations *map[string]string, name string) {
	if _, has := (*annotations)[name]; has {
		return
	}
	if *annotations == nil {
		*annotations = map[string]string{}
	}
	(*annotations)[name] = yes
}

// showVolume puts what the claim has got into its status. Size and attributes
// class are only set as the claim becomes Bound: later on they are the
// business of who resizes and modifies volumes.
func showVolume(c *v1.PersistentVolumeClaim, v *v1.PersistentVolume) {
	c.Status.AccessModes = v.Spec.AccessModes
	if c.Status.Phase == v1.ClaimBound {
		return
	}
	if c.Status.Phase == v1.ClaimPending {
		c.Status.CurrentVolumeAttributesClassName = v.Spec.VolumeAttributesClassName
	}
	c.Status.Phase = v1.ClaimBound
	c.Status.Capacity = maps.Clone(v.Spec.Capacity)
	if before, growing := v.Annotations[preResize]; growing {
		if size, err := resource.ParseQuantity(before); err == nil {
			c.Status.Capacity[v1.ResourceStorage] = size
		}
	}
}

// without shows a claim that has no volume (any more).
func without(claim *v1.PersistentVolumeClaim, phase v1.PersistentVolumeClaimPhase) *v1.PersistentVolumeClaim {
	c := claim.DeepCopy()
	c.Status.Phase = phase
	c.Status.AccessModes, c.Status.Capacity, c.Status.CurrentVolumeAttributesClassName = nil, nil, nil
	return c
}

// unbound takes back a binding that another volume has won. What a user wrote
// into claimRef stays reserved for the claim of that name.
func unbound(volume *v1.PersistentVolume) *v1.PersistentVolume {
	v := volume.DeepCopy()
	if _, ours := v.Annotations[storagehelpers.AnnBoundByController]; ours {
		v.Spec.ClaimRef = nil
		delete(v.Annotations, storagehelpers.AnnBoundByController)
	} else {
		v.Spec.ClaimRef.UID = ""
	}
	v.Status.Phase, v.Status.Message = v1.VolumeAvailable, ""
	return v
}
