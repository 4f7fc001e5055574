package localpath

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	storagehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/proa-project/proa/internal/kit/localpath"
)

// ours tells whether the claim is for this node to provide for, now.
func ours(claim *v1.PersistentVolumeClaim, node string) bool {
	return claim.Annotations[storagehelpers.AnnStorageProvisioner] == localpath.Provisioner && claim.Spec.VolumeName == "" &&
		claim.DeletionTimestamp == nil && claim.Annotations[storagehelpers.AnnSelectedNode] == node
}

// misfit says why no folder can be what the claim wants.
func misfit(claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass) error {
	switch mode := claim.Spec.VolumeMode; {
	case mode != nil && *mode == v1.PersistentVolumeBlock:
		return fmt.Errorf("%s provides file systems, no block volumes", localpath.Provisioner)
	case claim.Spec.Selector != nil:
		return errors.New("claim Selector is not supported")
	case claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil:
		return fmt.Errorf("%s fills volumes from no data source", localpath.Provisioner)
	case len(class.Parameters) > 0:
		return fmt.Errorf("%s takes no parameters", localpath.Provisioner)
	case len(class.MountOptions) > 0:
		return fmt.Errorf("%s takes no mount options: its volumes are folders", localpath.Provisioner)
	}
	return nil
}

func volumeName(claim *v1.PersistentVolumeClaim) string { return "pvc-" + string(claim.UID) }

// volumeFor is the volume in a folder of this node, bound to the claim from the start.
func volumeFor(claim *v1.PersistentVolumeClaim, class *storagev1.StorageClass, node *v1.Node, folder string) *v1.PersistentVolume {
	mode, policy := v1.PersistentVolumeFilesystem, v1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		policy = *class.ReclaimPolicy
	}
	volume := &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        volumeName(claim),
			Annotations: map[string]string{storagehelpers.AnnDynamicallyProvisioned: localpath.Provisioner},
		},
		Spec: v1.PersistentVolumeSpec{
			AccessModes:                   claim.Spec.AccessModes,
			Capacity:                      v1.ResourceList{v1.ResourceStorage: claim.Spec.Resources.Requests[v1.ResourceStorage]},
			PersistentVolumeReclaimPolicy: policy,
			StorageClassName:              class.Name,
			VolumeAttributesClassName:     claim.Spec.VolumeAttributesClassName,
			VolumeMode:                    &mode,
			PersistentVolumeSource:        v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: folder}},
			NodeAffinity:                  affinity(node),
			ClaimRef: &v1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
		},
	}
	return guarded(volume)
}

// affinity holds the volume's pods to the node, by the label that names its host.
func affinity(node *v1.Node) *v1.VolumeNodeAffinity {
	host := node.Labels[v1.LabelHostname]
	if host == "" {
		host = node.Name
	}
	return &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchExpressions: []v1.NodeSelectorRequirement{{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{host}}},
	}}}}
}

// guarded is the volume with the finalizer that its policy asks for: where data
// goes with the volume, the volume must not go first. An administrator may change
// the policy at any time.
func guarded(volume *v1.PersistentVolume) *v1.PersistentVolume {
	has := slices.Contains(volume.Finalizers, localpath.Finalizer)
	want := volume.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete
	if has == want || want && volume.DeletionTimestamp != nil {
		return volume
	}
	changed := volume.DeepCopy()
	if want {
		changed.Finalizers = append(changed.Finalizers, localpath.Finalizer)
	} else {
		changed.Finalizers = slices.DeleteFunc(changed.Finalizers, func(f string) bool { return f == localpath.Finalizer })
	}
	return changed
}

// folderOf is the folder of a volume that we made on this node; empty for all
// other volumes, and for one that says it lies elsewhere.
func folderOf(volume *v1.PersistentVolume, root string) string {
	local := volume.Spec.Local
	if volume.Annotations[storagehelpers.AnnDynamicallyProvisioned] != localpath.Provisioner || local == nil ||
		local.Path != filepath.Join(root, volume.Name) {
		return ""
	}
	return local.Path
}

// doomed tells whether the volume's data is to be removed.
func doomed(volume *v1.PersistentVolume) bool {
	return volume.Spec.PersistentVolumeReclaimPolicy == v1.PersistentVolumeReclaimDelete &&
		(volume.Status.Phase == v1.VolumeReleased || volume.Status.Phase == v1.VolumeFailed || volume.DeletionTimestamp != nil && volume.Status.Phase != v1.VolumeBound)
}

// grown is the volume at the size that its claim asks for; nil when it is that
// large already.
func grown(volume *v1.PersistentVolume, claim *v1.PersistentVolumeClaim) *v1.PersistentVolume {
	want, have := claim.Spec.Resources.Requests[v1.ResourceStorage], volume.Spec.Capacity[v1.ResourceStorage]
	if want.Cmp(have) <= 0 {
		return nil
	}
	changed := volume.DeepCopy()
	changed.Spec.Capacity[v1.ResourceStorage] = want
	return changed
}
