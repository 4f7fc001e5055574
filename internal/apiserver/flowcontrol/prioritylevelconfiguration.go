package flowcontrol

import (
	"fmt"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/apiserver/pkg/util/shufflesharding"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A PriorityLevelConfiguration says how many requests of one level run at once
// and what becomes of the others.
func priorityLevelConfigurations() resource.Resource {
	queuing := flowcontrolv1.QueuingConfiguration{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: flowcontrolv1.SchemeGroupVersion,
		Name:         "prioritylevelconfigurations",
		Singular:     "prioritylevelconfiguration",
		Kind:         "PriorityLevelConfiguration",
		New:          func() runtime.Object { return &flowcontrolv1.PriorityLevelConfiguration{} },
		NewList:      func() runtime.Object { return &flowcontrolv1.PriorityLevelConfigurationList{} },
		Generation:   true,
		Default:      meta.Default(defaultPriorityLevel),
		Check:        meta.Check(checkPriorityLevel),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(func(l, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList { return checkPriorityLevel(l) }),
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {
				CheckUpdate:   meta.CheckUpdate(func(l, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList { return checkLevelConditions(l) }),
				Reset:         [][]string{{"metadata"}, {"spec"}},
				Unconditional: true,
			},
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Type", flowcontrolv1.PriorityLevelConfigurationSpec{}.SwaggerDoc()["type"]),
			meta.String("NominalConcurrencyShares", flowcontrolv1.LimitedPriorityLevelConfiguration{}.SwaggerDoc()["nominalConcurrencyShares"]),
			meta.String("Queues", queuing["queues"]),
			meta.String("HandSize", queuing["handSize"]),
			meta.String("QueueLengthLimit", queuing["queueLengthLimit"]),
			meta.Created(),
		),
		Row: meta.Row(priorityLevelRow),
	}
}

const (
	defaultShares      = 30
	defaultHandSize    = 8
	defaultQueues      = 64
	defaultQueueLength = 50

	mostQueues = 10_000_000

	// keptZero is how v1beta3 tells zero shares from none; no other version may.
	keptZero = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"
)

func defaultPriorityLevel(l *flowcontrolv1.PriorityLevelConfiguration) {
	if exempt := l.Spec.Exempt; exempt != nil {
		meta.SetDefault(&exempt.NominalConcurrencyShares, 0)
		meta.SetDefault(&exempt.LendablePercent, 0)
	}
	limited := l.Spec.Limited
	if limited == nil {
		return
	}
	meta.SetDefault(&limited.NominalConcurrencyShares, defaultShares)
	meta.SetDefault(&limited.LendablePercent, 0)
	if queuing := limited.LimitResponse.Queuing; queuing != nil {
		if queuing.HandSize == 0 {
			queuing.HandSize = defaultHandSize
		}
		if queuing.Queues == 0 {
			queuing.Queues = defaultQueues
		}
		if queuing.QueueLengthLimit == 0 {
			queuing.QueueLengthLimit = defaultQueueLength
		}
	}
}

func checkPriorityLevel(l *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if _, found := l.Annotations[keptZero]; found {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations"), fmt.Sprintf("annotation '%s' is forbidden", keptZero)))
	}
	exempt := l.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt
	if (l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt) != exempt {
		errs = append(errs, field.Invalid(path.Child("type"), l.Spec.Type, "must be 'Exempt' if and only if `name` is 'exempt'"))
	}
	limited := l.Spec.Type == flowcontrolv1.PriorityLevelEnablementLimited
	errs = append(errs, meta.OneOf(path.Child("type"), l.Spec.Type, flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited)...)
	switch {
	case limited && l.Spec.Limited == nil:
		errs = append(errs, field.Required(path.Child("limited"), ""))
	case limited:
		errs = append(errs, checkLimited(path.Child("limited"), l.Spec.Limited)...)
	case l.Spec.Limited != nil:
		errs = append(errs, field.Forbidden(path.Child("limited"), ""))
	}
	switch e := l.Spec.Exempt; {
	case e == nil:
	case exempt:
		errs = append(errs, checkShares(path.Child("exempt"), e.NominalConcurrencyShares)...)
		errs = append(errs, checkLendable(path.Child("exempt"), e.LendablePercent)...)
	default:
		errs = append(errs, field.Forbidden(path.Child("exempt"), ""))
	}
	errs = append(errs, checkMandatoryLevel(path, l)...)
	return append(errs, checkLevelConditions(l)...)
}

// checkMandatoryLevel: the levels that always exist are fixed, but for the
// shares of the exempt one.
func checkMandatoryLevel(path *field.Path, l *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	for _, mandatory := range bootstrap.MandatoryPriorityLevelConfigurations {
		if mandatory.Name != l.Name {
			continue
		}
		want, message := mandatory.DeepCopy(), "spec of '%s' must equal the fixed value"
		defaultPriorityLevel(want)
		if l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt {
			want.Spec.Exempt = l.Spec.Exempt
			message = "spec of '%s' except the 'spec.exempt' field must equal the fixed value"
		}
		if !equality.Semantic.DeepEqual(l.Spec, want.Spec) {
			return field.ErrorList{field.Invalid(path, l.Spec, fmt.Sprintf(message, l.Name))}
		}
	}
	return nil
}

func checkShares(path *field.Path, shares *int32) field.ErrorList {
	if shares != nil && *shares < 0 {
		return field.ErrorList{field.Invalid(path.Child("nominalConcurrencyShares"), *shares, "must be a non-negative integer")}
	}
	return nil
}

func checkLendable(path *field.Path, percent *int32) field.ErrorList {
	if percent != nil && (*percent < 0 || *percent > 100) {
		return field.ErrorList{field.Invalid(path.Child("lendablePercent"), *percent, "must be between 0 and 100, inclusive")}
	}
	return nil
}

func checkLimited(path *field.Path, limited *flowcontrolv1.LimitedPriorityLevelConfiguration) field.ErrorList {
	errs := checkShares(path, limited.NominalConcurrencyShares)
	errs = append(errs, checkLimitResponse(path.Child("limitResponse"), limited.LimitResponse)...)
	errs = append(errs, checkLendable(path, limited.LendablePercent)...)
	if percent := limited.BorrowingLimitPercent; percent != nil && *percent < 0 {
		errs = append(errs, field.Invalid(path.Child("borrowingLimitPercent"), *percent, "if specified, must be a non-negative integer"))
	}
	return errs
}

func checkLimitResponse(path *field.Path, response flowcontrolv1.LimitResponse) field.ErrorList {
	errs := meta.OneOf(path.Child("type"), response.Type, flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject)
	path = path.Child("queuing")
	switch queues := response.Type == flowcontrolv1.LimitResponseTypeQueue; {
	case queues && response.Queuing == nil:
		errs = append(errs, field.Required(path, ""))
	case queues:
		errs = append(errs, checkQueuing(path, response.Queuing)...)
	case response.Queuing != nil:
		errs = append(errs, field.Forbidden(path, ""))
	}
	return errs
}

func checkQueuing(path *field.Path, q *flowcontrolv1.QueuingConfiguration) field.ErrorList {
	const positive = "must be positive"
	var errs field.ErrorList
	invalid := func(name string, value int32, message string) {
		errs = append(errs, field.Invalid(path.Child(name), value, message))
	}
	if q.QueueLengthLimit <= 0 {
		invalid("queueLengthLimit", q.QueueLengthLimit, positive)
	}
	switch {
	case q.Queues <= 0:
		invalid("queues", q.Queues, positive)
	case q.Queues > mostQueues:
		invalid("queues", q.Queues, fmt.Sprintf("must not be greater than %d", mostQueues))
	}
	switch {
	case q.HandSize <= 0:
		invalid("handSize", q.HandSize, positive)
	case q.HandSize > q.Queues:
		invalid("handSize", q.HandSize, fmt.Sprintf("should not be greater than queues (%d)", q.Queues))
	case shufflesharding.RequiredEntropyBits(int(q.Queues), int(q.HandSize)) > shufflesharding.MaxHashBits:
		invalid("handSize", q.HandSize, fmt.Sprintf("required entropy bits of deckSize %d and handSize %d should not be greater than %d",
			q.Queues, q.HandSize, shufflesharding.MaxHashBits))
	}
	return errs
}

func checkLevelConditions(l *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	types := make([]string, len(l.Status.Conditions))
	for i, condition := range l.Status.Conditions {
		types[i] = string(condition.Type)
	}
	return checkConditionTypes(types)
}

func priorityLevelRow(l *flowcontrolv1.PriorityLevelConfiguration, now metav1.Time) []any {
	shares, queues, hand, length := any(meta.None), any(meta.None), any(meta.None), any(meta.None)
	if limited := l.Spec.Limited; limited != nil {
		shares = int64(meta.Deref(limited.NominalConcurrencyShares, 0))
		if q := limited.LimitResponse.Queuing; q != nil {
			queues, hand, length = int64(q.Queues), int64(q.HandSize), int64(q.QueueLengthLimit)
		}
	}
	return []any{l.Name, string(l.Spec.Type), shares, queues, hand, length, meta.Age(l.CreationTimestamp, now)}
}
