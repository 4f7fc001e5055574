package volumes

import (
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// space is what drivers say of the room that they have left.
type space struct {
	drivers    func(name string) *storagev1.CSIDriver // nil: not known
	capacities func() []*storagev1.CSIStorageCapacity
}

// has tells whether a claim's provisioner has room for it on a node, as far as
// it tells of its room at all.
func (s space) has(claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass, node *v1.Node) bool {
	driver := s.drivers(class.Provisioner)
	if driver == nil || driver.Spec.StorageCapacity == nil || !*driver.Spec.StorageCapacity {
		return true
	}
	want, asks := claim.Spec.Resources.Requests[v1.ResourceStorage]
	if !asks {
		return true
	}
	for _, c := range s.capacities() {
		most := c.MaximumVolumeSize
		if most == nil {
			most = c.Capacity
		}
		if c.StorageClassName == class.Name && most != nil && most.Cmp(want) >= 0 && reaches(c, node) {
			return true
		}
	}
	return false
}

func reaches(c *storagev1.CSIStorageCapacity, node *v1.Node) bool {
	if c.NodeTopology == nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(c.NodeTopology)
	return err == nil && selector.Matches(labels.Set(node.Labels))
}
