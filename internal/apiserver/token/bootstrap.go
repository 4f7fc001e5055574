package token

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
	"k8s.io/cluster-bootstrap/util/secrets"
	"k8s.io/cluster-bootstrap/util/tokens"
)

// Bootstrap verifies the tokens that machines join by: "ID.SECRET", kept in the
// Secret bootstrap-token-ID of kube-system in the form that kubeadm gave it.
type Bootstrap struct {
	Lookup interface {
		Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	}
}

var _ authenticator.Token = Bootstrap{}

// AuthenticateToken has no opinion on what is not of that form.
func (b Bootstrap) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	id, secret, err := tokens.ParseToken(token)
	if err != nil {
		return nil, false, nil
	}
	kept, err := b.Lookup.Secret(ctx, metav1.NamespaceSystem, bootstraputil.BootstrapTokenSecretName(id))
	if apierrors.IsNotFound(err) {
		return nil, false, errors.New("bootstrap token is not known")
	}
	if err != nil {
		return nil, false, err
	}
	if err := usable(kept, id, secret, time.Now()); err != nil {
		return nil, false, err
	}
	groups, err := secrets.GetGroups(kept)
	if err != nil {
		return nil, false, err
	}
	return &authenticator.Response{User: &user.DefaultInfo{Name: bootstrapapi.BootstrapUserPrefix + id, Groups: groups}}, true, nil
}

func usable(kept *corev1.Secret, id, secret string, now time.Time) error {
	switch {
	case kept.DeletionTimestamp != nil, kept.Type != bootstrapapi.SecretTypeBootstrapToken,
		subtle.ConstantTimeCompare([]byte(secrets.GetData(kept, bootstrapapi.BootstrapTokenSecretKey)), []byte(secret)) != 1,
		secrets.GetData(kept, bootstrapapi.BootstrapTokenIDKey) != id:
		return errors.New("bootstrap token is not known")
	case secrets.HasExpired(kept, now):
		return errors.New("bootstrap token has expired")
	case secrets.GetData(kept, bootstrapapi.BootstrapTokenUsageAuthentication) != "true":
		return fmt.Errorf("bootstrap token %s is not for authentication", id)
	}
	return nil
}
