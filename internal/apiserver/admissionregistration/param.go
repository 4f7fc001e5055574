package admissionregistration

import (
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func dns1035(text string) string { return strings.Join(validation.IsDNS1035Label(text), ",") }

func checkGroupVersion(path *field.Path, text, group, version string) field.ErrorList {
	var errs field.ErrorList
	if group != "" {
		if messages := validation.IsDNS1123Subdomain(group); len(messages) > 0 {
			errs = append(errs, field.Invalid(path, group, strings.Join(messages, ",")))
		}
	}
	if version == "" {
		return append(errs, field.Invalid(path, text, "version must be specified"))
	}
	if messages := dns1035(version); messages != "" {
		errs = append(errs, field.Invalid(path, version, messages))
	}
	return errs
}

// checkParam checks where a binding takes its policy's parameters from.
func checkParam(path *field.Path, p *admissionv1.ParamRef) field.ErrorList {
	if p == nil {
		return nil
	}
	var errs field.ErrorList
	const exclusive = "name and selector are mutually exclusive"
	if p.Name != "" {
		errs = append(errs, meta.PathSegment(path.Child("name"), p.Name, "")...)
		if p.Selector != nil {
			errs = append(errs, field.Forbidden(path.Child("name"), exclusive))
		}
	}
	if p.Selector != nil {
		errs = append(errs, meta.Selector(path.Child("selector"), p.Selector)...)
		if p.Name != "" {
			errs = append(errs, field.Forbidden(path.Child("selector"), exclusive))
		}
	}
	if p.Name == "" && p.Selector == nil {
		errs = append(errs, field.Required(path, "one of name or selector must be specified"))
	}
	switch action := meta.Deref(p.ParameterNotFoundAction, ""); action {
	case "":
		errs = append(errs, field.Required(path.Child("parameterNotFoundAction"), ""))
	case admissionv1.DenyAction, admissionv1.AllowAction:
	default:
		errs = append(errs, field.NotSupported(path.Child("parameterNotFoundAction"), action, []admissionv1.ParameterNotFoundActionType{admissionv1.DenyAction, admissionv1.AllowAction}))
	}
	return errs
}

func checkPolicyName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return meta.DNSSubdomain(path, name)
}

// paramCell shows parameters by name, in all namespaces where none is said, or by selector.
func paramCell(p *admissionv1.ParamRef) string {
	switch {
	case p == nil:
		return meta.Unset
	case p.Name != "" && p.Namespace != "":
		return p.Namespace + "/" + p.Name
	case p.Name != "":
		return "*/" + p.Name
	case p.Selector != nil:
		return p.Selector.String()
	}
	return meta.Unset
}

func paramKindCell(kind *admissionv1.ParamKind) string {
	if kind == nil {
		return meta.Unset
	}
	return kind.APIVersion + "/" + kind.Kind
}

func policyColumns(count, description string) []metav1.TableColumnDefinition {
	return meta.Table(
		meta.Name(),
		meta.Integer(count, description),
		meta.String("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy"),
		meta.Created(),
	)
}

func bindingColumns() []metav1.TableColumnDefinition {
	return meta.Table(
		meta.Name(),
		meta.String("PolicyName", "PolicyName indicates the policy definition which the policy binding binded to"),
		meta.String("ParamRef", "ParamRef indicates the param resource which sets the configuration param"),
		meta.Created(),
	)
}
