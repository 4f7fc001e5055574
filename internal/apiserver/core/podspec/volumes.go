package podspec

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

const badFileMode = "must be a number between 0 and 0777 (octal), both inclusive"

// checkVolumes reports what is wrong with the volumes, and returns the valid
// ones: a mount of an invalid one is reported as not found.
func (s *scope) checkVolumes() (map[string]*v1.VolumeSource, field.ErrorList) {
	valid := map[string]*v1.VolumeSource{}
	created := s.createdClaims()
	var errs field.ErrorList
	for i := range s.spec.Volumes {
		v, at := &s.spec.Volumes[i], s.path.Child("volumes").Index(i)
		found := s.checkVolume(v, at)
		if v.Name == "" {
			found = append(found, field.Required(at.Child("name"), ""))
		} else {
			found = append(found, meta.DNSLabel(at.Child("name"), v.Name)...)
		}
		if _, duplicate := valid[v.Name]; duplicate {
			found = append(found, field.Duplicate(at.Child("name"), v.Name))
		}
		if len(found) == 0 {
			valid[v.Name] = &v.VolumeSource
		}
		errs = append(errs, found...)
		if c := v.PersistentVolumeClaim; c != nil && created.Has(c.ClaimName) {
			errs = append(errs, field.Invalid(at.Child("persistentVolumeClaim", "claimName"), c.ClaimName, "must not reference a PVC that gets created for an ephemeral volume"))
		}
	}
	return valid, errs
}

// createdClaims names the claims that will be made for the pod's ephemeral volumes.
func (s *scope) createdClaims() sets.Set[string] {
	names := sets.Set[string]{}
	if s.pod == nil || s.pod.Name == "" {
		return names
	}
	for i := range s.spec.Volumes {
		if v := &s.spec.Volumes[i]; v.Ephemeral != nil {
			names.Insert(s.pod.Name + "-" + v.Name)
		}
	}
	return names
}

// checkVolume: a volume has exactly one source, and that one is right.
func (s *scope) checkVolume(v *v1.Volume, at *field.Path) field.ErrorList {
	one := exactlyOne{path: at, refusal: "may not specify more than 1 volume type"}
	pick(&one, "emptyDir", v.EmptyDir, checkEmptyDir)
	pick(&one, "hostPath", v.HostPath, checkHostPath)
	pick(&one, "gitRepo", v.GitRepo, checkGitRepo)
	pick(&one, "gcePersistentDisk", v.GCEPersistentDisk, func(d *v1.GCEPersistentDiskVolumeSource, _ *field.Path) field.ErrorList {
		return checkGCEDisk(d, at.Child("persistentDisk")) // the path the API has always reported
	})
	pick(&one, "awsElasticBlockStore", v.AWSElasticBlockStore, checkAWSDisk)
	pick(&one, "secret", v.Secret, checkSecret)
	pick(&one, "nfs", v.NFS, checkNFS)
	pick(&one, "iscsi", v.ISCSI, checkISCSI)
	if i := v.ISCSI; i != nil && i.InitiatorName != nil && len(v.Name+":"+i.TargetPortal) > 64 {
		one.errs = append(one.errs, field.Invalid(at.Child("name"), v.Name, "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."))
	}
	pick(&one, "glusterfs", v.Glusterfs, checkGlusterfs)
	pick(&one, "flocker", v.Flocker, checkFlocker)
	pick(&one, "persistentVolumeClaim", v.PersistentVolumeClaim, checkClaimVolume)
	pick(&one, "rbd", v.RBD, checkRBD)
	pick(&one, "cinder", v.Cinder, checkCinder)
	pick(&one, "cephfs", v.CephFS, checkCephFS)
	pick(&one, "quobyte", v.Quobyte, checkQuobyte)
	pick(&one, "downwardAPI", v.DownwardAPI, checkDownwardAPI)
	pick(&one, "fc", v.FC, checkFC)
	pick(&one, "flexVolume", v.FlexVolume, checkFlexVolume)
	pick(&one, "configMap", v.ConfigMap, checkConfigMap)
	pick(&one, "azureFile", v.AzureFile, checkAzureFile)
	pick(&one, "vsphereVolume", v.VsphereVolume, checkVsphere)
	pick(&one, "photonPersistentDisk", v.PhotonPersistentDisk, checkPhoton)
	pick(&one, "portworxVolume", v.PortworxVolume, checkPortworx)
	pick(&one, "azureDisk", v.AzureDisk, checkAzureDisk)
	pick(&one, "storageos", v.StorageOS, checkStorageOS)
	pick(&one, "projected", v.Projected, s.checkProjected)
	pick(&one, "scaleIO", v.ScaleIO, checkScaleIO)
	pick(&one, "csi", v.CSI, checkCSI)
	pick(&one, "ephemeral", v.Ephemeral, func(e *v1.EphemeralVolumeSource, path *field.Path) field.ErrorList {
		return append(checkEphemeralVolume(e, path), s.checkCreatedClaim(v.Name, at)...)
	})
	pick(&one, "image", v.Image, s.checkImageVolume)
	if !one.found {
		one.errs = append(one.errs, field.Required(at, "must specify a volume type"))
	}
	return one.errs
}

func checkEmptyDir(e *v1.EmptyDirVolumeSource, at *field.Path) field.ErrorList {
	if e.SizeLimit != nil && e.SizeLimit.Sign() < 0 {
		return field.ErrorList{field.Forbidden(at.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity")}
	}
	return nil
}

func checkHostPath(h *v1.HostPathVolumeSource, at *field.Path) field.ErrorList {
	if h.Path == "" {
		return field.ErrorList{field.Required(at.Child("path"), "")}
	}
	errs := noBacksteps(at.Child("path"), h.Path)
	if h.Type == nil {
		return errs
	}
	return append(errs, meta.Supported(at.Child("type"), *h.Type,
		v1.HostPathUnset, v1.HostPathDirectoryOrCreate, v1.HostPathDirectory, v1.HostPathFileOrCreate,
		v1.HostPathFile, v1.HostPathSocket, v1.HostPathCharDev, v1.HostPathBlockDev)...)
}

func checkSecret(v *v1.SecretVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("secretName"), v.SecretName), checkMode(v.DefaultMode, at.Child("defaultMode")), checkItems(v.Items, at.Child("items")))
}

func checkConfigMap(v *v1.ConfigMapVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("name"), v.Name), checkMode(v.DefaultMode, at.Child("defaultMode")), checkItems(v.Items, at.Child("items")))
}

func checkItems(items []v1.KeyToPath, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range items {
		errs = append(errs, checkItem(&items[i], path.Index(i))...)
	}
	return errs
}

func checkItem(item *v1.KeyToPath, at *field.Path) field.ErrorList {
	return meta.Join(
		meta.Required(at.Child("key"), item.Key),
		meta.Required(at.Child("path"), item.Path),
		projectedPath(at.Child("path"), item.Path),
		checkMode(item.Mode, at.Child("mode")),
	)
}

func checkMode(mode *int32, at *field.Path) field.ErrorList {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		return field.ErrorList{field.Invalid(at, *mode, badFileMode)}
	}
	return nil
}

func checkDownwardAPI(v *v1.DownwardAPIVolumeSource, at *field.Path) field.ErrorList {
	errs := checkMode(v.DefaultMode, at.Child("defaultMode"))
	for i := range v.Items {
		errs = append(errs, checkDownwardFile(&v.Items[i], at)...) // at the volume, as the API always has
	}
	return errs
}

func checkDownwardFile(file *v1.DownwardAPIVolumeFile, at *field.Path) field.ErrorList {
	errs := meta.Join(meta.Required(at.Child("path"), file.Path), projectedPath(at.Child("path"), file.Path))
	switch {
	case file.FieldRef != nil:
		errs = append(errs, checkFieldRef(file.FieldRef, fileFields, at.Child("fieldRef"))...)
		if file.ResourceFieldRef != nil {
			errs = append(errs, field.Invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		}
	case file.ResourceFieldRef != nil:
		errs = append(errs, checkResourceFieldRef(file.ResourceFieldRef, at.Child("resourceFieldRef"), true)...)
	default:
		errs = append(errs, field.Required(at, "one of fieldRef and resourceFieldRef is required"))
	}
	return append(errs, checkMode(file.Mode, at.Child("mode"))...)
}

func checkClaimVolume(v *v1.PersistentVolumeClaimVolumeSource, at *field.Path) field.ErrorList {
	return meta.Required(at.Child("claimName"), v.ClaimName)
}

func checkCSI(v *v1.CSIVolumeSource, at *field.Path) field.ErrorList {
	errs := meta.DriverName(at.Child("driver"), v.Driver)
	if ref := v.NodePublishSecretRef; ref != nil {
		if ref.Name == "" {
			errs = append(errs, field.Required(at.Child("nodePublishSecretRef", "name"), ""))
		} else {
			errs = append(errs, objectName(at.Child("name"), ref.Name)...)
		}
	}
	return errs
}

func checkEphemeralVolume(e *v1.EphemeralVolumeSource, at *field.Path) field.ErrorList {
	if e.VolumeClaimTemplate == nil {
		return field.ErrorList{field.Required(at.Child("volumeClaimTemplate"), "")}
	}
	return checkClaimTemplate(e.VolumeClaimTemplate, at.Child("volumeClaimTemplate"))
}

// checkCreatedClaim checks the name that the claim of an ephemeral volume will get.
func (s *scope) checkCreatedClaim(volume string, at *field.Path) field.ErrorList {
	if s.pod == nil || s.pod.Name == "" || volume == "" {
		return nil // reported by itself
	}
	var errs field.ErrorList
	claim := s.pod.Name + "-" + volume
	for _, msg := range apivalidation.NameIsDNSSubdomain(claim, false) {
		errs = append(errs, field.Invalid(at.Child("name"), volume, fmt.Sprintf("PVC name %q: %v", claim, msg)))
	}
	return errs
}

func (s *scope) checkImageVolume(v *v1.ImageVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !s.AllowEmptyImageVolume {
		errs = meta.Required(at.Child("reference"), v.Reference)
	}
	return append(errs, checkPullPolicy(v.PullPolicy, at.Child("pullPolicy"))...)
}
