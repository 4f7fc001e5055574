package storage

import (
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A CSIDriver says how a driver wants to be used.
func csiDrivers() resource.Resource {
	spec := storagev1.CSIDriverSpec{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: storagev1.SchemeGroupVersion,
		Name:         "csidrivers",
		Singular:     "csidriver",
		Kind:         "CSIDriver",
		New:          func() runtime.Object { return &storagev1.CSIDriver{} },
		NewList:      func() runtime.Object { return &storagev1.CSIDriverList{} },
		Default:      meta.Default(defaultCSIDriver),
		Check:        meta.Check(checkCSIDriver),
		Warn:         meta.Warn(warnCSIDriver),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(countCSIDriver),
			CheckUpdate:   meta.CheckUpdate(checkCSIDriverUpdate),
			WarnUpdate:    meta.WarnUpdate(warnCSIDriverUpdate),
		},
		Columns: meta.Table(
			meta.Name(),
			meta.Boolean("AttachRequired", spec["attachRequired"]),
			meta.Boolean("PodInfoOnMount", spec["podInfoOnMount"]),
			meta.Boolean("StorageCapacity", spec["storageCapacity"]),
			meta.String("TokenRequests", spec["tokenRequests"]),
			meta.Boolean("RequiresRepublish", spec["requiresRepublish"]),
			meta.String("Modes", spec["volumeLifecycleModes"]),
			meta.Created(),
		),
		Row: meta.Row(csiDriverRow),
	}
}

func defaultCSIDriver(d *storagev1.CSIDriver) {
	spec := &d.Spec
	meta.SetDefault(&spec.AttachRequired, true)
	meta.SetDefault(&spec.PodInfoOnMount, false)
	meta.SetDefault(&spec.StorageCapacity, false)
	meta.SetDefault(&spec.FSGroupPolicy, storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy)
	if len(spec.VolumeLifecycleModes) == 0 {
		spec.VolumeLifecycleModes = []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}
	}
	meta.SetDefault(&spec.RequiresRepublish, false)
	meta.SetDefault(&spec.SELinuxMount, false)
	meta.SetDefault(&spec.PreventPodSchedulingIfMissing, false)
}

// countCSIDriver counts changes from nought: unlike other kinds a driver starts
// without a generation.
func countCSIDriver(d, old *storagev1.CSIDriver) {
	if !equality.Semantic.DeepEqual(d.Spec, old.Spec) {
		d.Generation = old.Generation + 1
	}
}

// Limits of what a driver may ask for.
const (
	shortestUpdatePeriod = 10      // seconds
	shortestToken        = 10 * 60 // seconds
	longestToken         = 1 << 32 // seconds
)

func checkCSIDriver(d *storagev1.CSIDriver) field.ErrorList {
	path, spec := field.NewPath("spec"), &d.Spec
	var errs field.ErrorList
	require := func(name string, value *bool) {
		if value == nil {
			errs = append(errs, field.Required(path.Child(name), ""))
		}
	}
	require("attachedRequired", spec.AttachRequired)
	require("podInfoOnMount", spec.PodInfoOnMount)
	require("storageCapacity", spec.StorageCapacity)
	if spec.FSGroupPolicy != nil {
		errs = append(errs, meta.Supported(path.Child("fsGroupPolicy"), *spec.FSGroupPolicy,
			storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy, storagev1.FileFSGroupPolicy, storagev1.NoneFSGroupPolicy)...)
	}
	errs = append(errs, checkTokenRequests(path.Child("tokenRequests"), spec.TokenRequests)...)
	modes := []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent, storagev1.VolumeLifecycleEphemeral}
	for _, mode := range spec.VolumeLifecycleModes {
		if !slices.Contains(modes, mode) {
			errs = append(errs, field.NotSupported(path.Child("volumeLifecycleModes"), mode, modes))
		}
	}
	require("seLinuxMount", spec.SELinuxMount)
	if period := spec.NodeAllocatableUpdatePeriodSeconds; period != nil && *period < shortestUpdatePeriod {
		errs = append(errs, field.Invalid(path.Child("nodeAllocatableUpdatePeriodSeconds"), *period, "must be greater than or equal to 10 seconds"))
	}
	if spec.ServiceAccountTokenInSecrets != nil && len(spec.TokenRequests) == 0 {
		errs = append(errs, field.Invalid(path.Child("serviceAccountTokenInSecrets"), *spec.ServiceAccountTokenInSecrets,
			"serviceAccountTokenInSecrets is set but no tokenRequests are specified"))
	}
	require("preventPodSchedulingIfMissing", spec.PreventPodSchedulingIfMissing)
	return errs
}

func checkTokenRequests(path *field.Path, requests []storagev1.TokenRequest) field.ErrorList {
	var errs field.ErrorList
	audiences := map[string]bool{}
	for i, request := range requests {
		at := path.Index(i)
		if audiences[request.Audience] {
			errs = append(errs, field.Duplicate(at.Child("audience"), request.Audience))
			continue
		}
		audiences[request.Audience] = true
		if request.ExpirationSeconds == nil {
			continue
		}
		switch seconds := *request.ExpirationSeconds; {
		case seconds < shortestToken:
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"))
		case seconds > longestToken:
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	return errs
}

func checkCSIDriverUpdate(d, old *storagev1.CSIDriver) field.ErrorList {
	path := field.NewPath("spec")
	return meta.Join(
		checkCSIDriver(d),
		meta.Unchanged(path.Child("attachedRequired"), d.Spec.AttachRequired, old.Spec.AttachRequired),
		meta.Unchanged(path.Child("volumeLifecycleModes"), d.Spec.VolumeLifecycleModes, old.Spec.VolumeLifecycleModes),
	)
}

const tokensInContext = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"

func warnCSIDriver(d *storagev1.CSIDriver) []string {
	if len(d.Spec.TokenRequests) == 0 || d.Spec.ServiceAccountTokenInSecrets != nil {
		return nil
	}
	return []string{tokensInContext}
}

func warnCSIDriverUpdate(d, old *storagev1.CSIDriver) []string {
	if equality.Semantic.DeepEqual(d.Spec.TokenRequests, old.Spec.TokenRequests) {
		return nil
	}
	return warnCSIDriver(d)
}

func csiDriverRow(d *storagev1.CSIDriver, now metav1.Time) []any {
	modes, tokens := meta.None, meta.Unset
	if len(d.Spec.VolumeLifecycleModes) > 0 {
		names := make([]string, len(d.Spec.VolumeLifecycleModes))
		for i, mode := range d.Spec.VolumeLifecycleModes {
			names[i] = string(mode)
		}
		modes = strings.Join(names, ",")
	}
	if d.Spec.TokenRequests != nil {
		audiences := make([]string, len(d.Spec.TokenRequests))
		for i, request := range d.Spec.TokenRequests {
			audiences[i] = request.Audience
		}
		tokens = strings.Join(audiences, ",")
	}
	return []any{
		d.Name, meta.Deref(d.Spec.AttachRequired, true), meta.Deref(d.Spec.PodInfoOnMount, false), meta.Deref(d.Spec.StorageCapacity, false),
		tokens, meta.Deref(d.Spec.RequiresRepublish, false), modes, meta.Age(d.CreationTimestamp, now),
	}
}
