package images

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Auth are the credentials for one pull.
type Auth struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// IdentityToken is traded for an access token at the registry's token server.
	IdentityToken string `json:"identityToken,omitempty"`
	// RegistryToken is sent to the registry as it is.
	RegistryToken string `json:"registryToken,omitempty"`
}

// authFromCRI takes the first form of credentials that is set; nil = none.
func authFromCRI(a *runtimeapi.AuthConfig) (*Auth, error) {
	switch {
	case a == nil:
		return nil, nil
	case a.Username != "":
		return &Auth{Username: a.Username, Password: a.Password}, nil
	case a.IdentityToken != "":
		return &Auth{IdentityToken: a.IdentityToken}, nil
	case a.RegistryToken != "":
		return &Auth{RegistryToken: a.RegistryToken}, nil
	case a.Auth != "":
		raw, err := base64.StdEncoding.DecodeString(a.Auth)
		if err != nil {
			return nil, fmt.Errorf("credentials: auth is not base64: %w", err)
		}
		user, password, ok := strings.Cut(string(raw), ":")
		if !ok {
			return nil, fmt.Errorf("credentials: auth is not user:password")
		}
		// Some writers of this field end it with a zero byte.
		return &Auth{Username: user, Password: strings.TrimRight(password, "\x00")}, nil
	}
	return nil, nil
}

// forHost answers the resolver; an empty user name with a secret means an
// identity token.
func (a Auth) forHost(string) (user, secret string, err error) {
	if a.IdentityToken != "" {
		return "", a.IdentityToken, nil
	}
	return a.Username, a.Password, nil
}

// fingerprint tells credentials apart without keeping them.
func (a *Auth) fingerprint() string {
	if a == nil {
		return ""
	}
	data, err := json.Marshal(a)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
