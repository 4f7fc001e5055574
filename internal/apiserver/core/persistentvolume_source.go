package core

import (
	"net"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// source is one kind of storage that a volume may be of. Only hostPath, local,
// nfs, iscsi, fc and csi can still be used; the others are checked so that
// manifests get the answers they know.
type source struct {
	name  string
	set   bool
	check func(at *field.Path) field.ErrorList
}

// checkVolumeSource checks that a volume is of exactly one kind, and that one.
func checkVolumeSource(at *field.Path, v *corev1.PersistentVolume) field.ErrorList {
	var errs field.ErrorList
	found := ""
	for _, s := range volumeSources(v) {
		switch {
		case !s.set:
		case found != "":
			errs = append(errs, field.Forbidden(at.Child(s.name), "may not specify more than 1 volume type"))
		default:
			found = s.name
			errs = append(errs, s.check(at.Child(s.name))...)
		}
	}
	if found == "" {
		errs = append(errs, field.Required(at, "must specify a volume type"))
	}
	if found == "local" && v.Spec.NodeAffinity == nil {
		errs = append(errs, field.Required(at.Child("nodeAffinity"), "Local volume requires node affinity"))
	}
	return errs
}

func volumeSources(v *corev1.PersistentVolume) []source {
	s := &v.Spec
	return []source{
		{"hostPath", s.HostPath != nil, func(at *field.Path) field.ErrorList { return checkHostPath(at, s.HostPath) }},
		{"gcePersistentDisk", s.GCEPersistentDisk != nil, func(at *field.Path) field.ErrorList {
			return append(need(at, "pdName", s.GCEPersistentDisk.PDName), checkPartition(at, s.GCEPersistentDisk.Partition)...)
		}},
		{"awsElasticBlockStore", s.AWSElasticBlockStore != nil, func(at *field.Path) field.ErrorList {
			return append(need(at, "volumeID", s.AWSElasticBlockStore.VolumeID), checkPartition(at, s.AWSElasticBlockStore.Partition)...)
		}},
		{"glusterfs", s.Glusterfs != nil, func(at *field.Path) field.ErrorList {
			return need(at, "endpoints", s.Glusterfs.EndpointsName, "path", s.Glusterfs.Path)
		}},
		{"flocker", s.Flocker != nil, func(at *field.Path) field.ErrorList { return checkFlocker(at, s.Flocker) }},
		{"nfs", s.NFS != nil, func(at *field.Path) field.ErrorList { return checkNFS(at, s.NFS) }},
		{"rbd", s.RBD != nil, func(at *field.Path) field.ErrorList {
			return need(at, "monitors", strings.Join(s.RBD.CephMonitors, ","), "image", s.RBD.RBDImage)
		}},
		{"quobyte", s.Quobyte != nil, func(at *field.Path) field.ErrorList { return checkQuobyte(at, s.Quobyte) }},
		{"cephfs", s.CephFS != nil, func(at *field.Path) field.ErrorList {
			return need(at, "monitors", strings.Join(s.CephFS.Monitors, ","))
		}},
		{"iscsi", s.ISCSI != nil, func(at *field.Path) field.ErrorList { return checkISCSI(at, s.ISCSI, v.Name) }},
		{"cinder", s.Cinder != nil, func(at *field.Path) field.ErrorList {
			return append(need(at, "volumeID", s.Cinder.VolumeID), needSecret(at, s.Cinder.SecretRef)...)
		}},
		{"fc", s.FC != nil, func(at *field.Path) field.ErrorList { return checkFC(at, s.FC) }},
		{"flexVolume", s.FlexVolume != nil, func(at *field.Path) field.ErrorList { return checkFlex(at, s.FlexVolume) }},
		{"azureFile", s.AzureFile != nil, func(at *field.Path) field.ErrorList {
			return need(at, "secretName", s.AzureFile.SecretName, "shareName", s.AzureFile.ShareName,
				"secretNamespace", meta.Deref(s.AzureFile.SecretNamespace, "unset"))
		}},
		{"vsphereVolume", s.VsphereVolume != nil, func(at *field.Path) field.ErrorList { return need(at, "volumePath", s.VsphereVolume.VolumePath) }},
		{"photonPersistentDisk", s.PhotonPersistentDisk != nil, func(at *field.Path) field.ErrorList { return need(at, "pdID", s.PhotonPersistentDisk.PdID) }},
		{"portworxVolume", s.PortworxVolume != nil, func(at *field.Path) field.ErrorList { return need(at, "volumeID", s.PortworxVolume.VolumeID) }},
		{"azureDisk", s.AzureDisk != nil, func(at *field.Path) field.ErrorList { return checkAzureDisk(at, s.AzureDisk) }},
		{"scaleIO", s.ScaleIO != nil, func(at *field.Path) field.ErrorList {
			return need(at, "gateway", s.ScaleIO.Gateway, "system", s.ScaleIO.System, "volumeName", s.ScaleIO.VolumeName)
		}},
		{"local", s.Local != nil, func(at *field.Path) field.ErrorList { return checkPath(at.Child("path"), s.Local.Path) }},
		{"storageos", s.StorageOS != nil, func(at *field.Path) field.ErrorList { return need(at, "volumeName", s.StorageOS.VolumeName) }},
		{"csi", s.CSI != nil, func(at *field.Path) field.ErrorList { return checkCSI(at, s.CSI) }},
	}
}

// need refuses empty values; it takes pairs of name and value.
func need(at *field.Path, pairs ...string) field.ErrorList {
	var errs field.ErrorList
	for i := 0; i < len(pairs); i += 2 {
		errs = append(errs, meta.Required(at.Child(pairs[i]), pairs[i+1])...)
	}
	return errs
}

func needSecret(at *field.Path, ref *corev1.SecretReference) field.ErrorList {
	if ref == nil {
		return nil
	}
	return need(at.Child("secretRef"), "name", ref.Name, "namespace", ref.Namespace)
}

// checkPath refuses a path that climbs up.
func checkPath(at *field.Path, p string) field.ErrorList {
	if p == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if slices.Contains(strings.Split(filepath.ToSlash(p), "/"), "..") {
		return field.ErrorList{field.Invalid(at, p, "must not contain '..'")}
	}
	return nil
}

func checkHostPath(at *field.Path, h *corev1.HostPathVolumeSource) field.ErrorList {
	errs := checkPath(at.Child("path"), h.Path)
	if h.Type != nil && h.Path != "" {
		errs = append(errs, meta.Supported(at.Child("type"), *h.Type, corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate, corev1.HostPathDirectory,
			corev1.HostPathFileOrCreate, corev1.HostPathFile, corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev)...)
	}
	return errs
}

func checkNFS(at *field.Path, n *corev1.NFSVolumeSource) field.ErrorList {
	errs := need(at, "server", n.Server, "path", n.Path)
	if !path.IsAbs(n.Path) {
		errs = append(errs, field.Invalid(at.Child("path"), n.Path, "must be an absolute path"))
	}
	return errs
}

func checkPartition(at *field.Path, n int32) field.ErrorList {
	if n >= 0 && n <= 255 {
		return nil
	}
	return field.ErrorList{field.Invalid(at.Child("partition"), n, validation.InclusiveRangeError(1, 255))}
}

func checkCSI(at *field.Path, c *corev1.CSIPersistentVolumeSource) field.ErrorList {
	errs := append(meta.DriverName(at.Child("driver"), c.Driver), need(at, "volumeHandle", c.VolumeHandle)...)
	for _, ref := range []struct {
		name   string
		secret *corev1.SecretReference
	}{
		{"controllerPublishSecretRef", c.ControllerPublishSecretRef},
		{"controllerExpandSecretRef", c.ControllerExpandSecretRef},
		{"nodePublishSecretRef", c.NodePublishSecretRef},
		{"nodeExpandSecretRef", c.NodeExpandSecretRef},
	} {
		if ref.secret != nil {
			errs = append(errs, checkSecretReference(at.Child(ref.name), ref.secret)...)
		}
	}
	return errs
}

func checkSecretReference(at *field.Path, ref *corev1.SecretReference) field.ErrorList {
	errs := need(at, "name", ref.Name)
	if ref.Name != "" {
		errs = append(errs, meta.DNSSubdomain(at.Child("name"), ref.Name)...)
	}
	if ref.Namespace == "" {
		return append(errs, field.Required(at.Child("namespace"), ""))
	}
	return append(errs, meta.DNSLabel(at.Child("namespace"), ref.Namespace)...)
}

// iqn, eui and naa are the three forms of an iSCSI name (RFC 3720, 3980).
var iscsiNames = map[string]*regexp.Regexp{
	"iqn": regexp.MustCompile(`iqn\.\d{4}-\d{2}\.([[:alnum:]-.]+)(:[^,;*&$|\s]+)$`),
	"eui": regexp.MustCompile(`^eui.[[:alnum:]]{16}$`),
	"naa": regexp.MustCompile(`^naa.[[:alnum:]]{32}$`),
}

func checkISCSIName(at *field.Path, name string) field.ErrorList {
	for prefix, form := range iscsiNames {
		if strings.HasPrefix(name, prefix) && form.MatchString(name) {
			return nil
		}
	}
	return field.ErrorList{field.Invalid(at, name, "must be valid format")}
}

func checkISCSI(at *field.Path, s *corev1.ISCSIPersistentVolumeSource, volume string) field.ErrorList {
	errs := need(at, "targetPortal", s.TargetPortal)
	if s.InitiatorName != nil && len(volume+":"+s.TargetPortal) > 64 {
		errs = append(errs, field.Invalid(at.Child("targetportal"), s.TargetPortal,
			"Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."))
	}
	if s.IQN == "" {
		errs = append(errs, field.Required(at.Child("iqn"), ""))
	} else {
		errs = append(errs, checkISCSIName(at.Child("iqn"), s.IQN)...)
	}
	if s.Lun < 0 || s.Lun > 255 {
		errs = append(errs, field.Invalid(at.Child("lun"), s.Lun, validation.InclusiveRangeError(0, 255)))
	}
	if (s.DiscoveryCHAPAuth || s.SessionCHAPAuth) && s.SecretRef == nil {
		errs = append(errs, field.Required(at.Child("secretRef"), ""))
	}
	if s.SecretRef != nil {
		errs = append(errs, need(at.Child("secretRef"), "name", s.SecretRef.Name)...)
	}
	if s.InitiatorName != nil {
		errs = append(errs, checkISCSIName(at.Child("initiatorname"), *s.InitiatorName)...)
	}
	return errs
}

func checkFC(at *field.Path, f *corev1.FCVolumeSource) field.ErrorList {
	var errs field.ErrorList
	target := at.Child("targetWWNs")
	switch {
	case len(f.TargetWWNs) == 0 && len(f.WWIDs) == 0:
		errs = append(errs, field.Required(target, "must specify either targetWWNs or wwids, but not both"))
	case len(f.TargetWWNs) != 0 && len(f.WWIDs) != 0:
		errs = append(errs, field.Invalid(target, f.TargetWWNs, "targetWWNs and wwids can not be specified simultaneously"))
	}
	if len(f.TargetWWNs) == 0 {
		return errs
	}
	if f.Lun == nil {
		return append(errs, field.Required(at.Child("lun"), "lun is required if targetWWNs is specified"))
	}
	if *f.Lun < 0 || *f.Lun > 255 {
		errs = append(errs, field.Invalid(at.Child("lun"), f.Lun, validation.InclusiveRangeError(0, 255)))
	}
	return errs
}

func checkFlocker(at *field.Path, f *corev1.FlockerVolumeSource) field.ErrorList {
	var errs field.ErrorList
	switch {
	case f.DatasetName == "" && f.DatasetUUID == "":
		errs = append(errs, field.Required(at, "one of datasetName and datasetUUID is required"))
	case f.DatasetName != "" && f.DatasetUUID != "":
		errs = append(errs, field.Invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
	}
	if strings.Contains(f.DatasetName, "/") {
		errs = append(errs, field.Invalid(at.Child("datasetName"), f.DatasetName, "must not contain '/'"))
	}
	return errs
}

func checkQuobyte(at *field.Path, q *corev1.QuobyteVolumeSource) field.ErrorList {
	var errs field.ErrorList
	const pairs = "must be a host:port pair or multiple pairs separated by commas"
	switch {
	case q.Registry == "":
		errs = append(errs, field.Required(at.Child("registry"), pairs))
	case len(q.Tenant) > 64:
		errs = append(errs, field.Required(at.Child("tenant"), "must be a UUID and may not exceed a length of 64 characters"))
	default:
		for pair := range strings.SplitSeq(q.Registry, ",") {
			if _, _, err := net.SplitHostPort(pair); err != nil {
				errs = append(errs, field.Invalid(at.Child("registry"), q.Registry, pairs))
			}
		}
	}
	return append(errs, need(at, "volume", q.Volume)...)
}

func checkFlex(at *field.Path, f *corev1.FlexPersistentVolumeSource) field.ErrorList {
	errs := need(at, "driver", f.Driver)
	for _, key := range meta.Sorted(f.Options) {
		domain, _, _ := strings.Cut("."+strings.ToLower(key), "/")
		if strings.HasSuffix(domain, ".kubernetes.io") || strings.HasSuffix(domain, ".k8s.io") {
			errs = append(errs, field.Invalid(at.Child("options").Key(key), key, "kubernetes.io and k8s.io namespaces are reserved"))
		}
	}
	return errs
}

func checkAzureDisk(at *field.Path, d *corev1.AzureDiskVolumeSource) field.ErrorList {
	errs := need(at, "diskName", d.DiskName, "diskURI", d.DataDiskURI)
	if d.CachingMode != nil {
		errs = append(errs, meta.Supported(at.Child("cachingMode"), *d.CachingMode,
			corev1.AzureDataDiskCachingNone, corev1.AzureDataDiskCachingReadOnly, corev1.AzureDataDiskCachingReadWrite)...)
	}
	if d.Kind == nil {
		return errs
	}
	errs = append(errs, meta.Supported(at.Child("kind"), *d.Kind, corev1.AzureSharedBlobDisk, corev1.AzureDedicatedBlobDisk, corev1.AzureManagedDisk)...)
	prefix, form := "https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
	if *d.Kind == corev1.AzureManagedDisk {
		prefix, form = "/subscriptions/", "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
	}
	if !strings.HasPrefix(d.DataDiskURI, prefix) {
		errs = append(errs, field.NotSupported(at.Child("diskURI"), d.DataDiskURI, []string{form}))
	}
	return errs
}
