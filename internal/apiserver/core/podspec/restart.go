package podspec

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

const (
	maxRestartRules     = 20
	maxRestartExitCodes = 255
)

// IsSidecar: an init container that is started in turn but keeps running beside the rest.
func IsSidecar(c *v1.Container) bool {
	return c != nil && c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// checkRestartRules checks a container's own restart policy, if it has one.
func checkRestartRules(c *v1.Container, at *field.Path) field.ErrorList {
	path, rules := at.Child("restartPolicy"), c.RestartPolicyRules
	var errs field.ErrorList
	switch {
	case c.RestartPolicy != nil:
		errs = meta.Supported(path, *c.RestartPolicy, v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyNever, v1.ContainerRestartPolicyOnFailure)
	case len(rules) > 0:
		errs = field.ErrorList{field.Required(path, "must specify restartPolicy when restart rules are used")}
	}
	if len(rules) > maxRestartRules {
		errs = append(errs, field.TooMany(at.Child("restartPolicyRules"), len(rules), maxRestartRules))
	}
	for i, rule := range rules {
		errs = append(errs, checkRestartRule(rule, at.Child("restartPolicyRules").Index(i))...)
	}
	return errs
}

func checkRestartRule(rule v1.ContainerRestartRule, at *field.Path) field.ErrorList {
	errs := meta.Supported(at.Child("action"), rule.Action, v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers)
	if rule.ExitCodes == nil {
		return append(errs, field.Required(at.Child("exitCodes"), "must be specified"))
	}
	codes := at.Child("exitCodes")
	errs = append(errs, meta.Supported(codes.Child("operator"), rule.ExitCodes.Operator, v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn)...)
	if n := len(rule.ExitCodes.Values); n > maxRestartExitCodes {
		errs = append(errs, field.TooMany(codes.Child("values"), n, maxRestartExitCodes))
	}
	return errs
}
