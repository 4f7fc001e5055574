package review

import (
	"context"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// question is a kind that can only be created; the answer comes back in its status.
type question[T runtime.Object] struct {
	singular   string
	namespaced bool
	empty      func() T
	answer     func(ctx context.Context, q T) error
}

var (
	_ rest.Creater              = question[runtime.Object]{}
	_ rest.Scoper               = question[runtime.Object]{}
	_ rest.SingularNameProvider = question[runtime.Object]{}
)

func (q question[T]) New() runtime.Object     { return q.empty() }
func (question[T]) Destroy()                  {}
func (q question[T]) NamespaceScoped() bool   { return q.namespaced }
func (q question[T]) GetSingularName() string { return q.singular }

func (q question[T]) Create(ctx context.Context, obj runtime.Object, check rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	if check != nil {
		if err := check(ctx, obj.DeepCopyObject()); err != nil {
			return nil, err
		}
	}
	if err := q.answer(ctx, obj.(T)); err != nil {
		return nil, err
	}
	return obj, nil
}

// TokenReviews tells whose token it is handed.
func TokenReviews(a authenticator.Request, audiences []string) rest.Storage {
	return question[*authenticationv1.TokenReview]{"tokenreview", false,
		func() *authenticationv1.TokenReview { return &authenticationv1.TokenReview{} },
		func(ctx context.Context, q *authenticationv1.TokenReview) error {
			if q.Spec.Token == "" {
				return apierrors.NewBadRequest("token is required for TokenReview in authentication")
			}
			asked := q.Spec.Audiences
			if len(asked) == 0 {
				asked = audiences
			}
			r := (&http.Request{Header: http.Header{"Authorization": {"Bearer " + q.Spec.Token}}}).
				WithContext(authenticator.WithAudiences(context.WithoutCancel(ctx), asked))
			resp, ok, err := a.AuthenticateRequest(r)
			q.Status.Authenticated = ok
			if err != nil {
				q.Status.Error = err.Error()
			}
			if ok {
				q.Status.User, q.Status.Audiences = userInfo(resp.User), resp.Audiences
			}
			return nil
		}}
}

// SelfSubjectReviews tells the caller who it is.
func SelfSubjectReviews() rest.Storage {
	return question[*authenticationv1.SelfSubjectReview]{"selfsubjectreview", false,
		func() *authenticationv1.SelfSubjectReview { return &authenticationv1.SelfSubjectReview{} },
		func(ctx context.Context, q *authenticationv1.SelfSubjectReview) error {
			u, ok := request.UserFrom(ctx)
			if !ok {
				return apierrors.NewBadRequest("no user present on request")
			}
			q.CreationTimestamp = metav1.Now()
			q.Status.UserInfo = userInfo(u)
			return nil
		}}
}

func userInfo(u user.Info) authenticationv1.UserInfo {
	info := authenticationv1.UserInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups()}
	for k, v := range u.GetExtra() {
		if info.Extra == nil {
			info.Extra = map[string]authenticationv1.ExtraValue{}
		}
		info.Extra[k] = v
	}
	return info
}

// AccessReviews tells whether any user may do something.
func AccessReviews(a authorizer.UnconditionalAuthorizer) rest.Storage {
	return question[*authorizationv1.SubjectAccessReview]{"subjectaccessreview", false,
		func() *authorizationv1.SubjectAccessReview { return &authorizationv1.SubjectAccessReview{} },
		func(ctx context.Context, q *authorizationv1.SubjectAccessReview) error {
			if errs := checkSubject(&q.Spec); len(errs) > 0 {
				return invalid("SubjectAccessReview", errs)
			}
			q.Status = decide(ctx, a, subject(&q.Spec), q.Spec.ResourceAttributes, q.Spec.NonResourceAttributes)
			return nil
		}}
}

// LocalAccessReviews is AccessReviews within one namespace.
func LocalAccessReviews(a authorizer.UnconditionalAuthorizer) rest.Storage {
	return question[*authorizationv1.LocalSubjectAccessReview]{"localsubjectaccessreview", true,
		func() *authorizationv1.LocalSubjectAccessReview { return &authorizationv1.LocalSubjectAccessReview{} },
		func(ctx context.Context, q *authorizationv1.LocalSubjectAccessReview) error {
			errs := checkSubject(&q.Spec)
			if r := q.Spec.ResourceAttributes; r != nil && r.Namespace != q.Namespace {
				errs = append(errs, field.Invalid(field.NewPath("spec.resourceAttributes.namespace"), r.Namespace, "must match metadata.namespace"))
			}
			if q.Spec.NonResourceAttributes != nil {
				errs = append(errs, field.Invalid(field.NewPath("spec.nonResourceAttributes"), q.Spec.NonResourceAttributes, "disallowed on this kind of request"))
			}
			if len(errs) > 0 {
				return invalid("LocalSubjectAccessReview", errs)
			}
			q.Status = decide(ctx, a, subject(&q.Spec), q.Spec.ResourceAttributes, nil)
			return nil
		}}
}

// SelfAccessReviews tells the caller whether it may do something.
func SelfAccessReviews(a authorizer.UnconditionalAuthorizer) rest.Storage {
	return question[*authorizationv1.SelfSubjectAccessReview]{"selfsubjectaccessreview", false,
		func() *authorizationv1.SelfSubjectAccessReview { return &authorizationv1.SelfSubjectAccessReview{} },
		func(ctx context.Context, q *authorizationv1.SelfSubjectAccessReview) error {
			if errs := checkAttributes(q.Spec.ResourceAttributes, q.Spec.NonResourceAttributes); len(errs) > 0 {
				return invalid("SelfSubjectAccessReview", errs)
			}
			u, ok := request.UserFrom(ctx)
			if !ok {
				return apierrors.NewBadRequest("no user present on request")
			}
			q.Status = decide(ctx, a, u, q.Spec.ResourceAttributes, q.Spec.NonResourceAttributes)
			return nil
		}}
}

// SelfRules lists what the caller may do in a namespace.
func SelfRules(r authorizer.RuleResolver) rest.Storage {
	return question[*authorizationv1.SelfSubjectRulesReview]{"selfsubjectrulesreview", false,
		func() *authorizationv1.SelfSubjectRulesReview { return &authorizationv1.SelfSubjectRulesReview{} },
		func(ctx context.Context, q *authorizationv1.SelfSubjectRulesReview) error {
			u, ok := request.UserFrom(ctx)
			if !ok {
				return apierrors.NewBadRequest("no user present on request")
			}
			if q.Spec.Namespace == "" {
				return apierrors.NewBadRequest("no namespace on request")
			}
			resources, urls, incomplete, err := r.RulesFor(ctx, u, q.Spec.Namespace)
			q.Status = authorizationv1.SubjectRulesReviewStatus{
				ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{}, Incomplete: incomplete,
			}
			for _, r := range resources {
				q.Status.ResourceRules = append(q.Status.ResourceRules, authorizationv1.ResourceRule{
					Verbs: r.GetVerbs(), APIGroups: r.GetAPIGroups(), Resources: r.GetResources(), ResourceNames: r.GetResourceNames()})
			}
			for _, r := range urls {
				q.Status.NonResourceRules = append(q.Status.NonResourceRules, authorizationv1.NonResourceRule{
					Verbs: r.GetVerbs(), NonResourceURLs: r.GetNonResourceURLs()})
			}
			if err != nil {
				q.Status.EvaluationError = err.Error()
			}
			return nil
		}}
}

func decide(ctx context.Context, a authorizer.UnconditionalAuthorizer, u user.Info,
	r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) authorizationv1.SubjectAccessReviewStatus {
	decision, reason, err := a.Authorize(ctx, attributes(u, r, n))
	status := authorizationv1.SubjectAccessReviewStatus{
		Allowed: decision == authorizer.DecisionAllow, Denied: decision == authorizer.DecisionDeny, Reason: reason,
	}
	if err != nil {
		status.EvaluationError = err.Error()
	}
	return status
}

func attributes(u user.Info, r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) authorizer.Attributes {
	if n != nil {
		return authorizer.AttributesRecord{User: u, Verb: n.Verb, Path: n.Path}
	}
	a := authorizer.AttributesRecord{
		User: u, Verb: r.Verb, Namespace: r.Namespace, APIGroup: r.Group, APIVersion: r.Version,
		Resource: r.Resource, Subresource: r.Subresource, Name: r.Name, ResourceRequest: true,
	}
	if a.APIVersion == "" {
		a.APIVersion = "*"
	}
	return a
}

func subject(s *authorizationv1.SubjectAccessReviewSpec) user.Info {
	u := &user.DefaultInfo{Name: s.User, UID: s.UID, Groups: s.Groups}
	for k, v := range s.Extra {
		if u.Extra == nil {
			u.Extra = map[string][]string{}
		}
		u.Extra[k] = v
	}
	return u
}

func checkSubject(s *authorizationv1.SubjectAccessReviewSpec) field.ErrorList {
	errs := checkAttributes(s.ResourceAttributes, s.NonResourceAttributes)
	if s.User == "" && len(s.Groups) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("spec", "user"), s.User, "at least one of user or group must be specified"))
	}
	return errs
}

func checkAttributes(r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) field.ErrorList {
	if (r == nil) == (n == nil) {
		return field.ErrorList{field.Invalid(field.NewPath("spec"), n, "exactly one of nonResourceAttributes or resourceAttributes must be specified")}
	}
	return nil
}

func invalid(kind string, errs field.ErrorList) error {
	return apierrors.NewInvalid(schema.GroupKind{Group: "authorization.k8s.io", Kind: kind}, "", errs)
}
