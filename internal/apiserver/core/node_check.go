package core

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
)

const (
	taintsAnnotation    = "scheduler.alpha.kubernetes.io/taints"
	avoidPodsAnnotation = v1.PreferAvoidPodsAnnotationKey
)

func checkNode(node *v1.Node) field.ErrorList {
	metadata := field.NewPath("metadata")
	return meta.Join(
		checkNodeAnnotations(node.Annotations, metadata.Child("annotations")),
		checkTaints(node.Spec.Taints, metadata.Child("taints")), // the path the API has always reported
		checkNodeResources(node),
		checkSwap(node.Status.NodeInfo.Swap, metadata.Child("nodeSwapStatus")),
		checkDeclaredFeatures(node.Status.DeclaredFeatures, field.NewPath("status", "declaredFeatures")),
		checkPodCIDRs(node.Spec.PodCIDRs, field.NewPath("spec", "podCIDRs")),
	)
}

// checkNodeUpdate: what identifies the node and its pods' addresses is set once.
func checkNodeUpdate(node, old *v1.Node) field.ErrorList {
	spec := field.NewPath("spec")
	errs := meta.Join(
		checkNodeAnnotations(node.Annotations, field.NewPath("metadata", "annotations")),
		checkNodeResources(node),
		checkDeclaredFeatures(node.Status.DeclaredFeatures, field.NewPath("status", "declaredFeatures")),
		checkNodeAddresses(node.Status.Addresses, field.NewPath("status", "addresses")),
	)
	if len(old.Spec.PodCIDRs) > 0 && !slices.Equal(node.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		errs = append(errs, field.Forbidden(spec.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
	}
	if was := old.Spec.ProviderID; was != "" && node.Spec.ProviderID != was {
		message := "field cannot be modified once set"
		if node.Spec.ProviderID == "" {
			message = "field cannot be cleared once set"
		}
		errs = append(errs, field.Invalid(spec.Child("providerID"), nil, message))
	}
	if node.Spec.ConfigSource != nil {
		errs = append(errs, checkConfigSource(node.Spec.ConfigSource, false, spec.Child("configSource"))...)
	}
	if c := node.Status.Config; c != nil {
		at := field.NewPath("status", "config")
		for _, s := range []struct {
			name   string
			source *v1.NodeConfigSource
		}{{"assigned", c.Assigned}, {"active", c.Active}, {"lastKnownGood", c.LastKnownGood}} {
			if s.source != nil {
				errs = append(errs, checkConfigSource(s.source, true, at.Child(s.name))...)
			}
		}
	}
	errs = append(errs, checkTaints(node.Spec.Taints, field.NewPath("metadata", "taints"))...)
	if node.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		errs = append(errs, field.Forbidden(spec.Child("externalID"), "may not be updated"))
	}
	return errs
}

func checkNodeAnnotations(annotations map[string]string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if value := annotations[taintsAnnotation]; value != "" {
		var taints []v1.Taint
		if err := json.Unmarshal([]byte(value), &taints); err != nil {
			errs = append(errs, field.Invalid(at, taintsAnnotation, err.Error()))
		}
		errs = append(errs, checkTaints(taints, at.Child(taintsAnnotation))...)
	}
	if value := annotations[avoidPodsAnnotation]; value != "" {
		errs = append(errs, checkAvoidPods(value, at)...)
	}
	return errs
}

func checkAvoidPods(value string, at *field.Path) field.ErrorList {
	var avoid v1.AvoidPods
	if err := json.Unmarshal([]byte(value), &avoid); err != nil {
		return field.ErrorList{field.Invalid(at.Child("AvoidPods"), avoidPodsAnnotation, err.Error())}
	}
	var errs field.ErrorList
	for i, entry := range avoid.PreferAvoidPods {
		path := at.Child(avoidPodsAnnotation).Index(i).Child("PodSignature")
		if owner := entry.PodSignature.PodController; owner == nil {
			errs = append(errs, field.Required(path, ""))
		} else if owner.Controller == nil || !*owner.Controller {
			errs = append(errs, field.Invalid(path.Child("PodController", "Controller"), false, "must point to a controller"))
		}
	}
	return errs
}

// checkTaints: one taint for each key and effect.
func checkTaints(taints []v1.Taint, path *field.Path) field.ErrorList {
	type identity struct {
		key    string
		effect v1.TaintEffect
	}
	seen := sets.Set[identity]{}
	var errs field.ErrorList
	for i, t := range taints {
		at := path.Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(t.Key, at.Child("key"))...)
		if msgs := validation.IsValidLabelValue(t.Value); len(msgs) > 0 {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, strings.Join(msgs, ";")))
		}
		if t.Effect == "" {
			errs = append(errs, field.Required(at.Child("effect"), ""))
		} else {
			errs = append(errs, podspec.ValidateTaintEffect(t.Effect, at.Child("effect"))...)
		}
		id := identity{t.Key, t.Effect}
		if seen.Has(id) {
			err := field.Duplicate(at, t)
			err.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, err)
		}
		seen.Insert(id)
	}
	return errs
}

func checkNodeResources(node *v1.Node) field.ErrorList {
	var errs field.ErrorList
	for _, r := range []struct {
		name string
		list v1.ResourceList
	}{{"capacity", node.Status.Capacity}, {"allocatable", node.Status.Allocatable}} {
		for _, name := range meta.Sorted(r.list) {
			errs = append(errs, meta.ResourceAmount(field.NewPath("status", r.name, string(name)), name, r.list[name])...)
		}
	}
	return errs
}

func checkSwap(swap *v1.NodeSwapStatus, at *field.Path) field.ErrorList {
	if swap == nil || swap.Capacity == nil || *swap.Capacity > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(at.Child("capacity"), *swap.Capacity, "must be greater than zero")}
}

// featureName: UpperCamelCase, then parts in either camel case.
var featureName = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*(\/[a-zA-Z][a-zA-Z0-9]*)*$`)

func checkDeclaredFeatures(features []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, name := range features {
		if wrong := badFeature(name); wrong != "" {
			errs = append(errs, field.Invalid(path.Index(i), name, fmt.Sprintf("invalid feature name %q: %s", name, wrong)))
		}
		if i == 0 {
			continue
		}
		switch before := features[i-1]; {
		case before == name:
			errs = append(errs, field.Duplicate(path.Index(i), name))
		case before > name:
			errs = append(errs, field.Invalid(path.Index(i), name, "list must be sorted alphabetically"))
		}
	}
	return errs
}

func badFeature(name string) string {
	const longest = validation.DNS1123SubdomainMaxLength
	switch {
	case len(name) > longest:
		return fmt.Sprintf("must be no more than %d characters", longest)
	case !featureName.MatchString(name):
		return "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
	}
	return ""
}

func checkPodCIDRs(cidrs []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, cidr := range cidrs {
		errs = append(errs, meta.CIDR(at.Index(i), cidr)...)
	}
	if len(cidrs) < 2 {
		return errs
	}
	dual, err := netutils.IsDualStackCIDRStrings(cidrs)
	if err != nil {
		errs = append(errs, field.InternalError(at, fmt.Errorf("invalid PodCIDRs. failed to check with dual stack with error:%v", err)))
	}
	if !dual || len(cidrs) > 2 {
		errs = append(errs, field.Invalid(at, cidrs, "may specify no more than one CIDR for each IP family"))
	}
	return errs
}

func checkNodeAddresses(addresses []v1.NodeAddress, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[v1.NodeAddress]{}
	for i, address := range addresses {
		if seen.Has(address) {
			errs = append(errs, field.Duplicate(path.Index(i), address))
		}
		seen.Insert(address)
	}
	return errs
}

// checkConfigSource checks a field that is out of use, and may still be stored.
// In a status it names one version of the object, in a spec it may not.
func checkConfigSource(source *v1.NodeConfigSource, inStatus bool, at *field.Path) field.ErrorList {
	c := source.ConfigMap
	if c == nil {
		return field.ErrorList{field.Invalid(at, source, "exactly one reference subfield must be non-nil")}
	}
	at = at.Child("configMap")
	var errs field.ErrorList
	if inStatus {
		errs = meta.Join(meta.Required(at.Child("uid"), string(c.UID)), meta.Required(at.Child("resourceVersion"), c.ResourceVersion))
	} else {
		if c.UID != "" {
			errs = append(errs, field.Forbidden(at.Child("uid"), "uid must not be set in spec"))
		}
		if c.ResourceVersion != "" {
			errs = append(errs, field.Forbidden(at.Child("resourceVersion"), "resourceVersion must not be set in spec"))
		}
	}
	for _, f := range []struct {
		name, value string
		check       func(string) []string
	}{
		{"namespace", c.Namespace, func(s string) []string { return apivalidation.ValidateNamespaceName(s, false) }},
		{"name", c.Name, func(s string) []string { return apivalidation.NameIsDNSSubdomain(s, false) }},
		{"kubeletConfigKey", c.KubeletConfigKey, validation.IsConfigMapKey},
	} {
		if f.value == "" {
			errs = append(errs, field.Required(at.Child(f.name), ""))
		} else {
			errs = append(errs, meta.Invalid(at.Child(f.name), f.value, f.check(f.value))...)
		}
	}
	return errs
}
