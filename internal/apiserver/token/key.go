package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
)

// key signs or verifies. id is derived from the public half, so that relying
// parties find the right one of several.
type key struct {
	id     string
	method jwt.SigningMethod
	public crypto.PublicKey
	signer crypto.Signer
}

func newKey(s crypto.Signer) (key, error) {
	k := key{public: s.Public(), signer: s}
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		k.method = jwt.SigningMethodRS256
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			k.method = jwt.SigningMethodES256
		case elliptic.P384():
			k.method = jwt.SigningMethodES384
		case elliptic.P521():
			k.method = jwt.SigningMethodES512
		}
	}
	if k.method == nil {
		return key{}, fmt.Errorf("service-account key: %T is neither RSA nor ECDSA on a known curve", k.public)
	}
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return key{}, fmt.Errorf("service-account key: %w", err)
	}
	sum := sha256.Sum256(der)
	k.id = base64.RawURLEncoding.EncodeToString(sum[:])
	return k, nil
}

// jwk is the public key as RFC 7517 writes it.
func (k key) jwk() (map[string]string, error) {
	m := map[string]string{"use": "sig", "kid": k.id, "alg": k.method.Alg()}
	encode := base64.RawURLEncoding.EncodeToString
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", encode(p.N.Bytes()), encode(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		raw, err := p.Bytes() // 0x04, x, y
		if err != nil {
			return nil, err
		}
		half := (len(raw) - 1) / 2
		m["kty"], m["crv"] = "EC", p.Curve.Params().Name
		m["x"], m["y"] = encode(raw[1:1+half]), encode(raw[1+half:])
	}
	return m, nil
}

var errUnknownKey = errors.New("invalid signature, no keys found")
