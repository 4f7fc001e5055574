package podspec

import (
	"net"
	"path"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// The storage systems that the API knows by name. Most of them have moved to CSI
// drivers; their fields are checked all the same, because objects carry them.

func lower(s string) string { return strings.ToLower(s) }

func checkGitRepo(v *v1.GitRepoVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("repository"), v.Repository), relativePath(at.Child("directory"), v.Directory))
}

func checkGCEDisk(v *v1.GCEPersistentDiskVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("pdName"), v.PDName), checkPartition(v.Partition, at.Child("partition")))
}

func checkAWSDisk(v *v1.AWSElasticBlockStoreVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("volumeID"), v.VolumeID), checkPartition(v.Partition, at.Child("partition")))
}

func checkPartition(partition int32, at *field.Path) field.ErrorList {
	if partition < 0 || partition > 255 {
		return field.ErrorList{field.Invalid(at, partition, validation.InclusiveRangeError(1, 255))}
	}
	return nil
}

func checkNFS(v *v1.NFSVolumeSource, at *field.Path) field.ErrorList {
	errs := meta.Join(meta.Required(at.Child("server"), v.Server), meta.Required(at.Child("path"), v.Path))
	if !path.IsAbs(v.Path) {
		errs = append(errs, field.Invalid(at.Child("path"), v.Path, "must be an absolute path"))
	}
	return errs
}

// The three ways to name an iSCSI initiator or target (RFC 3720, RFC 3980).
var iscsiNames = map[string]*regexp.Regexp{
	"iqn": regexp.MustCompile(`iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`),
	"eui": regexp.MustCompile(`^eui.[[:alnum:]]{16}$`),
	"naa": regexp.MustCompile(`^naa.[[:alnum:]]{32}$`),
}

func checkISCSIName(name string, at *field.Path) field.ErrorList {
	form, known := iscsiNames[name[:min(3, len(name))]]
	switch {
	case !known:
		return field.ErrorList{field.Invalid(at, name, "must be valid format starting with iqn, eui, or naa")}
	case !form.MatchString(name):
		return field.ErrorList{field.Invalid(at, name, "must be valid format")}
	}
	return nil
}

func checkISCSI(v *v1.ISCSIVolumeSource, at *field.Path) field.ErrorList {
	errs := meta.Required(at.Child("targetPortal"), v.TargetPortal)
	if v.IQN == "" {
		errs = append(errs, field.Required(at.Child("iqn"), ""))
	} else {
		errs = append(errs, checkISCSIName(v.IQN, at.Child("iqn"))...)
	}
	if v.Lun < 0 || v.Lun > 255 {
		errs = append(errs, field.Invalid(at.Child("lun"), v.Lun, validation.InclusiveRangeError(0, 255)))
	}
	if (v.DiscoveryCHAPAuth || v.SessionCHAPAuth) && v.SecretRef == nil {
		errs = append(errs, field.Required(at.Child("secretRef"), ""))
	}
	if v.InitiatorName != nil {
		errs = append(errs, checkISCSIName(*v.InitiatorName, at.Child("initiatorname"))...)
	}
	return errs
}

func checkGlusterfs(v *v1.GlusterfsVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("endpoints"), v.EndpointsName), meta.Required(at.Child("path"), v.Path))
}

func checkFlocker(v *v1.FlockerVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if v.DatasetName == "" && v.DatasetUUID == "" {
		errs = append(errs, field.Required(at, "one of datasetName and datasetUUID is required"))
	}
	if v.DatasetName != "" && v.DatasetUUID != "" {
		errs = append(errs, field.Invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
	}
	if strings.Contains(v.DatasetName, "/") {
		errs = append(errs, field.Invalid(at.Child("datasetName"), v.DatasetName, "must not contain '/'"))
	}
	return errs
}

func checkRBD(v *v1.RBDVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(requiredList(at.Child("monitors"), v.CephMonitors), meta.Required(at.Child("image"), v.RBDImage))
}

func checkCephFS(v *v1.CephFSVolumeSource, at *field.Path) field.ErrorList {
	return requiredList(at.Child("monitors"), v.Monitors)
}

func requiredList(at *field.Path, list []string) field.ErrorList {
	if len(list) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	return nil
}

func checkCinder(v *v1.CinderVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("volumeID"), v.VolumeID), checkSecretRef(v.SecretRef, at.Child("secretRef")))
}

func checkSecretRef(ref *v1.LocalObjectReference, at *field.Path) field.ErrorList {
	if ref == nil {
		return nil
	}
	return meta.Required(at.Child("name"), ref.Name)
}

func checkQuobyte(v *v1.QuobyteVolumeSource, at *field.Path) field.ErrorList {
	const pairs = "must be a host:port pair or multiple pairs separated by commas"
	var errs field.ErrorList
	switch {
	case v.Registry == "":
		errs = append(errs, field.Required(at.Child("registry"), pairs))
	case len(v.Tenant) >= 65:
		errs = append(errs, field.Required(at.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters"))
	default:
		for pair := range strings.SplitSeq(v.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				errs = append(errs, field.Invalid(at.Child("registry"), v.Registry, pairs))
			}
		}
	}
	return append(errs, meta.Required(at.Child("volume"), v.Volume)...)
}

func checkFC(v *v1.FCVolumeSource, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(v.TargetWWNs) == 0 && len(v.WWIDs) == 0 {
		errs = append(errs, field.Required(at.Child("targetWWNs"), "must specify either targetWWNs or wwids, but not both"))
	}
	if len(v.TargetWWNs) > 0 && len(v.WWIDs) > 0 {
		errs = append(errs, field.Invalid(at.Child("targetWWNs"), v.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously"))
	}
	if len(v.TargetWWNs) > 0 {
		if v.Lun == nil {
			errs = append(errs, field.Required(at.Child("lun"), "lun is required if targetWWNs is specified"))
		} else if *v.Lun < 0 || *v.Lun > 255 {
			errs = append(errs, field.Invalid(at.Child("lun"), v.Lun, validation.InclusiveRangeError(0, 255)))
		}
	}
	return errs
}

func checkFlexVolume(v *v1.FlexVolumeSource, at *field.Path) field.ErrorList {
	errs := meta.Required(at.Child("driver"), v.Driver)
	for _, option := range meta.Sorted(v.Options) {
		domain, _, _ := strings.Cut(option, "/")
		domain = "." + lower(domain)
		if strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io") {
			errs = append(errs, field.Invalid(at.Child("options").Key(option), option, "kubernetes.io and k8s.io namespaces are reserved"))
		}
	}
	return errs
}

func checkAzureFile(v *v1.AzureFileVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("secretName"), v.SecretName), meta.Required(at.Child("shareName"), v.ShareName))
}

func checkAzureDisk(v *v1.AzureDiskVolumeSource, at *field.Path) field.ErrorList {
	errs := meta.Join(meta.Required(at.Child("diskName"), v.DiskName), meta.Required(at.Child("diskURI"), v.DataDiskURI))
	if v.CachingMode != nil {
		errs = append(errs, meta.Supported(at.Child("cachingMode"), *v.CachingMode, v1.AzureDataDiskCachingNone, v1.AzureDataDiskCachingReadOnly, v1.AzureDataDiskCachingReadWrite)...)
	}
	if v.Kind == nil {
		return errs
	}
	errs = append(errs, meta.Supported(at.Child("kind"), *v.Kind, v1.AzureSharedBlobDisk, v1.AzureDedicatedBlobDisk, v1.AzureManagedDisk)...)
	prefix, example := "https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	if *v.Kind == v1.AzureManagedDisk {
		prefix, example = "/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	}
	if !strings.HasPrefix(v.DataDiskURI, prefix) {
		errs = append(errs, field.NotSupported(at.Child("diskURI"), v.DataDiskURI, []string{example}))
	}
	return errs
}

func checkVsphere(v *v1.VsphereVirtualDiskVolumeSource, at *field.Path) field.ErrorList {
	return meta.Required(at.Child("volumePath"), v.VolumePath)
}

func checkPhoton(v *v1.PhotonPersistentDiskVolumeSource, at *field.Path) field.ErrorList {
	return meta.Required(at.Child("pdID"), v.PdID)
}

func checkPortworx(v *v1.PortworxVolumeSource, at *field.Path) field.ErrorList {
	return meta.Required(at.Child("volumeID"), v.VolumeID)
}

func checkScaleIO(v *v1.ScaleIOVolumeSource, at *field.Path) field.ErrorList {
	return meta.Join(meta.Required(at.Child("gateway"), v.Gateway), meta.Required(at.Child("system"), v.System), meta.Required(at.Child("volumeName"), v.VolumeName))
}

func checkStorageOS(v *v1.StorageOSVolumeSource, at *field.Path) field.ErrorList {
	errs := meta.Required(at.Child("volumeName"), v.VolumeName)
	if v.VolumeName != "" {
		errs = meta.DNSLabel(at.Child("volumeName"), v.VolumeName)
	}
	if v.VolumeNamespace != "" {
		errs = append(errs, meta.DNSLabel(at.Child("volumeNamespace"), v.VolumeNamespace)...)
	}
	return append(errs, checkSecretRef(v.SecretRef, at.Child("secretRef"))...)
}
