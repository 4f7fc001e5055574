package volumes

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	storagehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/proa-project/proa/internal/scheduler"
)

// The reasons, in the field's stock wording. No pod that ends changes where a
// volume is; one that has a volume to itself, or takes a place of a driver, is in
// the way only as long as it is there.
var (
	elsewhere   = scheduler.Reason{Text: "node(s) didn't match PersistentVolume's node affinity", Concern: scheduler.OfVolumes}
	noneToBind  = scheduler.Reason{Text: "node(s) didn't find available persistent volumes to bind", Concern: scheduler.OfVolumes}
	noSpace     = scheduler.Reason{Text: "node(s) did not have enough free storage", Concern: scheduler.OfVolumes}
	missing     = scheduler.Reason{Text: "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)", Concern: scheduler.OfVolumes}
	otherZone   = scheduler.Reason{Text: "node(s) had no available volume zone", Concern: scheduler.OfVolumes}
	usedAlready = scheduler.Reason{Text: "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod", Resolvable: true, Concern: scheduler.OfVolumes}
	tooMany     = scheduler.Reason{Text: "node(s) exceed max volume count", Resolvable: true, Concern: scheduler.OfVolumes}
)

// boundClaim is a claim with its volume; nil: there is none of that name.
type boundClaim struct {
	claim  *v1.PersistentVolumeClaim
	volume *v1.PersistentVolume
}

// looseClaim waits for its first consumer. free are the volumes of its class.
type looseClaim struct {
	claim *v1.PersistentVolumeClaim
	class *storagev1.StorageClass
	free  []*v1.PersistentVolume
}

// claims of one pod.
type claims struct {
	bound []boundClaim
	loose []looseClaim // the smallest first: it leaves the larger volumes to those that need them
}

// choice is which volumes a pod would get on a node.
type choice struct {
	match   []boundClaim                // free volumes for claims
	provide []*v1.PersistentVolumeClaim // claims that a provisioner is to be called for
}

// fit finds volumes for all claims on a node, or says why there are none.
func (c *claims) fit(node *v1.Node, space space) (choice, []scheduler.Reason) {
	if reasons := c.reach(node); len(reasons) > 0 {
		return choice{}, reasons
	}
	var chosen choice
	taken := map[string]*v1.PersistentVolume{}
	for _, l := range c.loose {
		selected, calling := l.claim.Annotations[storagehelpers.AnnSelectedNode]
		if calling && selected != node.Name {
			return choice{}, []scheduler.Reason{noneToBind}
		}
		if !calling {
			volume, err := storagehelpers.FindMatchingVolume(l.claim, l.free, node, taken, true, true)
			if err == nil && volume != nil {
				taken[volume.Name] = volume
				chosen.match = append(chosen.match, boundClaim{l.claim, volume})
				continue
			}
		}
		switch {
		case !providable(l.class, node):
			return choice{}, []scheduler.Reason{noneToBind}
		case !space.has(l.claim, l.class, node):
			return choice{}, []scheduler.Reason{noSpace}
		}
		chosen.provide = append(chosen.provide, l.claim)
	}
	return chosen, nil
}

// reach says why the volumes that are bound can't be reached from a node.
func (c *claims) reach(node *v1.Node) (reasons []scheduler.Reason) {
	gone, away := false, false
	for _, b := range c.bound {
		switch {
		case b.volume == nil:
			gone = true
		case storagehelpers.CheckNodeAffinity(b.volume, node.Labels) != nil:
			away = true
		}
	}
	if away {
		reasons = append(reasons, elsewhere)
	}
	if gone {
		reasons = append(reasons, missing)
	}
	if len(reasons) == 0 && !c.inZone(node) {
		reasons = append(reasons, otherZone)
	}
	return reasons
}

// providable tells whether the class's provisioner may make a volume for a node.
func providable(class *storagev1.StorageClass, node *v1.Node) bool {
	if class.Provisioner == "" || class.Provisioner == storagehelpers.NotSupportedProvisioner {
		return false
	}
	if len(class.AllowedTopologies) == 0 {
		return true
	}
	return slices.ContainsFunc(class.AllowedTopologies, func(term v1.TopologySelectorTerm) bool {
		return len(term.MatchLabelExpressions) > 0 && !slices.ContainsFunc(term.MatchLabelExpressions, func(r v1.TopologySelectorLabelRequirement) bool {
			return !slices.Contains(r.Values, node.Labels[r.Key])
		})
	})
}
