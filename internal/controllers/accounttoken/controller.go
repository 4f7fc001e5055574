// Package accounttoken removes the token Secrets of service accounts that are
// gone. Secrets are not cached for that: they are listed when an account goes,
// and once at the start.
package accounttoken

import (
	"context"
	"errors"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// everywhere is the key of the look at the start; others are namespaces.
const everywhere = "*"

type controller struct {
	client   kubernetes.Interface
	accounts listers.ServiceAccountLister
}

// New watches service accounts.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory) (*reconcile.Loop, error) {
	accounts := factory.Core().V1().ServiceAccounts()
	c := &controller{client: client, accounts: accounts.Lister()}
	loop := reconcile.New("accounttoken", 1, c.reconcile)
	loop.Add(everywhere)
	return loop, loop.WatchChanges(accounts.Informer(), func(old, current any) []string {
		if account, was := old.(*v1.ServiceAccount); was && current == nil {
			return []string{account.Namespace}
		}
		return nil
	})
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace := strings.TrimPrefix(key, everywhere)
	secrets, err := c.client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=" + string(v1.SecretTypeServiceAccountToken)})
	if err != nil {
		return err
	}
	var failed []error
	for i := range secrets.Items {
		s := &secrets.Items[i]
		lost, err := c.lost(ctx, s)
		if err == nil && lost {
			err = c.client.CoreV1().Secrets(s.Namespace).Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(s.UID))})
		}
		if err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// lost says that the account of a token is gone; the API server has the last word.
func (c *controller) lost(ctx context.Context, s *v1.Secret) (bool, error) {
	name, uid := s.Annotations[v1.ServiceAccountNameKey], s.Annotations[v1.ServiceAccountUIDKey]
	if account, err := c.accounts.ServiceAccounts(s.Namespace).Get(name); name == "" || err == nil && isOf(account, uid) {
		return false, nil
	}
	account, err := c.client.CoreV1().ServiceAccounts(s.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return err == nil && !isOf(account, uid), err
}

// isOf says that a token is of an account; one without UID was just made by hand.
func isOf(account *v1.ServiceAccount, uid string) bool {
	return uid == "" || uid == string(account.UID)
}
