package podspec

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// Annotations that were once fields' forerunners and are checked to this day.
const (
	tolerationsAnnotation  = "scheduler.alpha.kubernetes.io/tolerations"
	seccompPodAnnotation   = "seccomp.security.alpha.kubernetes.io/pod"
	seccompOfContainer     = "container.seccomp.security.alpha.kubernetes.io/"
	seccompRuntimeDefault  = "runtime/default"
	seccompDockerDefault   = "docker/default"
	profileUnconfined      = "unconfined"
	profileLocalhostPrefix = "localhost/"
	AppArmorOfContainer    = v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix
)

// ValidateAnnotations reports what is wrong with the annotations of a pod or a
// template that mean something to the API. The path is that of the annotations.
func ValidateAnnotations(annotations map[string]string, spec *v1.PodSpec, at *field.Path, opts Options) field.ErrorList {
	var errs field.ErrorList
	if mirror, is := annotations[v1.MirrorPodAnnotationKey]; is && spec.NodeName == "" {
		errs = append(errs, field.Invalid(at.Key(v1.MirrorPodAnnotationKey), mirror, "must set spec.nodeName if mirror pod annotation is set"))
	}
	if value := annotations[tolerationsAnnotation]; value != "" {
		var tolerations []v1.Toleration
		if err := json.Unmarshal([]byte(value), &tolerations); err != nil {
			errs = append(errs, field.Invalid(at, tolerationsAnnotation, err.Error()))
		}
		errs = append(errs, ValidateTolerations(tolerations, at.Child(tolerationsAnnotation))...)
	}
	if cost, set := annotations[v1.PodDeletionCost]; set && !opts.AllowInvalidDeletionCost && !isDeletionCost(cost) {
		errs = append(errs, field.Invalid(at.Key(v1.PodDeletionCost), cost, "must be a 32bit integer"))
	}
	for _, key := range meta.Sorted(annotations) {
		value := annotations[key]
		if key == seccompPodAnnotation || strings.HasPrefix(key, seccompOfContainer) {
			errs = append(errs, checkSeccompName(value, at.Child(key))...)
		}
		if container, is := strings.CutPrefix(key, AppArmorOfContainer); is {
			errs = append(errs, checkAppArmorAnnotation(container, value, spec, at.Key(key))...)
		}
	}
	return errs
}

// isDeletionCost: no plus sign and no leading zeros, so that equal costs look equal.
func isDeletionCost(s string) bool {
	n, err := strconv.ParseInt(s, 10, 32)
	return err == nil && (s[0] == '-' || strconv.FormatInt(n, 10) == s)
}

func checkSeccompName(name string, at *field.Path) field.ErrorList {
	switch name {
	case seccompRuntimeDefault, seccompDockerDefault, profileUnconfined:
		return nil
	}
	if local, is := strings.CutPrefix(name, profileLocalhostPrefix); is {
		return relativePath(at, local)
	}
	return field.ErrorList{field.Invalid(at, name, "must be a valid seccomp profile")}
}

func checkAppArmorAnnotation(container, profile string, spec *v1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	known := false
	for c := range All(spec) {
		known = known || c.Name == container
	}
	if !known {
		errs = append(errs, field.Invalid(at, container, "container not found"))
	}
	if profile != "" && profile != v1.DeprecatedAppArmorBetaProfileRuntimeDefault && profile != profileUnconfined && !strings.HasPrefix(profile, profileLocalhostPrefix) {
		errs = append(errs, field.Invalid(at, profile, fmt.Sprintf("invalid AppArmor profile name: %q", profile)))
	}
	return errs
}

// ValidateProfiles reports security profiles that are said twice, by annotation
// and by field, and differ.
func ValidateProfiles(annotations map[string]string, spec *v1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if c := spec.SecurityContext; c != nil {
		if value, set := annotations[seccompPodAnnotation]; set {
			errs = append(errs, matchSeccomp(value, c.SeccompProfile, at.Child("securityContext", "seccompProfile"))...)
		}
	}
	for c, path := range AllAt(spec, at) {
		if c.SecurityContext == nil {
			continue
		}
		if value, set := annotations[seccompOfContainer+c.Name]; set {
			errs = append(errs, matchSeccomp(value, c.SecurityContext.SeccompProfile, path.Child("securityContext", "seccompProfile"))...)
		}
	}
	if spec.OS != nil && spec.OS.Name == v1.Windows {
		return errs
	}
	for c, path := range AllAt(spec, at) {
		if value, set := annotations[AppArmorOfContainer+c.Name]; set {
			errs = append(errs, matchAppArmor(value, appArmorOf(spec, c), path.Child("securityContext", "appArmorProfile"))...)
		}
	}
	return errs
}

func appArmorOf(spec *v1.PodSpec, c *v1.Container) *v1.AppArmorProfile {
	if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
		return c.SecurityContext.AppArmorProfile
	}
	if spec.SecurityContext != nil {
		return spec.SecurityContext.AppArmorProfile
	}
	return nil
}

func matchSeccomp(said string, p *v1.SeccompProfile, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	same := true
	switch p.Type {
	case v1.SeccompProfileTypeUnconfined:
		same = said == profileUnconfined
	case v1.SeccompProfileTypeRuntimeDefault:
		same = said == seccompRuntimeDefault || said == seccompDockerDefault
	case v1.SeccompProfileTypeLocalhost:
		return matchLocalhost(said, p.LocalhostProfile, at, "seccomp")
	}
	if !same {
		return field.ErrorList{field.Forbidden(at.Child("type"), "seccomp type in annotation and field must match")}
	}
	return nil
}

func matchAppArmor(said string, p *v1.AppArmorProfile, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	same := true
	switch p.Type {
	case v1.AppArmorProfileTypeUnconfined:
		same = said == profileUnconfined
	case v1.AppArmorProfileTypeRuntimeDefault:
		same = said == v1.DeprecatedAppArmorBetaProfileRuntimeDefault
	case v1.AppArmorProfileTypeLocalhost:
		return matchLocalhost(said, p.LocalhostProfile, at, "apparmor")
	}
	if !same {
		return field.ErrorList{field.Forbidden(at.Child("type"), "apparmor type in annotation and field must match")}
	}
	return nil
}

func matchLocalhost(said string, name *string, at *field.Path, kind string) field.ErrorList {
	local, is := strings.CutPrefix(said, profileLocalhostPrefix)
	switch {
	case !is:
		return field.ErrorList{field.Forbidden(at.Child("type"), kind+" type in annotation and field must match")}
	case name == nil || local != *name:
		return field.ErrorList{field.Forbidden(at.Child("localhostProfile"), kind+" profile in annotation and field must match")}
	}
	return nil
}

// AppArmorFromAnnotation turns an old annotation's value into a profile; nil if it has no meaning.
func AppArmorFromAnnotation(value string) *v1.AppArmorProfile {
	local, isLocal := strings.CutPrefix(value, profileLocalhostPrefix)
	switch {
	case value == profileUnconfined:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeUnconfined}
	case value == v1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeRuntimeDefault}
	case isLocal && local != "":
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: &local}
	}
	return nil
}
