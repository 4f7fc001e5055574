package podspec

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

func defaultVolume(v *v1.Volume) {
	if v.VolumeSource == (v1.VolumeSource{}) {
		v.EmptyDir = &v1.EmptyDirVolumeSource{}
	}
	s := &v.VolumeSource
	if s.Image != nil && s.Image.PullPolicy == "" {
		s.Image.PullPolicy = pullPolicyFor(s.Image.Reference)
	}
	if s.HostPath != nil {
		setDefault(&s.HostPath.Type, v1.HostPathUnset)
	}
	if s.Secret != nil {
		setDefault(&s.Secret.DefaultMode, v1.SecretVolumeSourceDefaultMode)
	}
	if s.ConfigMap != nil {
		setDefault(&s.ConfigMap.DefaultMode, v1.ConfigMapVolumeSourceDefaultMode)
	}
	if s.DownwardAPI != nil {
		setDefault(&s.DownwardAPI.DefaultMode, v1.DownwardAPIVolumeSourceDefaultMode)
		defaultDownwardItems(s.DownwardAPI.Items)
	}
	if s.Projected != nil {
		defaultProjected(s.Projected)
	}
	if s.Ephemeral != nil && s.Ephemeral.VolumeClaimTemplate != nil {
		claim := &s.Ephemeral.VolumeClaimTemplate.Spec
		setDefault(&claim.VolumeMode, v1.PersistentVolumeFilesystem)
		roundUp(claim.Resources.Limits)
		roundUp(claim.Resources.Requests)
	}
	defaultNetworkVolume(s)
}

func defaultDownwardItems(items []v1.DownwardAPIVolumeFile) {
	for i := range items {
		defaultFieldRef(items[i].FieldRef)
	}
}

func defaultProjected(p *v1.ProjectedVolumeSource) {
	setDefault(&p.DefaultMode, v1.ProjectedVolumeSourceDefaultMode)
	for i := range p.Sources {
		if d := p.Sources[i].DownwardAPI; d != nil {
			defaultDownwardItems(d.Items)
		}
		if t := p.Sources[i].ServiceAccountToken; t != nil {
			setDefault(&t.ExpirationSeconds, int64(time.Hour/time.Second))
		}
	}
}

// defaultNetworkVolume serves the storage systems that the API still knows by name.
func defaultNetworkVolume(s *v1.VolumeSource) {
	if s.ISCSI != nil {
		setDefaultString(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		setDefaultString(&s.RBD.RBDPool, "rbd")
		setDefaultString(&s.RBD.RadosUser, "admin")
		setDefaultString(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.AzureDisk != nil {
		setDefault(&s.AzureDisk.CachingMode, v1.AzureDataDiskCachingReadWrite)
		setDefault(&s.AzureDisk.FSType, "ext4")
		setDefault(&s.AzureDisk.ReadOnly, false)
		setDefault(&s.AzureDisk.Kind, v1.AzureSharedBlobDisk)
	}
	if s.ScaleIO != nil {
		setDefaultString(&s.ScaleIO.StorageMode, "ThinProvisioned")
		setDefaultString(&s.ScaleIO.FSType, "xfs")
	}
}

func setDefaultString(field *string, value string) {
	if *field == "" {
		*field = value
	}
}
