package authn

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/anonymous"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
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

	// ProxyCA, PEM, is of the certificates of those who may ask on behalf of
	// others, and ProxyNames are theirs. Empty: nobody.
	ProxyCA    []byte
	ProxyNames []string
}

// Headers in which a proxy says on whose behalf it asks.
var (
	UserHeaders         = []string{"X-Remote-User"}
	UIDHeaders          = []string{"X-Remote-Uid"}
	GroupHeaders        = []string{"X-Remote-Group"}
	ExtraHeaderPrefixes = []string{"X-Remote-Extra-"}
)

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
	proxies, err := proxies(c)
	if err != nil {
		return nil, err
	}
	tokens := cache.New(c.Tokens, false, tokenCacheTime, 0)
	known := group.NewAuthenticatedGroupAdder(union.New(
		proxies,
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
	options, err := verification(pem)
	if err != nil {
		return nil, fmt.Errorf("client CA: %w", err)
	}
	return x509request.New(options, x509request.CommonNameUserConversion), nil
}

// proxies takes the headers of requests that come with a proxy's certificate.
func proxies(c Config) (authenticator.Request, error) {
	options, err := verification(c.ProxyCA)
	if err != nil {
		return nil, fmt.Errorf("proxies' CA: %w", err)
	}
	return headerrequest.NewDynamicVerifyOptionsSecure(
		func() (x509.VerifyOptions, bool) { return options, len(c.ProxyCA) > 0 },
		headerrequest.StaticStringSlice(c.ProxyNames), headerrequest.StaticStringSlice(UserHeaders), headerrequest.StaticStringSlice(UIDHeaders),
		headerrequest.StaticStringSlice(GroupHeaders), headerrequest.StaticStringSlice(ExtraHeaderPrefixes)), nil
}

func verification(ca []byte) (x509.VerifyOptions, error) {
	options := x509request.DefaultVerifyOptions()
	options.Roots = x509.NewCertPool()
	if len(ca) > 0 && !options.Roots.AppendCertsFromPEM(ca) {
		return options, errors.New("no certificate in it")
	}
	return options, nil
}
