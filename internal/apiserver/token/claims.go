package token

import (
	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// claims is what a token says; the names are upstream's, since other programs read them.
type claims struct {
	jwt.RegisteredClaims
	Kubernetes *bound `json:"kubernetes.io,omitempty"`

	// Tokens of Secrets of type service-account-token, which never expire.
	LegacyAccount    string    `json:"kubernetes.io/serviceaccount/service-account.name,omitempty"`
	LegacyAccountUID types.UID `json:"kubernetes.io/serviceaccount/service-account.uid,omitempty"`
	LegacySecret     string    `json:"kubernetes.io/serviceaccount/secret.name,omitempty"`
	LegacyNamespace  string    `json:"kubernetes.io/serviceaccount/namespace,omitempty"`
}

// bound names the objects that a token lives and dies with.
type bound struct {
	Namespace string           `json:"namespace,omitempty"`
	Account   ref              `json:"serviceaccount,omitzero"`
	Pod       *ref             `json:"pod,omitempty"`
	Secret    *ref             `json:"secret,omitempty"`
	Node      *ref             `json:"node,omitempty"`
	WarnAfter *jwt.NumericDate `json:"warnafter,omitempty"`
}

type ref struct {
	Name string    `json:"name,omitempty"`
	UID  types.UID `json:"uid,omitempty"`
}

const legacyIssuer = "kubernetes/serviceaccount"

// LegacyClaims is for the controller that fills Secrets of type service-account-token.
func legacyClaims(account *corev1.ServiceAccount, secret *corev1.Secret) *claims {
	return &claims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: legacyIssuer, Subject: subject(account)},
		LegacyAccount:    account.Name, LegacyAccountUID: account.UID,
		LegacySecret: secret.Name, LegacyNamespace: account.Namespace,
	}
}

func subject(account *corev1.ServiceAccount) string {
	return "system:serviceaccount:" + account.Namespace + ":" + account.Name
}
