package bootstraptoken

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes/fake"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
)

func TestOnlyExpiredTokensGo(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	secret := func(name string, kind v1.SecretType, end time.Time) *v1.Secret {
		s := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: name}, Type: kind}
		if !end.IsZero() {
			s.Data = map[string][]byte{bootstrapapi.BootstrapTokenExpirationKey: []byte(end.UTC().Format(time.RFC3339))}
		}
		return s
	}
	client := fake.NewClientset(
		secret("old", bootstrapapi.SecretTypeBootstrapToken, now.Add(-time.Second)),
		secret("new", bootstrapapi.SecretTypeBootstrapToken, now.Add(time.Second)),
		secret("endless", bootstrapapi.SecretTypeBootstrapToken, time.Time{}),
		secret("other", v1.SecretTypeOpaque, now.Add(-time.Second)),
	)
	if err := removeExpired(t.Context(), client, now); err != nil {
		t.Fatal(err)
	}
	list, err := client.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	left := sets.New[string]()
	for _, s := range list.Items {
		left.Insert(s.Name)
	}
	if !left.Equal(sets.New("new", "endless", "other")) {
		t.Errorf("left: %v", sets.List(left))
	}
}
