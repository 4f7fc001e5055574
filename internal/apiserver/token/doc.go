// Package token issues and verifies service-account tokens: JWTs signed with the
// cluster's key, bound to a service account and, mostly, to a pod, secret or node,
// and dead as soon as that object is.
//
//	TokenRequest ─▶ Issuer.sign ─▶ token ─▶ Authenticator: signature, times, audience, the bound objects
//
// It also verifies the tokens by which machines join the cluster (Bootstrap).
package token
