package registration

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

const (
	defaultPort          = 443
	mostGroupPriority    = 20000
	mostVersionPriority  = 1000
	localConditionReason = "Local"
)

func apiServices() resource.Resource {
	return resource.Resource{
		GroupVersion: registrationv1.SchemeGroupVersion,
		Name:         "apiservices",
		Singular:     "apiservice",
		Kind:         "APIService",
		Categories:   []string{"api-extensions"},
		New:          func() runtime.Object { return &registrationv1.APIService{} },
		NewList:      func() runtime.Object { return &registrationv1.APIServiceList{} },
		Default:      meta.Default(defaultAPIService),
		Prepare:      meta.Prepare(prepareAPIService),
		Check:        meta.Check(checkAPIService),
		CheckName:    func(string, bool) []string { return nil }, // its rule needs the spec: see checkAPIService
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(func(s, _ *registrationv1.APIService) field.ErrorList { return checkAPIService(s) }),
			Reset:       [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{"status": {
			PrepareUpdate: meta.PrepareUpdate(func(s, old *registrationv1.APIService) { s.Spec = old.Spec }),
			CheckUpdate:   meta.CheckUpdate(func(s, _ *registrationv1.APIService) field.ErrorList { return checkStatus(&s.Status) }),
			Reset:         [][]string{{"spec"}, {"metadata"}},
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Service", "The reference to the service that hosts this API endpoint."),
			meta.String("Available", "Whether this service is available."),
			meta.Created(),
		),
		Row: meta.Row(row),
	}
}

func defaultAPIService(s *registrationv1.APIService) {
	if s.Spec.Service != nil {
		meta.SetDefault(&s.Spec.Service.Port, int32(defaultPort))
	}
}

// prepareAPIService: what this server answers itself needs no check.
func prepareAPIService(s *registrationv1.APIService) {
	if s.Spec.Service == nil {
		s.Status.Conditions = []registrationv1.APIServiceCondition{{
			Type: registrationv1.Available, Status: registrationv1.ConditionTrue, LastTransitionTime: s.CreationTimestamp,
			Reason: localConditionReason, Message: "Local APIServices are always available",
		}}
	}
}

func checkAPIService(s *registrationv1.APIService) (errs field.ErrorList) {
	spec := field.NewPath("spec")
	if want := s.Spec.Version + "." + s.Spec.Group; s.Name != want {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), s.Name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want)))
	}
	if s.Spec.Group == "" && s.Spec.Version != "v1" {
		errs = append(errs, field.Required(spec.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
	}
	if s.Spec.Group != "" {
		for _, msg := range validation.IsDNS1123Subdomain(s.Spec.Group) {
			errs = append(errs, field.Invalid(spec.Child("group"), s.Spec.Group, msg))
		}
	}
	for _, msg := range validation.IsDNS1035Label(s.Spec.Version) {
		errs = append(errs, field.Invalid(spec.Child("version"), s.Spec.Version, msg))
	}
	if p := s.Spec.GroupPriorityMinimum; p <= 0 || p > mostGroupPriority {
		errs = append(errs, field.Invalid(spec.Child("groupPriorityMinimum"), p, "must be positive and less than 20000"))
	}
	if p := s.Spec.VersionPriority; p <= 0 || p > mostVersionPriority {
		errs = append(errs, field.Invalid(spec.Child("versionPriority"), p, "must be positive and less than 1000"))
	}
	if s.Spec.Service == nil {
		return append(errs, checkLocal(&s.Spec, spec)...)
	}
	return append(errs, checkRemote(&s.Spec, spec)...)
}

func checkLocal(s *registrationv1.APIServiceSpec, at *field.Path) (errs field.ErrorList) {
	if len(s.CABundle) > 0 {
		errs = append(errs, field.Invalid(at.Child("caBundle"), fmt.Sprintf("%d bytes", len(s.CABundle)), "local APIServices may not have a caBundle"))
	}
	if s.InsecureSkipTLSVerify {
		errs = append(errs, field.Invalid(at.Child("insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify"))
	}
	return errs
}

func checkRemote(s *registrationv1.APIServiceSpec, at *field.Path) (errs field.ErrorList) {
	service := at.Child("service")
	if s.Service.Namespace == "" {
		errs = append(errs, field.Required(service.Child("namespace"), ""))
	}
	if s.Service.Name == "" {
		errs = append(errs, field.Required(service.Child("name"), ""))
	}
	if s.Service.Port != nil {
		for _, msg := range validation.IsValidPortNum(int(*s.Service.Port)) {
			errs = append(errs, field.Invalid(service.Child("port"), *s.Service.Port, "port is not valid: "+msg))
		}
	}
	if s.InsecureSkipTLSVerify && len(s.CABundle) > 0 {
		errs = append(errs, field.Invalid(at.Child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present"))
	}
	return errs
}

func checkStatus(s *registrationv1.APIServiceStatus) (errs field.ErrorList) {
	for i, c := range s.Conditions {
		switch c.Status {
		case registrationv1.ConditionTrue, registrationv1.ConditionFalse, registrationv1.ConditionUnknown:
		default:
			errs = append(errs, field.NotSupported(field.NewPath("status", "conditions").Index(i).Child("status"), c.Status,
				[]registrationv1.ConditionStatus{registrationv1.ConditionTrue, registrationv1.ConditionFalse, registrationv1.ConditionUnknown}))
		}
	}
	return errs
}

func row(s *registrationv1.APIService, now metav1.Time) []any {
	service, available := "Local", string(registrationv1.ConditionUnknown)
	if s.Spec.Service != nil {
		service = s.Spec.Service.Namespace + "/" + s.Spec.Service.Name
	}
	for _, c := range s.Status.Conditions {
		if c.Type != registrationv1.Available {
			continue
		}
		available = string(c.Status)
		if c.Status != registrationv1.ConditionTrue && c.Reason != "" {
			available += " (" + c.Reason + ")"
		}
	}
	return []any{s.Name, service, available, meta.Age(s.CreationTimestamp, now)}
}
