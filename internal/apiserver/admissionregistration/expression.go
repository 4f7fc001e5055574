package admissionregistration

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// expressions checks the CEL of one object. What is stored is compiled with all
// that the API ever allowed, what is new with what every server of the cluster knows.
type expressions struct {
	compiler plugincel.Compiler
	compose  *plugincel.CompositedCompiler // the same, where there are variables
	params   bool
	stored   sets.Set[string]
}

// plainCompiler is made on the first use: it takes some milliseconds, and most
// servers never see an expression.
var plainCompiler = sync.OnceValue(func() plugincel.Compiler {
	return plugincel.NewCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
})

func newExpressions(params, variables bool, stored sets.Set[string]) *expressions {
	e := &expressions{params: params, stored: stored}
	if !variables {
		e.compiler = plainCompiler()
		return e
	}
	compose, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil { // the base environment of a release always composes
		e.compiler = plainCompiler()
		return e
	}
	e.compiler, e.compose = compose, compose
	return e
}

func (e *expressions) mode(expression string) environment.Type {
	if e.stored.Has(expression) {
		return environment.StoredExpressions
	}
	return environment.NewExpressions
}

// with declares what expressions of all kinds see.
func (e *expressions) with(authorizer, patches bool) plugincel.OptionalVariableDeclarations {
	return plugincel.OptionalVariableDeclarations{HasParams: e.params, HasAuthorizer: authorizer, HasPatchTypes: patches}
}

func (e *expressions) check(path *field.Path, expression plugincel.ExpressionAccessor, see plugincel.OptionalVariableDeclarations) field.ErrorList {
	result := e.compiler.CompileCELExpression(expression, see, e.mode(expression.GetExpression()))
	return celErrors(path, expression.GetExpression(), result.Error)
}

func celErrors(path *field.Path, expression string, err *cel.Error) field.ErrorList {
	if err == nil {
		return nil
	}
	switch err.Type {
	case cel.ErrorTypeRequired:
		return field.ErrorList{field.Required(path, err.Detail)}
	case cel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(path, expression, err.Detail)}
	}
	return field.ErrorList{field.InternalError(path, err)}
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }

const mostConditions = 64

// checkConditions checks the conditions under which a hook or policy is asked at all.
// They never see variables.
func checkConditions(path *field.Path, conditions []admissionv1.MatchCondition, params bool, stored sets.Set[string]) field.ErrorList {
	var errs field.ErrorList
	if len(conditions) > mostConditions {
		errs = append(errs, field.TooMany(path, len(conditions), mostConditions))
	}
	names := sets.New[string]()
	for i, condition := range conditions {
		at := path.Index(i)
		if expression := strings.TrimSpace(condition.Expression); expression == "" {
			errs = append(errs, field.Required(at.Child("expression"), ""))
		} else {
			e := newExpressions(params, false, stored)
			errs = append(errs, e.check(at.Child("expression"), &matchconditions.MatchCondition{Expression: expression}, e.with(true, false))...)
		}
		if condition.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
			continue
		}
		errs = append(errs, meta.QualifiedName(at.Child("name"), condition.Name)...)
		if names.Has(condition.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), condition.Name))
		}
		names.Insert(condition.Name)
	}
	return errs
}

var (
	celName     = regexp.MustCompile("^[_a-zA-Z][_a-zA-Z0-9]*$")
	celReserved = sets.New("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function",
		"if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while")
)

// checkVariable compiles a variable and makes it known to what follows.
func (e *expressions) checkVariable(path *field.Path, v admissionv1.Variable) field.ErrorList {
	var errs field.ErrorList
	switch {
	case blank(v.Name):
		errs = append(errs, field.Required(path.Child("name"), "name is not specified"))
	case !celName.MatchString(v.Name) || celReserved.Has(v.Name):
		errs = append(errs, field.Invalid(path.Child("name"), v.Name, "must be a valid CEL identifier"))
	}
	if blank(v.Expression) {
		return append(errs, field.Required(path.Child("expression"), "expression is not specified"))
	}
	if e.compose == nil {
		return append(errs, field.InternalError(path, errors.New("variable composition is not allowed")))
	}
	variable := &validating.Variable{Name: v.Name, Expression: v.Expression}
	result := e.compose.CompileAndStoreVariable(variable, e.with(true, false), e.mode(v.Expression))
	return append(errs, celErrors(path.Child("expression"), v.Expression, result.Error)...)
}

func checkParamKind(path *field.Path, kind *admissionv1.ParamKind) field.ErrorList {
	if kind == nil {
		return nil
	}
	var errs field.ErrorList
	at := path.Child("apiVersion")
	group, version, grouped := strings.Cut(kind.APIVersion, "/")
	if !grouped {
		group, version = "", kind.APIVersion
	}
	switch {
	case kind.APIVersion == "":
		errs = append(errs, field.Required(at, ""))
	case strings.Contains(version, "/"):
		errs = append(errs, field.Invalid(at, kind.APIVersion, fmt.Sprintf("unexpected GroupVersion string: %v", kind.APIVersion)))
	default:
		errs = append(errs, checkGroupVersion(at, kind.APIVersion, group, version)...)
	}
	if kind.Kind == "" {
		return append(errs, field.Required(path.Child("kind"), ""))
	}
	if messages := dns1035(strings.ToLower(kind.Kind)); messages != "" {
		errs = append(errs, field.Invalid(path.Child("kind"), kind.Kind, "may have mixed case, but should otherwise match: "+messages))
	}
	return errs
}
