package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// User is who asks.
type User struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

// Attributes are what a request is an access to: always a node, by its subresource.
type Attributes struct {
	Verb, Node, Subresource string
}

// Authenticate tells who sends a request, or nil when it can't tell.
type Authenticate func(*http.Request) (*User, error)

// Authorize tells whether a user may, and if not, why.
type Authorize func(context.Context, User, Attributes) (allowed bool, reason string, err error)

// admit answers requests of the unknown and the forbidden.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) bool {
	user, err := s.user(r)
	if err != nil || user == nil {
		if err != nil {
			s.cfg.Log.Warn("client not authenticated", "err", err)
		}
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return false
	}
	verb, subresources := attributes(r)
	for _, subresource := range subresources {
		allowed, _, err := s.cfg.Authorize(r.Context(), *user, Attributes{Verb: verb, Node: s.cfg.NodeName, Subresource: subresource})
		if err != nil {
			http.Error(w, fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=nodes, subresource=%s)", user.Name, verb, subresource), http.StatusInternalServerError)
			return false
		}
		if allowed {
			return true
		}
	}
	http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v)", user.Name, verb, subresources), http.StatusForbidden)
	return false
}

// user goes by the verified client certificate, then by what Authenticate knows.
func (s *Server) user(r *http.Request) (*User, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		subject := r.TLS.VerifiedChains[0][0].Subject
		return &User{Name: subject.CommonName, Groups: append(subject.Organization, "system:authenticated")}, nil
	}
	if s.cfg.Authenticate == nil {
		return nil, nil
	}
	return s.cfg.Authenticate(r)
}

// attributes maps a request to subresources of the node, of which one must be allowed: a fine-grained one where there is one,
// and "proxy", which is all.
func attributes(r *http.Request) (verb string, subresources []string) {
	verb = map[string]string{"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[r.Method]
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch first {
	case "stats", "metrics":
		return verb, []string{first}
	case "logs":
		return verb, []string{"log"}
	case "pods", "runningpods":
		return verb, []string{"pods", "proxy"}
	case "healthz", "configz":
		return verb, []string{first, "proxy"}
	}
	return verb, []string{"proxy"}
}

// How long the API server's answers are good for: as upstream's node agent has it.
const (
	allowedFor = 5 * time.Minute
	deniedFor  = 30 * time.Second
	knownFor   = 2 * time.Minute
	maxAnswers = 1000
)

// TokenReviews makes an Authenticate that has the API server judge bearer tokens.
func TokenReviews(client kubernetes.Interface) Authenticate {
	known := newAnswers[*User]()
	return func(r *http.Request) (*User, error) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || token == "" {
			return nil, nil
		}
		if user, hit := known.get(token); hit {
			return user, nil
		}
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
		answer, err := client.AuthenticationV1().TokenReviews().Create(r.Context(), review, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("review token: %w", err)
		}
		var user *User
		if answer.Status.Authenticated {
			u := answer.Status.User
			user = &User{Name: u.Username, UID: u.UID, Groups: u.Groups, Extra: map[string][]string{}}
			for key, values := range u.Extra {
				user.Extra[key] = values
			}
		}
		known.put(token, user, knownFor)
		return user, nil
	}
}

// SubjectAccessReviews makes an Authorize that has the API server decide.
func SubjectAccessReviews(client kubernetes.Interface) Authorize {
	type answer struct {
		allowed bool
		reason  string
	}
	known := newAnswers[answer]()
	return func(ctx context.Context, user User, a Attributes) (bool, string, error) {
		key := fmt.Sprintf("%q", []any{user, a})
		if have, hit := known.get(key); hit {
			return have.allowed, have.reason, nil
		}
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Name, UID: user.UID, Groups: user.Groups, Extra: map[string]authorizationv1.ExtraValue{},
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: a.Verb, Version: "v1", Resource: "nodes", Subresource: a.Subresource, Name: a.Node},
		}}
		for k, values := range user.Extra {
			review.Spec.Extra[k] = values
		}
		got, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return false, "", fmt.Errorf("review access: %w", err)
		}
		have, good := answer{got.Status.Allowed, got.Status.Reason}, deniedFor
		if have.allowed {
			good = allowedFor
		}
		known.put(key, have, good)
		return have.allowed, have.reason, nil
	}
}

// answers remembers values for a while; when it is full it forgets all, which costs a few questions.
type answers[V any] struct {
	mu    sync.Mutex
	items map[string]timed[V]
}

type timed[V any] struct {
	value V
	until time.Time
}

func newAnswers[V any]() *answers[V] { return &answers[V]{items: map[string]timed[V]{}} }

func (a *answers[V]) get(key string) (V, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	item, ok := a.items[key]
	return item.value, ok && time.Now().Before(item.until)
}

func (a *answers[V]) put(key string, value V, good time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) >= maxAnswers {
		clear(a.items)
	}
	a.items[key] = timed[V]{value, time.Now().Add(good)}
}
