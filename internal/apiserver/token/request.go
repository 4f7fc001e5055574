package token

import (
	"context"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Requests is serviceaccounts/token: it makes tokens.
type Requests struct {
	Issuer *Issuer
	Lookup Lookup
}

var (
	_ rest.NamedCreater                   = Requests{}
	_ rest.GroupVersionKindProvider       = Requests{}
	_ rest.SubresourceObjectMetaPreserver = Requests{}
)

const (
	defaultLifetime = 3600
	minLifetime     = 10 * 60
	maxLifetime     = 1 << 32

	// A pod's projected token asks for this odd lifetime. Clients written before
	// tokens expired read the file once, so the token outlives it by far.
	projectedLifetime = 3600 + 7
	extendedLifetime  = 365 * 24 * 3600
)

var requestKind = authenticationv1.SchemeGroupVersion.WithKind("TokenRequest")

func (Requests) New() runtime.Object                                            { return &authenticationv1.TokenRequest{} }
func (Requests) Destroy()                                                       {}
func (Requests) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind   { return requestKind }
func (Requests) PreserveRequestObjectMetaSystemFieldsOnSubresourceCreate() bool { return true }

func (r Requests) Create(ctx context.Context, name string, obj runtime.Object, check rest.ValidateObjectFunc, _ *metav1.CreateOptions) (runtime.Object, error) {
	req := obj.(*authenticationv1.TokenRequest)
	namespace := request.NamespaceValue(ctx)
	if namespace == "" {
		return nil, apierrors.NewBadRequest("namespace is required")
	}
	account, err := r.Lookup.ServiceAccount(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	if errs := complete(req, account, r.Issuer.Audiences); len(errs) > 0 {
		return nil, apierrors.NewInvalid(requestKind.GroupKind(), name, errs)
	}
	if req.UID != account.UID {
		return nil, conflict(name, fmt.Errorf("the UID in the token request (%s) does not match the UID of the service account (%s)", req.UID, account.UID))
	}
	now := time.Now()
	req.CreationTimestamp, req.Status = metav1.NewTime(now), authenticationv1.TokenRequestStatus{}
	if check != nil {
		if err := check(ctx, req.DeepCopy()); err != nil {
			return nil, err
		}
	}
	c := &claims{Kubernetes: &bound{Namespace: namespace, Account: ref{account.Name, account.UID}}}
	if err := r.bind(ctx, c.Kubernetes, req.Spec.BoundObjectRef, account); err != nil {
		return nil, err
	}
	lifetime := *req.Spec.ExpirationSeconds
	if c.Kubernetes.Pod != nil && lifetime == projectedLifetime && r.own(req.Spec.Audiences) {
		c.Kubernetes.WarnAfter = jwt.NewNumericDate(now.Add(seconds(lifetime)))
		lifetime = extendedLifetime
	}
	c.RegisteredClaims = jwt.RegisteredClaims{
		Issuer: r.Issuer.URL, Subject: subject(account), Audience: req.Spec.Audiences, ID: string(uuid.NewUUID()),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(seconds(lifetime))),
	}
	out := req.DeepCopy()
	out.Status.ExpirationTimestamp = metav1.NewTime(now.Add(seconds(*req.Spec.ExpirationSeconds)))
	if out.Status.Token, err = r.Issuer.sign(c); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return out, nil
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// complete fills in what the request leaves open and says what is wrong with it.
func complete(req *authenticationv1.TokenRequest, account *corev1.ServiceAccount, audiences []string) (errs field.ErrorList) {
	meta, spec := field.NewPath("metadata"), field.NewPath("spec")
	if req.Name != "" && req.Name != account.Name {
		errs = append(errs, field.Invalid(meta.Child("name"), req.Name, "must match the service account name if specified"))
	}
	if req.Namespace != "" && req.Namespace != account.Namespace {
		errs = append(errs, field.Invalid(meta.Child("namespace"), req.Namespace, "must match the service account namespace if specified"))
	}
	req.Name, req.Namespace = account.Name, account.Namespace
	if req.UID == "" {
		req.UID = account.UID
	}
	if len(req.Spec.Audiences) == 0 {
		req.Spec.Audiences = audiences
	}
	if req.Spec.ExpirationSeconds == nil {
		n := int64(defaultLifetime)
		req.Spec.ExpirationSeconds = &n
	}
	switch n := *req.Spec.ExpirationSeconds; {
	case n < minLifetime:
		errs = append(errs, field.Invalid(spec.Child("expirationSeconds"), n, "may not specify a duration less than 10 minutes"))
	case n > maxLifetime:
		errs = append(errs, field.Invalid(spec.Child("expirationSeconds"), n, "may not specify a duration larger than 2^32 seconds"))
	}
	return errs
}

// bind looks up the object that the token is to be bound to.
func (r Requests) bind(ctx context.Context, b *bound, o *authenticationv1.BoundObjectReference, account *corev1.ServiceAccount) error {
	if o == nil {
		return nil
	}
	gvk := schema.FromAPIVersionAndKind(o.APIVersion, o.Kind)
	var uid types.UID
	switch {
	case gvk.Group == "" && gvk.Kind == "Pod":
		pod, err := r.Lookup.Pod(ctx, account.Namespace, o.Name)
		if err != nil {
			return err
		}
		if pod.Spec.ServiceAccountName != account.Name {
			return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", account.Name))
		}
		uid, b.Pod = pod.UID, &ref{pod.Name, pod.UID}
		if pod.Spec.NodeName != "" {
			b.Node = &ref{Name: pod.Spec.NodeName}
			if node, err := r.Lookup.Node(ctx, pod.Spec.NodeName); err == nil {
				b.Node.UID = node.UID
			} else if !apierrors.IsNotFound(err) {
				return apierrors.NewInternalError(err)
			}
		}
	case gvk.Group == "" && gvk.Kind == "Node":
		node, err := r.Lookup.Node(ctx, o.Name)
		if err != nil {
			return err
		}
		uid, b.Node = node.UID, &ref{node.Name, node.UID}
	case gvk.Group == "" && gvk.Kind == "Secret":
		secret, err := r.Lookup.Secret(ctx, account.Namespace, o.Name)
		if err != nil {
			return err
		}
		uid, b.Secret = secret.UID, &ref{secret.Name, secret.UID}
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", gvk.String()))
	}
	if o.UID != "" && o.UID != uid {
		return apierrors.NewConflict(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, o.Name,
			fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", o.UID))
	}
	return nil
}

// own tells whether the token is for this API server alone.
func (r Requests) own(audiences []string) bool {
	for _, a := range audiences {
		found := false
		for _, o := range r.Issuer.Audiences {
			found = found || a == o
		}
		if !found {
			return false
		}
	}
	return true
}

func conflict(name string, err error) error {
	return apierrors.NewConflict(schema.GroupResource{Group: requestKind.Group, Resource: requestKind.Kind}, name, err)
}
