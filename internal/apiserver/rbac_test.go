package apiserver_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

func TestRoles(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	user, err := kubernetes.NewForConfig(s.ConfigFor("jane"))
	if err != nil {
		t.Fatal(err)
	}
	list := func() error {
		_, err := user.CoreV1().ConfigMaps("default").List(ctx, metav1.ListOptions{})
		return err
	}
	if err := list(); !apierrors.IsForbidden(err) {
		t.Fatalf("without a role: %v, want forbidden", err)
	}
	jane := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "jane"}}
	_, err = s.Client.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "jane"}, Subjects: jane,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the role works", func() bool { return list() == nil })
	if _, err := user.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a namespace's admin lists nodes: %v", err)
	}

	// Granting: what she has herself, and no more.
	role := func(name string, r rbacv1.PolicyRule) error {
		_, err := user.RbacV1().Roles("default").Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{r}}, metav1.CreateOptions{})
		return err
	}
	if err := role("own", rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}); err != nil {
		t.Errorf("a role of what she has: %v", err)
	}
	err = role("more", rbacv1.PolicyRule{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"nodes"}})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}`) {
		t.Errorf("a role of what she has not: %v", err)
	}
	_, err = user.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "more"}, Subjects: jane,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}, metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("binding cluster-admin: %v, want forbidden", err)
	}
}

// What was written is there after a restart on the same directory, and the
// first objects are not made twice.
func TestRestart(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	made, err := s.Client.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	service, err := s.Client.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Restart(t)
	again, err := s.Client.CoreV1().ConfigMaps("default").Get(ctx, "a", metav1.GetOptions{})
	if err != nil || again.UID != made.UID || again.ResourceVersion != made.ResourceVersion {
		t.Errorf("after a restart: %v, %v", again, err)
	}
	serviceAgain, err := s.Client.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil || serviceAgain.UID != service.UID {
		t.Errorf("the kubernetes service after a restart: %v, %v", serviceAgain, err)
	}
}
