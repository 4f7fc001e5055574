package pods

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// ShouldRestart reports whether a container that ended with the exit code is
// started again: by its first rule that matches, else by its own policy, else by the pod's.
func ShouldRestart(c *v1.Container, pod v1.RestartPolicy, exitCode int32) bool {
	if _, ok := RestartRule(c, exitCode); ok {
		return true // restarting is all that a rule can ask for
	}
	switch RestartPolicy(c, pod) {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return exitCode != 0
	default:
		return true
	}
}

// RestartPolicy is the container's own, or the pod's.
func RestartPolicy(c *v1.Container, pod v1.RestartPolicy) v1.RestartPolicy {
	if c.RestartPolicy != nil {
		return v1.RestartPolicy(*c.RestartPolicy)
	}
	return pod
}

// RestartRule is the first of the container's rules that matches the exit code.
// Rules count only beside a policy of the container's own.
func RestartRule(c *v1.Container, exitCode int32) (rule v1.ContainerRestartRule, ok bool) {
	if c.RestartPolicy == nil {
		return rule, false
	}
	for _, r := range c.RestartPolicyRules {
		if matches(r, exitCode) {
			return r, true
		}
	}
	return rule, false
}

// RestartsAll reports whether a container's end may restart all containers of the pod.
func RestartsAll(spec *v1.PodSpec) bool {
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			if slices.ContainsFunc(list[i].RestartPolicyRules, func(r v1.ContainerRestartRule) bool {
				return r.Action == v1.ContainerRestartRuleActionRestartAllContainers
			}) {
				return true
			}
		}
	}
	return false
}

func matches(r v1.ContainerRestartRule, exitCode int32) bool {
	if r.ExitCodes == nil {
		return false
	}
	listed := slices.Contains(r.ExitCodes.Values, exitCode)
	switch r.ExitCodes.Operator {
	case v1.ContainerRestartRuleOnExitCodesOpIn:
		return listed
	case v1.ContainerRestartRuleOnExitCodesOpNotIn:
		return !listed
	}
	return false
}
