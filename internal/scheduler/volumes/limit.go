package volumes

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/proa-project/proa/internal/scheduler"
)

// device is a volume as its driver knows it. One that is still to be made goes by
// its claim.
type device struct{ driver, handle string }

func deviceOf(claim *v1.PersistentVolumeClaim, volume *v1.PersistentVolume, class *storagev1.StorageClass) (device, bool) {
	switch {
	case volume != nil && volume.Spec.CSI != nil:
		return device{volume.Spec.CSI.Driver, volume.Spec.CSI.VolumeHandle}, true
	case volume == nil && class != nil:
		return device{class.Provisioner, "claim " + claim.Namespace + "/" + claim.Name}, true
	}
	return device{}, false
}

// overLimit says why a node's drivers can't take the devices of a pod beside
// those that are there.
func overLimit(node *storagev1.CSINode, want []device, there map[device]bool, driver func(string) *storagev1.CSIDriver) []scheduler.Reason {
	for _, d := range want {
		if lacks(node, driver(d.driver)) {
			return []scheduler.Reason{{Text: d.driver + " CSI driver is not installed on the node", Concern: scheduler.OfVolumes}}
		}
	}
	if node == nil {
		return nil
	}
	count := map[string]int{}
	for d := range there {
		count[d.driver]++
	}
	for _, d := range want {
		if !there[d] {
			there[d] = true
			count[d.driver]++
		}
	}
	for _, installed := range node.Spec.Drivers {
		if a := installed.Allocatable; a != nil && a.Count != nil && wants(want, installed.Name) && count[installed.Name] > int(*a.Count) {
			return []scheduler.Reason{tooMany}
		}
	}
	return nil
}

func wants(want []device, driver string) bool {
	for _, d := range want {
		if d.driver == driver {
			return true
		}
	}
	return false
}

// lacks tells whether a driver that asks for it is missing on a node.
func lacks(node *storagev1.CSINode, driver *storagev1.CSIDriver) bool {
	if driver == nil || driver.Spec.PreventPodSchedulingIfMissing == nil || !*driver.Spec.PreventPodSchedulingIfMissing {
		return false
	}
	if node == nil {
		return true
	}
	for _, d := range node.Spec.Drivers {
		if d.Name == driver.Name {
			return false
		}
	}
	return true
}

// attachedTo are the devices on a node that its attachments tell of.
func attachedTo(node string, attachments []*storagev1.VolumeAttachment, volume func(string) *v1.PersistentVolume) map[device]bool {
	there := map[device]bool{}
	for _, a := range attachments {
		if a.Spec.NodeName != node || a.Spec.Source.PersistentVolumeName == nil {
			continue
		}
		if v := volume(*a.Spec.Source.PersistentVolumeName); v != nil && v.Spec.CSI != nil {
			there[device{v.Spec.CSI.Driver, v.Spec.CSI.VolumeHandle}] = true
		} else {
			there[device{a.Spec.Attacher, fmt.Sprintf("attachment %s", a.Name)}] = true
		}
	}
	return there
}
