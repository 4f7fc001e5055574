package token

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
)

// Lookup reads the objects that tokens are bound to.
type Lookup interface {
	ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
	Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	Node(ctx context.Context, name string) (*corev1.Node, error)
}

// Authenticator verifies tokens.
type Authenticator struct {
	issuer *Issuer
	lookup Lookup
	now    func() time.Time
	parser *jwt.Parser
}

var _ authenticator.Token = (*Authenticator)(nil)

// A bound object counts as deleted this long after its deletionTimestamp, so
// that its holder can still clean up. It is also the tolerance for clocks.
const leeway = time.Minute

func NewAuthenticator(i *Issuer, l Lookup) *Authenticator {
	return &Authenticator{issuer: i, lookup: l, now: time.Now, parser: jwt.NewParser(jwt.WithLeeway(leeway))}
}

// AuthenticateToken has no opinion on what is not a token of this cluster.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	var peek claims
	if _, _, err := a.parser.ParseUnverified(token, &peek); err != nil || peek.Issuer != a.issuer.URL && peek.Issuer != legacyIssuer {
		return nil, false, nil
	}
	var c claims
	if _, err := a.parser.ParseWithClaims(token, &c, a.issuer.key); err != nil {
		return nil, false, readable(err)
	}
	audiences, err := a.audiences(ctx, authenticator.Audiences(c.Audience))
	if err != nil {
		return nil, false, err
	}
	info, err := a.check(ctx, token, &c)
	if err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: info.UserInfo(), Audiences: audiences}, true, nil
}

func readable(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return errors.New("service account token has expired")
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return errors.New("service account token is not valid yet")
	}
	return err
}

// audiences is who both the token and the request are for.
func (a *Authenticator) audiences(ctx context.Context, of authenticator.Audiences) (authenticator.Audiences, error) {
	own := authenticator.Audiences(a.issuer.Audiences)
	if len(of) == 0 {
		of = own // legacy tokens name none
	}
	asked, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		asked = own
	}
	common := of.Intersect(asked)
	if len(common) == 0 {
		return nil, fmt.Errorf("token audiences %q is invalid for the target audiences %q", of, asked)
	}
	return common, nil
}

func (a *Authenticator) check(ctx context.Context, token string, c *claims) (*serviceaccount.ServiceAccountInfo, error) {
	if c.Issuer == legacyIssuer {
		return a.checkLegacy(ctx, token, c)
	}
	k := c.Kubernetes
	if k == nil {
		return nil, errors.New("token has no kubernetes.io claim")
	}
	account, err := a.account(ctx, k.Namespace, k.Account.Name, k.Account.UID)
	if err != nil {
		return nil, err
	}
	info := &serviceaccount.ServiceAccountInfo{Namespace: k.Namespace, Name: account.Name, UID: string(account.UID)}
	if c.ID != "" {
		info.CredentialID = "JTI=" + c.ID
	}
	if k.Secret != nil {
		s, err := a.lookup.Secret(ctx, k.Namespace, k.Secret.Name)
		if err := a.alive(s, k.Secret, err); err != nil {
			return nil, err
		}
	}
	if k.Pod != nil {
		p, err := a.lookup.Pod(ctx, k.Namespace, k.Pod.Name)
		if err := a.alive(p, k.Pod, err); err != nil {
			return nil, err
		}
		info.PodName, info.PodUID = k.Pod.Name, string(k.Pod.UID)
	}
	if k.Node != nil {
		if k.Pod == nil { // a pod's node is only told, not checked
			n, err := a.lookup.Node(ctx, k.Node.Name)
			if err := a.alive(n, k.Node, err); err != nil {
				return nil, err
			}
		}
		info.NodeName, info.NodeUID = k.Node.Name, string(k.Node.UID)
	}
	return info, nil
}

var errInvalidated = errors.New("service account token has been invalidated")

// alive: the object that a token is bound to must be the same one still.
func (a *Authenticator) alive(obj metav1.Object, r *ref, err error) error {
	switch {
	case err != nil:
		return errInvalidated
	case obj.GetUID() != r.UID:
		return fmt.Errorf("UID of %q (%s) does not match service account token claim (%s)", r.Name, obj.GetUID(), r.UID)
	case a.gone(obj):
		return errInvalidated
	}
	return nil
}

func (a *Authenticator) gone(obj metav1.Object) bool {
	t := obj.GetDeletionTimestamp()
	return t != nil && t.Time.Before(a.now().Add(-leeway))
}

func (a *Authenticator) account(ctx context.Context, namespace, name string, uid types.UID) (*corev1.ServiceAccount, error) {
	account, err := a.lookup.ServiceAccount(ctx, namespace, name)
	switch {
	case err != nil:
		return nil, err
	case account.UID != uid:
		return nil, fmt.Errorf("service account UID (%s) does not match claim (%s)", account.UID, uid)
	case a.gone(account):
		return nil, fmt.Errorf("service account %s/%s has been deleted", namespace, name)
	}
	return account, nil
}

// checkLegacy: such a token is good as long as its Secret holds it.
func (a *Authenticator) checkLegacy(ctx context.Context, token string, c *claims) (*serviceaccount.ServiceAccountInfo, error) {
	secret, err := a.lookup.Secret(ctx, c.LegacyNamespace, c.LegacySecret)
	if err != nil || secret.DeletionTimestamp != nil {
		return nil, errors.New("Token has been invalidated") //nolint:staticcheck // the API's wording
	}
	if subtle.ConstantTimeCompare(secret.Data[corev1.ServiceAccountTokenKey], []byte(token)) == 0 {
		return nil, errors.New("Token does not match server's copy") //nolint:staticcheck // the API's wording
	}
	account, err := a.account(ctx, c.LegacyNamespace, c.LegacyAccount, c.LegacyAccountUID)
	if err != nil {
		return nil, err
	}
	if c.Subject != subject(account) {
		return nil, errors.New("sub claim is invalid")
	}
	return &serviceaccount.ServiceAccountInfo{Namespace: account.Namespace, Name: account.Name, UID: string(account.UID)}, nil
}
