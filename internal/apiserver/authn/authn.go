package authn

import (
	"crypto/x509"
	"errors"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/cache"

	"github.com/proa-project/proa/internal/apiserver/inprocess"
)

// Config says whose word is taken.
type Config struct {
	ClientCA []byte              // PEM; of client certificates
	Tokens   authenticator.Token // of service accounts
}

// A token that was found good is not looked at again for this long. It is how
// long a deleted pod's token may still work.
const tokenCacheTime = 10 * time.Second

// anonymousPaths are answered to everybody.
var anonymousPaths = []string{"/healthz", "/livez", "/readyz", "/version"}

// New returns the authenticator of all requests.
func New(c Config) (authenticator.Request, error) {
	certs, err := certificates(c.ClientCA)
	if err != nil {
		return nil, err
	}
	tokens := cache.New(c.Tokens, false, tokenCacheTime, 0)
	known := group.NewAuthenticatedGroupAdder(union.New(
		certs,
		bearertoken.New(tokens),
		websocket.NewProtocolAuthenticator(tokens),
	))
	var conditions []apiserver.AnonymousAuthCondition
	for _, p := range anonymousPaths {
		conditions = append(conditions, apiserver.AnonymousAuthCondition{Path: p})
	}
	return union.NewFailOnError(
		inprocess.Authenticator(),
		known,
		anonymous.NewAuthenticator(conditions),
	), nil
}

// Tokens is the part that TokenReview asks.
func Tokens(t authenticator.Token) authenticator.Request {
	return group.NewAuthenticatedGroupAdder(bearertoken.New(t))
}

func certificates(pem []byte) (authenticator.Request, error) {
	pool := x509.NewCertPool()
	if len(pem) > 0 && !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("client CA: no certificate in it")
	}
	options := x509request.DefaultVerifyOptions()
	options.Roots = pool
	return x509request.New(options, x509request.CommonNameUserConversion), nil
}
