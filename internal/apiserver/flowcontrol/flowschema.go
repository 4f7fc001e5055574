package flowcontrol

import (
	"fmt"
	"slices"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A FlowSchema says which requests belong to which priority level.
func flowSchemas() resource.Resource {
	docs := flowcontrolv1.FlowSchemaSpec{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: flowcontrolv1.SchemeGroupVersion,
		Name:         "flowschemas",
		Singular:     "flowschema",
		Kind:         "FlowSchema",
		New:          func() runtime.Object { return &flowcontrolv1.FlowSchema{} },
		NewList:      func() runtime.Object { return &flowcontrolv1.FlowSchemaList{} },
		Generation:   true,
		Default:      meta.Default(defaultFlowSchema),
		Check:        meta.Check(checkFlowSchema),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(func(s, _ *flowcontrolv1.FlowSchema) field.ErrorList { return checkFlowSchema(s) }),
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {
				CheckUpdate:   meta.CheckUpdate(func(s, _ *flowcontrolv1.FlowSchema) field.ErrorList { return checkSchemaConditions(s) }),
				Reset:         [][]string{{"metadata"}, {"spec"}},
				Unconditional: true,
			},
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("PriorityLevel", flowcontrolv1.PriorityLevelConfigurationReference{}.SwaggerDoc()["name"]),
			meta.String("MatchingPrecedence", docs["matchingPrecedence"]),
			meta.String("DistinguisherMethod", docs["distinguisherMethod"]),
			meta.Created(),
			meta.String("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
		),
		Row: meta.Row(flowSchemaRow),
	}
}

const defaultPrecedence = 1000

func defaultFlowSchema(s *flowcontrolv1.FlowSchema) {
	if s.Spec.MatchingPrecedence == 0 {
		s.Spec.MatchingPrecedence = defaultPrecedence
	}
}

func checkFlowSchema(s *flowcontrolv1.FlowSchema) field.ErrorList {
	path := field.NewPath("spec")
	errs := checkPrecedence(path.Child("matchingPrecedence"), s.Spec.MatchingPrecedence, s.Name)
	if method := s.Spec.DistinguisherMethod; method != nil {
		known := []flowcontrolv1.FlowDistinguisherMethodType{flowcontrolv1.FlowDistinguisherMethodByNamespaceType, flowcontrolv1.FlowDistinguisherMethodByUserType}
		if !slices.Contains(known, method.Type) {
			errs = append(errs, field.NotSupported(path.Child("distinguisherMethod", "type"), any(method), known))
		}
	}
	level := path.Child("priorityLevelConfiguration", "name")
	if name := s.Spec.PriorityLevelConfiguration.Name; name == "" {
		errs = append(errs, field.Required(level, "must reference a priority level"))
	} else {
		errs = append(errs, meta.DNSSubdomain(level, name)...)
	}
	for i := range s.Spec.Rules {
		errs = append(errs, checkRule(path.Child("rules").Index(i), &s.Spec.Rules[i])...)
	}
	for _, mandatory := range bootstrap.MandatoryFlowSchemas {
		if mandatory.Name != s.Name {
			continue
		}
		want := mandatory.DeepCopy()
		defaultFlowSchema(want)
		if !equality.Semantic.DeepEqual(s.Spec, want.Spec) {
			errs = append(errs, field.Invalid(path, s.Spec, fmt.Sprintf("spec of '%s' must equal the fixed value", s.Name)))
		}
	}
	return append(errs, checkSchemaConditions(s)...)
}

func checkPrecedence(path *field.Path, precedence int32, name string) field.ErrorList {
	var errs field.ErrorList
	if precedence <= 0 {
		errs = append(errs, field.Invalid(path, precedence, "must be a positive value"))
	}
	if precedence > flowcontrolv1.FlowSchemaMaxMatchingPrecedence {
		errs = append(errs, field.Invalid(path, precedence, fmt.Sprintf("must not be greater than %v", flowcontrolv1.FlowSchemaMaxMatchingPrecedence)))
	}
	if precedence == 1 && name != flowcontrolv1.FlowSchemaNameExempt {
		errs = append(errs, field.Invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1"))
	}
	return errs
}

func checkSchemaConditions(s *flowcontrolv1.FlowSchema) field.ErrorList {
	types := make([]string, len(s.Status.Conditions))
	for i, condition := range s.Status.Conditions {
		types[i] = string(condition.Type)
	}
	return checkConditionTypes(types)
}

func flowSchemaRow(s *flowcontrolv1.FlowSchema, now metav1.Time) []any {
	method, missing := meta.None, "?"
	if s.Spec.DistinguisherMethod != nil {
		method = string(s.Spec.DistinguisherMethod.Type)
	}
	for _, condition := range s.Status.Conditions {
		if condition.Type == flowcontrolv1.FlowSchemaConditionDangling {
			missing = string(condition.Status)
			break
		}
	}
	return []any{
		s.Name, s.Spec.PriorityLevelConfiguration.Name, int64(s.Spec.MatchingPrecedence),
		method, meta.Age(s.CreationTimestamp, now), missing,
	}
}
