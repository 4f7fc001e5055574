package autoscaling

import (
	"errors"
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

const (
	longestPeriod = 1800 // seconds
	longestWindow = 3600 // seconds
)

// checkHPA checks what may change, which is all; old is nil at creation.
func checkHPA(h, old *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	path, spec := field.NewPath("spec"), &h.Spec
	errs := checkReplicas(path, spec)
	target := spec.ScaleTargetRef
	sameTarget := old != nil && old.Spec.ScaleTargetRef.APIVersion == target.APIVersion && old.Spec.ScaleTargetRef.Kind == target.Kind
	errs = append(errs, checkReference(path.Child("scaleTargetRef"), target, target.Kind == "ReplicationController", sameTarget)...)
	errs = append(errs, checkMetrics(path.Child("metrics"), spec, old)...)
	if behavior := spec.Behavior; behavior != nil {
		errs = append(errs, checkRules(path.Child("behavior", "scaleUp"), behavior.ScaleUp)...)
		errs = append(errs, checkRules(path.Child("behavior", "scaleDown"), behavior.ScaleDown)...)
	}
	return errs
}

func checkReplicas(path *field.Path, spec *autoscalingv2.HorizontalPodAutoscalerSpec) field.ErrorList {
	var errs field.ErrorList
	least, most := meta.Deref(spec.MinReplicas, 0), spec.MaxReplicas
	if least < 0 {
		errs = append(errs, field.Invalid(path.Child("minReplicas"), least, "must be greater than or equal to 0"))
	}
	switch {
	case most == 0:
		errs = append(errs, field.Required(path.Child("maxReplicas"), ""))
	case most < 0:
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), most, "must be greater than or equal to 1"))
	}
	if most < least {
		errs = append(errs, field.Invalid(path.Child("maxReplicas"), most, "must be greater than or equal to `minReplicas`"))
	}
	return errs
}

// checkReference checks what an autoscaler points to. coreToo: a group may be
// missing, for it is of the core group.
func checkReference(path *field.Path, ref autoscalingv2.CrossVersionObjectReference, coreToo, anyVersion bool) field.ErrorList {
	errs := append(meta.PathSegment(path.Child("kind"), ref.Kind, ""), meta.PathSegment(path.Child("name"), ref.Name, "")...)
	if err := checkAPIVersion(ref.APIVersion, coreToo); err != nil && !anyVersion {
		errs = append(errs, field.Invalid(path.Child("apiVersion"), ref.APIVersion, err.Error()))
	}
	return errs
}

func checkAPIVersion(version string, coreToo bool) error {
	gv, err := schema.ParseGroupVersion(version)
	if err == nil && gv.Group == "" && !coreToo {
		return errors.New("apiVersion must specify API group")
	}
	return err
}

func checkMetrics(path *field.Path, spec *autoscalingv2.HorizontalPodAutoscalerSpec, old *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	anyVersion := old != nil && slices.ContainsFunc(old.Spec.Metrics, func(m autoscalingv2.MetricSpec) bool {
		return m.Object != nil && checkAPIVersion(m.Object.DescribedObject.APIVersion, true) != nil
	})
	var errs field.ErrorList
	outside := false // something to measure when there are no pods
	for i := range spec.Metrics {
		errs = append(errs, checkMetric(path.Index(i), &spec.Metrics[i], anyVersion)...)
		t := spec.Metrics[i].Type
		outside = outside || t == autoscalingv2.ObjectMetricSourceType || t == autoscalingv2.ExternalMetricSourceType
	}
	if spec.MinReplicas != nil && *spec.MinReplicas == 0 && !outside {
		errs = append(errs, field.Forbidden(path, "must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	return errs
}

// metricSource is one of the places that a metric may come from.
type metricSource struct {
	kind  autoscalingv2.MetricSourceType
	field string
	set   bool
	check func(path *field.Path) field.ErrorList
}

// metricSources lists them in the order in which they are looked at.
func metricSources(m *autoscalingv2.MetricSpec, anyVersion bool) []metricSource {
	return []metricSource{
		{autoscalingv2.ObjectMetricSourceType, "object", m.Object != nil, func(path *field.Path) field.ErrorList { return checkObject(path, m.Object, anyVersion) }},
		{autoscalingv2.ExternalMetricSourceType, "external", m.External != nil, func(path *field.Path) field.ErrorList { return checkExternal(path, m.External) }},
		{autoscalingv2.PodsMetricSourceType, "pods", m.Pods != nil, func(path *field.Path) field.ErrorList { return checkPods(path, m.Pods) }},
		{autoscalingv2.ResourceMetricSourceType, "resource", m.Resource != nil, func(path *field.Path) field.ErrorList {
			return append(required(path.Child("name"), string(m.Resource.Name), "must specify a resource name"), checkUsage(path.Child("target"), m.Resource.Target)...)
		}},
		{autoscalingv2.ContainerResourceMetricSourceType, "containerResource", m.ContainerResource != nil, func(path *field.Path) field.ErrorList {
			return checkContainerResource(path, m.ContainerResource)
		}},
	}
}

func checkMetric(path *field.Path, m *autoscalingv2.MetricSpec, anyVersion bool) field.ErrorList {
	var errs field.ErrorList
	var kinds []autoscalingv2.MetricSourceType
	sources := metricSources(m, anyVersion)
	for _, source := range sources {
		kinds = append(kinds, source.kind)
	}
	unknown := meta.Supported(path.Child("type"), m.Type, kinds...)
	if m.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "must specify a metric source type"))
	}
	errs = append(errs, unknown...)
	present := 0
	for _, source := range sources {
		if source.set {
			if present++; present == 1 {
				errs = append(errs, source.check(path.Child(source.field))...)
			}
		}
	}
	for _, source := range sources {
		if source.kind == m.Type && !source.set {
			errs = append(errs, field.Required(path.Child(source.field), "must populate information for the given metric source"))
		}
		if source.kind != m.Type && source.set && present != 1 {
			errs = append(errs, field.Forbidden(path.Child(source.field), "must populate the given metric source only"))
		}
	}
	return errs
}

func checkObject(path *field.Path, m *autoscalingv2.ObjectMetricSource, anyVersion bool) field.ErrorList {
	errs := meta.Join(
		checkReference(path.Child("describedObject"), m.DescribedObject, true, anyVersion),
		checkMetricName(path.Child("metric", "name"), m.Metric),
		checkTarget(path.Child("target"), m.Target),
	)
	if m.Target.Value == nil && m.Target.AverageValue == nil {
		errs = append(errs, field.Required(path.Child("target", "averageValue"), "must set either a target value or averageValue"))
	}
	return errs
}

func checkExternal(path *field.Path, m *autoscalingv2.ExternalMetricSource) field.ErrorList {
	errs := append(checkMetricName(path.Child("metric", "name"), m.Metric), checkTarget(path.Child("target"), m.Target)...)
	switch whole, each := m.Target.Value != nil, m.Target.AverageValue != nil; {
	case !whole && !each:
		errs = append(errs, field.Required(path.Child("target", "averageValue"), "must set either a target value for metric or a per-pod target"))
	case whole && each:
		errs = append(errs, field.Forbidden(path.Child("target", "value"), "may not set both a target value for metric and a per-pod target"))
	}
	return errs
}

func checkPods(path *field.Path, m *autoscalingv2.PodsMetricSource) field.ErrorList {
	errs := append(checkMetricName(path.Child("metric", "name"), m.Metric), checkTarget(path.Child("target"), m.Target)...)
	if m.Target.AverageValue == nil {
		errs = append(errs, field.Required(path.Child("target", "averageValue"), "must specify a positive target averageValue"))
	}
	return errs
}

func checkContainerResource(path *field.Path, m *autoscalingv2.ContainerResourceMetricSource) field.ErrorList {
	errs := required(path.Child("name"), string(m.Name), "must specify a resource name")
	if m.Name != "" {
		errs = append(errs, meta.ContainerResourceName(path.Child("name"), m.Name)...)
	}
	if m.Container == "" {
		errs = append(errs, field.Required(path.Child("container"), "must specify a container"))
	} else {
		errs = append(errs, meta.DNSLabel(path.Child("container"), m.Container)...)
	}
	return append(errs, checkUsage(path.Child("target"), m.Target)...)
}

func checkUsage(path *field.Path, target autoscalingv2.MetricTarget) field.ErrorList {
	errs := checkTarget(path, target)
	switch share, amount := target.AverageUtilization != nil, target.AverageValue != nil; {
	case !share && !amount:
		errs = append(errs, field.Required(path.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
	case share && amount:
		errs = append(errs, field.Forbidden(path.Child("averageValue"), "may not set both a target raw value and a target utilization"))
	}
	return errs
}

func checkMetricName(path *field.Path, metric autoscalingv2.MetricIdentifier) field.ErrorList {
	return meta.PathSegment(path, metric.Name, "must specify a metric name")
}

func required(path *field.Path, value, detail string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, detail)}
	}
	return nil
}

func checkTarget(path *field.Path, target autoscalingv2.MetricTarget) field.ErrorList {
	errs := required(path.Child("type"), string(target.Type), "must specify a metric target type")
	switch target.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	default:
		errs = append(errs, field.Invalid(path.Child("type"), target.Type, "must be either Utilization, Value, or AverageValue"))
	}
	if target.Value != nil && target.Value.Sign() != 1 {
		errs = append(errs, field.Invalid(path.Child("value"), target.Value, "must be positive"))
	}
	if target.AverageValue != nil && target.AverageValue.Sign() != 1 {
		errs = append(errs, field.Invalid(path.Child("averageValue"), target.AverageValue, "must be positive"))
	}
	if target.AverageUtilization != nil && *target.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(path.Child("averageUtilization"), *target.AverageUtilization, "must be greater than 0"))
	}
	return errs
}

func checkRules(path *field.Path, rules *autoscalingv2.HPAScalingRules) field.ErrorList {
	if rules == nil {
		return nil
	}
	var errs field.ErrorList
	window := meta.Deref(rules.StabilizationWindowSeconds, 0)
	if window < 0 {
		errs = append(errs, field.Invalid(path.Child("stabilizationWindowSeconds"), window, "must be greater than or equal to zero"))
	}
	if window > longestWindow {
		errs = append(errs, field.Invalid(path.Child("stabilizationWindowSeconds"), window, fmt.Sprintf("must be less than or equal to %v", longestWindow)))
	}
	if rules.SelectPolicy != nil {
		errs = append(errs, meta.Supported(path.Child("selectPolicy"), *rules.SelectPolicy,
			autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect)...)
	}
	if len(rules.Policies) == 0 {
		errs = append(errs, field.Required(path.Child("policies"), "must specify at least one Policy"))
	}
	for i, policy := range rules.Policies {
		at := path.Child("policies").Index(i)
		errs = append(errs, meta.Supported(at.Child("type"), policy.Type, autoscalingv2.PodsScalingPolicy, autoscalingv2.PercentScalingPolicy)...)
		if policy.Value <= 0 {
			errs = append(errs, field.Invalid(at.Child("value"), policy.Value, "must be greater than zero"))
		}
		if policy.PeriodSeconds <= 0 {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), policy.PeriodSeconds, "must be greater than zero"))
		}
		if policy.PeriodSeconds > longestPeriod {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), policy.PeriodSeconds, fmt.Sprintf("must be less than or equal to %v", longestPeriod)))
		}
	}
	if rules.Tolerance != nil {
		errs = append(errs, meta.Quantity(path.Child("tolerance"), *rules.Tolerance)...)
	}
	return errs
}

func checkHPAStatus(h, _ *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	path := field.NewPath("status")
	return append(meta.NonNegative(path.Child("currentReplicas"), h.Status.CurrentReplicas), meta.NonNegative(path.Child("desiredReplicas"), h.Status.DesiredReplicas)...)
}
