package token

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"
)

// Issuer holds the cluster's keys.
type Issuer struct {
	URL       string   // the "iss" claim
	Audiences []string // the API server's own
	keys      []key    // the first signs
}

// NewIssuer takes the keys, the signing one first.
func NewIssuer(url string, audiences []string, signers []crypto.Signer) (*Issuer, error) {
	i := &Issuer{URL: url, Audiences: audiences}
	for _, s := range signers {
		k, err := newKey(s)
		if err != nil {
			return nil, err
		}
		i.keys = append(i.keys, k)
	}
	if len(i.keys) == 0 {
		return nil, errors.New("no service-account key")
	}
	return i, nil
}

func (i *Issuer) sign(c *claims) (string, error) {
	k := i.keys[0]
	t := jwt.NewWithClaims(k.method, c)
	t.Header["kid"] = k.id
	signed, err := t.SignedString(k.signer)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return signed, nil
}

// Legacy is the token for a Secret of type kubernetes.io/service-account-token.
func (i *Issuer) Legacy(account *corev1.ServiceAccount, secret *corev1.Secret) (string, error) {
	return i.sign(legacyClaims(account, secret))
}

// key finds the key that t says it was signed with.
func (i *Issuer) key(t *jwt.Token) (any, error) {
	id, _ := t.Header["kid"].(string)
	for _, k := range i.keys {
		if id == k.id && t.Method.Alg() == k.method.Alg() {
			return k.public, nil
		}
	}
	return nil, errUnknownKey
}

// OpenID paths tell relying parties how to verify tokens.
const (
	ConfigurationPath = "/.well-known/openid-configuration"
	KeysPath          = "/openid/v1/jwks"
)

// Configuration serves the OpenID discovery document; external is the server's address.
func (i *Issuer) Configuration(external string) (http.Handler, error) {
	algorithms := []string{}
	for _, k := range i.keys {
		algorithms = append(algorithms, k.method.Alg())
	}
	return document("application/json", map[string]any{
		"issuer":                                i.URL,
		"jwks_uri":                              "https://" + external + KeysPath,
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algorithms,
	})
}

// Keys serves the public keys.
func (i *Issuer) Keys() (http.Handler, error) {
	set := []map[string]string{}
	for _, k := range i.keys {
		j, err := k.jwk()
		if err != nil {
			return nil, err
		}
		set = append(set, j)
	}
	return document("application/jwk-set+json", map[string]any{"keys": set})
}

func document(contentType string, v any) (http.Handler, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		_, _ = w.Write(body)
	}), nil
}
