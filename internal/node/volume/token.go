package volume

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// maxTokenAge bounds how long a token is used whatever its life: a day, as the documentation of projected volumes says.
	maxTokenAge = 24 * time.Hour
	// defaultTokenSeconds is what the API fills in.
	defaultTokenSeconds = 3600
)

// token is a service account token in use.
type token struct {
	value           string
	issued, expires time.Time
}

// rotateAt is when the next token is due: at 80 % of its life, and at the latest a day after its issue.
func (t token) rotateAt() time.Time {
	due := t.issued.Add(t.expires.Sub(t.issued) / 5 * 4)
	if latest := t.issued.Add(maxTokenAge); due.After(latest) {
		return latest
	}
	return due
}

// tokens of one pod, by place: volume name and index of the source.
type tokenPlace struct {
	volume string
	source int
}

// freshToken returns the token to show now: the one in use while it isn't due, else a new one, else, when there is none to be
// had, the one in use until it expires.
func freshToken(ctx context.Context, client kubernetes.Interface, pod *v1.Pod, want *v1.ServiceAccountTokenProjection, have *token, now time.Time) (token, error) {
	if have != nil && now.Before(have.rotateAt()) {
		return *have, nil
	}
	fresh, err := requestToken(ctx, client, pod, want, now)
	if err != nil && have != nil && now.Before(have.expires) {
		return *have, nil
	}
	return fresh, err
}

func requestToken(ctx context.Context, client kubernetes.Interface, pod *v1.Pod, want *v1.ServiceAccountTokenProjection, now time.Time) (token, error) {
	seconds := int64(defaultTokenSeconds)
	if want.ExpirationSeconds != nil {
		seconds = *want.ExpirationSeconds
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if want.Audience != "" {
		request.Spec.Audiences = []string{want.Audience}
	}
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	answer, err := client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return token{}, fmt.Errorf("failed to fetch token: %w", err)
	}
	return token{value: answer.Status.Token, issued: now, expires: answer.Status.ExpirationTimestamp.Time}, nil
}
