// Package bootstraptoken removes the tokens by which machines could join once
// they have expired. The API server takes none that has; this only tidies up.
package bootstraptoken

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	"k8s.io/cluster-bootstrap/util/secrets"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// every is how often tokens are looked through: Secrets are not cached for that.
const every = 10 * time.Minute

// New looks at the start, and now and then.
func New(client kubernetes.Interface, c clock.PassiveClock) (*reconcile.Loop, error) {
	var loop *reconcile.Loop
	loop = reconcile.New("bootstraptoken", 1, func(ctx context.Context, key string) error {
		loop.After(key, every)
		return removeExpired(ctx, client, c.Now())
	})
	loop.Add("all")
	return loop, nil
}

func removeExpired(ctx context.Context, client kubernetes.Interface, now time.Time) error {
	kept := client.CoreV1().Secrets(metav1.NamespaceSystem)
	list, err := kept.List(ctx, metav1.ListOptions{FieldSelector: "type=" + string(bootstrapapi.SecretTypeBootstrapToken)})
	if err != nil {
		return err
	}
	var failed []error
	for i := range list.Items {
		s := &list.Items[i]
		if s.Type != bootstrapapi.SecretTypeBootstrapToken || !secrets.HasExpired(s, now) {
			continue
		}
		err := kept.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
