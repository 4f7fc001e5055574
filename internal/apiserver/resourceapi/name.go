package resourceapi

import (
	"context"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func checkPoolName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if len(name) > resourcev1.PoolNameMaxLength {
		errs = append(errs, field.TooLong(path, "", resourcev1.PoolNameMaxLength))
	}
	for part := range strings.SplitSeq(name, "/") {
		errs = append(errs, meta.DNSSubdomain(path, part)...)
	}
	return errs
}

// checkResultPool is checkPoolName in other words.
func checkResultPool(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return validate.ResourcePoolName(context.Background(), operation.Operation{}, path, &name, nil)
}

func checkUID[T ~string](path *field.Path, uid *T) field.ErrorList {
	return validate.UUID(context.Background(), operation.Operation{}, path, uid, nil)
}

func checkClassName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return meta.DNSSubdomain(path, name)
}

// checkDriver checks the name of the driver that something is for.
func checkDriver(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if len(name) > resourcev1.DriverNameMaxLength {
		errs = append(errs, field.TooLong(path, "", resourcev1.DriverNameMaxLength))
	}
	return append(errs, meta.Invalid(path, name, content.IsDNS1123SubdomainCaseless(name))...)
}

func checkExtended(path *field.Path, name *string) field.ErrorList {
	return validate.ExtendedResourceName(context.Background(), operation.Operation{}, path, name, nil)
}

// checkQualified checks the name of an attribute or a capacity: an identifier,
// behind a domain where it is not the driver's own.
func checkQualified(path *field.Path, name resourcev1.QualifiedName) field.ErrorList {
	domain, id, found := strings.Cut(string(name), "/")
	switch {
	case !found:
		return checkIdentifier(path, domain)
	case strings.Contains(id, "/"):
		return nil // as the API has always let pass
	}
	var errs field.ErrorList
	if domain == "" {
		errs = append(errs, field.Invalid(path, "", "the domain must not be empty"))
	} else {
		errs = append(errs, meta.DriverName(path, domain)...)
	}
	if id == "" {
		return append(errs, field.Invalid(path, "", "the name must not be empty"))
	}
	return append(errs, checkIdentifier(path, id)...)
}

func checkIdentifier(path *field.Path, id string) field.ErrorList {
	var errs field.ErrorList
	if len(id) > resourcev1.DeviceMaxIDLength {
		errs = append(errs, field.TooLong(path, "", resourcev1.DeviceMaxIDLength))
	}
	return append(errs, meta.Invalid(path, id, content.IsCIdentifier(id))...)
}

func checkFullyQualified(path *field.Path, name *resourcev1.FullyQualifiedName) field.ErrorList {
	return validate.ResourceFullyQualifiedName(context.Background(), operation.Operation{}, path, name, nil)
}
