package podspec

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// checkLifecycleAndProbes is for containers that go on running: main containers and sidecars.
func (s *scope) checkLifecycleAndProbes(c *v1.Container, at *field.Path) field.ErrorList {
	return meta.Join(
		s.checkLifecycle(c.Lifecycle, at.Child("lifecycle")),
		s.checkOneShotProbe(c.LivenessProbe, at.Child("livenessProbe")),
		s.checkReadinessProbe(c.ReadinessProbe, at.Child("readinessProbe")),
		s.checkOneShotProbe(c.StartupProbe, at.Child("startupProbe")),
	)
}

// checkOneShotProbe is for liveness and startup: a single success decides.
func (s *scope) checkOneShotProbe(p *v1.Probe, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := s.checkProbe(p, at)
	if p.SuccessThreshold != 1 {
		errs = append(errs, field.Invalid(at.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	return errs
}

func (s *scope) checkReadinessProbe(p *v1.Probe, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := s.checkProbe(p, at)
	if p.TerminationGracePeriodSeconds != nil {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), p.TerminationGracePeriodSeconds, "must not be set for readinessProbes"))
	}
	return errs
}

func (s *scope) checkProbe(p *v1.Probe, at *field.Path) field.ErrorList {
	errs := meta.Join(
		s.checkHandler(handler{p.Exec, p.HTTPGet, p.TCPSocket, p.GRPC, nil}, at),
		meta.NonNegative(at.Child("initialDelaySeconds"), p.InitialDelaySeconds),
		meta.NonNegative(at.Child("timeoutSeconds"), p.TimeoutSeconds),
		meta.NonNegative(at.Child("periodSeconds"), p.PeriodSeconds),
		meta.NonNegative(at.Child("successThreshold"), p.SuccessThreshold),
		meta.NonNegative(at.Child("failureThreshold"), p.FailureThreshold),
	)
	if grace := p.TerminationGracePeriodSeconds; grace != nil && *grace <= 0 {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *grace, "must be greater than 0"))
	}
	return errs
}

// handler is what a probe or a lifecycle hook may do; exactly one of it.
type handler struct {
	exec      *v1.ExecAction
	httpGet   *v1.HTTPGetAction
	tcpSocket *v1.TCPSocketAction
	grpc      *v1.GRPCAction
	sleep     *v1.SleepAction
}

func (s *scope) checkHandler(h handler, at *field.Path) field.ErrorList {
	one := exactlyOne{path: at, refusal: "may not specify more than 1 handler type"}
	pick(&one, "exec", h.exec, checkExec)
	pick(&one, "httpGet", h.httpGet, checkHTTPGet)
	pick(&one, "tcpSocket", h.tcpSocket, checkTCPSocket)
	pick(&one, "grpc", h.grpc, checkGRPC)
	pick(&one, "sleep", h.sleep, s.checkSleep)
	if !one.found {
		one.errs = append(one.errs, field.Required(at, "must specify a handler type"))
	}
	return one.errs
}

func checkExec(a *v1.ExecAction, at *field.Path) field.ErrorList {
	if len(a.Command) == 0 {
		return field.ErrorList{field.Required(at.Child("command"), "")}
	}
	return nil
}

func checkHTTPGet(a *v1.HTTPGetAction, at *field.Path) field.ErrorList {
	errs := meta.Join(
		meta.Required(at.Child("path"), a.Path),
		meta.PortOrName(at.Child("port"), a.Port),
		meta.Supported(at.Child("scheme"), a.Scheme, v1.URISchemeHTTP, v1.URISchemeHTTPS),
	)
	for _, header := range a.HTTPHeaders {
		errs = append(errs, meta.Invalid(at.Child("httpHeaders"), header.Name, validation.IsHTTPHeaderName(header.Name))...)
	}
	return errs
}

func checkTCPSocket(a *v1.TCPSocketAction, at *field.Path) field.ErrorList {
	return meta.PortOrName(at.Child("port"), a.Port)
}

func checkGRPC(a *v1.GRPCAction, at *field.Path) field.ErrorList {
	return meta.PortOrName(at.Child("port"), intstr.FromInt32(a.Port))
}

func (s *scope) checkSleep(a *v1.SleepAction, at *field.Path) field.ErrorList {
	grace := s.spec.TerminationGracePeriodSeconds
	if grace == nil || a.Seconds >= 0 && a.Seconds <= *grace { // a missing grace is reported by itself
		return nil
	}
	return field.ErrorList{field.Invalid(at, a.Seconds, fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace))}
}

// exactlyOne checks a union: the first member that is set is checked, further ones are refused.
type exactlyOne struct {
	path    *field.Path
	refusal string
	found   bool
	errs    field.ErrorList
}

func pick[T any](u *exactlyOne, name string, member *T, check func(*T, *field.Path) field.ErrorList) {
	switch {
	case member == nil:
	case u.found:
		u.errs = append(u.errs, field.Forbidden(u.path.Child(name), u.refusal))
	default:
		u.found = true
		u.errs = append(u.errs, check(member, u.path.Child(name))...)
	}
}
