package podspec

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func claimNames(spec *v1.PodSpec) sets.Set[string] {
	names := sets.Set[string]{}
	for _, c := range spec.ResourceClaims {
		if c.Name != "" {
			names.Insert(c.Name)
		}
	}
	return names
}

// checkResourceClaims checks the devices that a pod claims.
func (s *scope) checkResourceClaims() field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[string]{}
	for i, claim := range s.spec.ResourceClaims {
		at := s.path.Child("resourceClaims").Index(i)
		if s.pod != nil {
			if _, mirror := s.pod.Annotations[v1.MirrorPodAnnotationKey]; mirror {
				errs = append(errs, field.Forbidden(field.NewPath(""), "static pods do not support resource claims"))
				continue
			}
		}
		switch {
		case claim.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case seen.Has(claim.Name):
			errs = append(errs, field.Duplicate(at.Child("name"), claim.Name))
		default:
			errs = append(errs, meta.DNSLabel(at.Child("name"), claim.Name)...)
			seen.Insert(claim.Name)
		}
		errs = append(errs, checkClaimSource(claim, at)...)
	}
	return errs
}

func checkClaimSource(claim v1.PodResourceClaim, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	name, template := claim.ResourceClaimName, claim.ResourceClaimTemplateName
	if name != nil && template != nil {
		errs = append(errs, field.Invalid(at, claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
	}
	if name == nil && template == nil {
		errs = append(errs, field.Invalid(at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
	}
	if name != nil {
		errs = append(errs, objectName(at.Child("resourceClaimName"), *name)...)
	}
	if template != nil {
		errs = append(errs, objectName(at.Child("resourceClaimTemplateName"), *template)...)
	}
	return errs
}

// checkClaimNames checks which of the pod's claims a container uses: a whole
// claim, or single requests in it, each once.
func checkClaimNames(uses []v1.ResourceClaim, known sets.Set[string], path *field.Path) field.ErrorList {
	var errs field.ErrorList
	used := sets.Set[string]{} // "claim" or "claim/request"
	for i, use := range uses {
		at := path.Index(i)
		if use.Name == "" {
			errs = append(errs, field.Required(at, ""))
			continue
		}
		key := use.Name
		if used.Has(use.Name) {
			errs = append(errs, field.Duplicate(at, use.Name))
		} else {
			if use.Request != "" {
				errs = append(errs, meta.DNSLabel(at.Child("request"), use.Request)...)
				key += "/" + use.Request
			}
			if used.Has(key) {
				errs = append(errs, field.Duplicate(at, key))
			} else if use.Request == "" {
				for other := range used {
					if claim, _, part := strings.Cut(other, "/"); part && claim == use.Name {
						errs = append(errs, field.Duplicate(at, use.Name))
					}
				}
			}
			used.Insert(key)
		}
		if !known.Has(use.Name) {
			errs = append(errs, unknownClaim(use.Name, known, at))
		}
	}
	return errs
}

func unknownClaim(name string, known sets.Set[string], at *field.Path) *field.Error {
	err := field.NotFound(at, name)
	err.Detail = "must be one of the names in pod.spec.resourceClaims"
	if len(known) == 0 {
		err.Detail += " which is empty"
	} else {
		err.Detail += ": " + strings.Join(sets.List(known), ", ")
	}
	return err
}
