package authn

import (
	"crypto/x509"
	"errors"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/union"
	x509request "k8s.io/apiserver/pkg/authentication/request/x509"

	"github.com/proa-project/proa/internal/apiserver/inprocess"
)

// Config says whose word is taken.
type Config struct {
	ClientCA []byte // PEM
}

// anonymousPaths are answered to everybody.
var anonymousPaths = []string{"/healthz", "/livez", "/readyz", "/version"}

// New returns the authenticator of all requests.
func New(c Config) (authenticator.Request, error) {
	certs, err := certificates(c.ClientCA)
	if err != nil {
		return nil, err
	}
	known := group.NewAuthenticatedGroupAdder(union.New(certs))
	var conditions []apiserver.AnonymousAuthCondition
	for _, p := range anonymousPaths {
		conditions = append(conditions, apiserver.AnonymousAuthCondition{Path: p})
	}
	return union.NewFailOnError(inprocess.Authenticator(), known, anonymous.NewAuthenticator(conditions)), nil
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
