package apiserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

func clientFor(t *testing.T, c *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Two nodes, each with a pod that needs a secret of its own.
func TestA3NodesSeeTheirOwnPodsObjects(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	makeDefaultAccount(t, s)
	pods := map[string]*corev1.Pod{}
	for _, n := range []string{"one", "two"} {
		if _, err := s.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Client.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: n}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		p := simplePod(n)
		p.Spec.NodeName = n
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: n}}}}
		made, err := s.Client.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pods[n] = made
	}
	one := clientFor(t, s.TLSConfig(t, "system:node:one", "system:nodes")).CoreV1()
	get := metav1.GetOptions{}
	eventually(t, "the pods are known", func() bool {
		list, err := one.Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=one", ResourceVersion: "0"})
		return err == nil && len(list.Items) == 1
	})
	for what, c := range map[string]struct {
		do  func() error
		may bool
	}{
		"read its pod's secret": {func() error { _, err := one.Secrets("default").Get(ctx, "one", get); return err }, true},
		"read another's secret": {func() error { _, err := one.Secrets("default").Get(ctx, "two", get); return err }, false},
		"list secrets":          {func() error { _, err := one.Secrets("default").List(ctx, metav1.ListOptions{}); return err }, false},
		"read its pod":          {func() error { _, err := one.Pods("default").Get(ctx, "one", get); return err }, true},
		"read another's pod":    {func() error { _, err := one.Pods("default").Get(ctx, "two", get); return err }, false},
		"list all pods":         {func() error { _, err := one.Pods("").List(ctx, metav1.ListOptions{}); return err }, false},
		"list its pods": {func() error {
			_, err := one.Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=one"})
			return err
		}, true},
		"read its node":     {func() error { _, err := one.Nodes().Get(ctx, "one", get); return err }, true},
		"read another node": {func() error { _, err := one.Nodes().Get(ctx, "two", get); return err }, false},
		"list services":     {func() error { _, err := one.Services("").List(ctx, metav1.ListOptions{}); return err }, true},
		"delete another's pod": {func() error {
			return one.Pods("default").Delete(ctx, "two", metav1.DeleteOptions{DryRun: []string{"All"}})
		}, false},
		"make a pod of its own": {func() error {
			p := simplePod("x")
			p.Spec.NodeName = "one"
			_, err := one.Pods("default").Create(ctx, p, metav1.CreateOptions{})
			return err
		}, false},
		"patch its status":       {func() error { return patchNode(one.RESTClient(), "one/status", `{"status":{"phase":"Running"}}`) }, true},
		"patch another's status": {func() error { return patchNode(one.RESTClient(), "two/status", `{"status":{"phase":"Running"}}`) }, false},
		"say where it is": {func() error {
			return patchNode(one.RESTClient(), "one", `{"metadata":{"labels":{"topology.kubernetes.io/zone":"z"}}}`)
		}, true},
		"draw pods to it": {func() error {
			return patchNode(one.RESTClient(), "one", `{"metadata":{"labels":{"node-restriction.kubernetes.io/x":"y"}}}`)
		}, false},
		"take its own taint":      {func() error { return patchNode(one.RESTClient(), "one", `{"spec":{"taints":[]}}`) }, false},
		"a token for its pod":     {func() error { return askToken(t, s, one.RESTClient(), pods["one"]) }, true},
		"a token for another pod": {func() error { return askToken(t, s, one.RESTClient(), pods["two"]) }, false},
		"a token for no pod":      {func() error { return askToken(t, s, one.RESTClient(), nil) }, false},
		"a mirror of a static pod": {func() error {
			_, err := one.Pods("default").Create(ctx, mirrorPod(t, s, "one"), metav1.CreateOptions{})
			return err
		}, true},
		"a mirror on another node": {func() error {
			_, err := one.Pods("default").Create(ctx, mirrorPod(t, s, "two"), metav1.CreateOptions{})
			return err
		}, false},
	} {
		if err := c.do(); (err == nil) != c.may || err != nil && !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, may is %v", what, err, c.may)
		}
	}
}

func patchNode(c rest.Interface, path, patch string) error {
	return c.Patch(types.StrategicMergePatchType).AbsPath("/api/v1/nodes/" + path).Body([]byte(patch)).Do(context.Background()).Error()
}

func askToken(t *testing.T, s *apitest.Server, c rest.Interface, pod *corev1.Pod) error {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	}
	return c.Post().AbsPath("/api/v1/namespaces/default/serviceaccounts/default/token").Body(request).Do(t.Context()).Error()
}

func mirrorPod(t *testing.T, s *apitest.Server, node string) *corev1.Pod {
	t.Helper()
	n, err := s.Client.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	p := simplePod("static-" + node)
	p.Spec.NodeName = node
	p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "hash"}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node, UID: n.UID, Controller: &yes}}
	return p
}

func certificateRequest(t *testing.T, name string, groups ...string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name, Organization: groups}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestA3SignersAreAsked(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	ask := func(c kubernetes.Interface, name, signer string, request []byte) error {
		_, err := c.CertificatesV1().CertificateSigningRequests().Create(ctx, &certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       certificatesv1.CertificateSigningRequestSpec{Request: request, SignerName: signer, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth}},
		}, metav1.CreateOptions{})
		return err
	}
	if err := ask(s.Client, "root", certificatesv1.KubeAPIServerClientSignerName, certificateRequest(t, "x", "system:masters")); err == nil || !strings.Contains(err.Error(), "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed") {
		t.Errorf("a certificate that may do everything: %v", err)
	}
	if err := ask(s.Client, "ok", certificatesv1.KubeAPIServerClientSignerName, certificateRequest(t, "x")); err != nil {
		t.Fatal(err)
	}
	k := newKubectl(t, s)
	k.run("create", "clusterrole", "approver", "--verb=get,update,approve", "--resource=certificatesigningrequests,certificatesigningrequests/approval")
	k.run("create", "clusterrolebinding", "approver", "--clusterrole=approver", "--user=ann")
	ann := clientFor(t, s.TLSConfig(t, "ann"))
	approve := func() error {
		csr, err := s.Client.CertificatesV1().CertificateSigningRequests().Get(ctx, "ok", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "r"}}
		_, err = ann.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, "ok", csr, metav1.UpdateOptions{})
		return err
	}
	eventually(t, "the role counts", func() bool {
		err := approve()
		return err != nil && strings.Contains(err.Error(), `user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"`)
	})
	k.stdin(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"name":"signer"},"rules":[{"verbs":["approve"],"apiGroups":["certificates.k8s.io"],"resources":["signers"],"resourceNames":["kubernetes.io/*"]}]}`, "create", "-f", "-")
	k.run("create", "clusterrolebinding", "signer", "--clusterrole=signer", "--user=ann")
	eventually(t, "the signer lets her", func() bool { return approve() == nil })
}

// A machine joins by a token, and is then a node among nodes: what it does beside
// running its pods, it does in another name.
func TestA3MachinesJoinByToken(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	keep := func(id string, change func(map[string]string)) {
		data := map[string]string{"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true", "expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
		change(data)
		_, err := s.Client.CoreV1().Secrets("kube-system").Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + id}, Type: "bootstrap.kubernetes.io/token", StringData: data}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	keep("goodid", func(map[string]string) {})
	keep("oldold", func(d map[string]string) { d["expiration"] = time.Now().Add(-time.Second).UTC().Format(time.RFC3339) })
	keep("unused", func(d map[string]string) { delete(d, "usage-bootstrap-authentication") })
	keep("others", func(d map[string]string) { d["token-id"] = "goodid" })
	as := func(token string) kubernetes.Interface {
		c := rest.AnonymousClientConfig(s.TLSConfig(t, "nobody"))
		c.BearerToken = token
		return clientFor(t, c)
	}
	who := func(token string) (string, []string, error) {
		r, err := as(token).AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		if err != nil {
			return "", nil, err
		}
		return r.Status.UserInfo.Username, r.Status.UserInfo.Groups, nil
	}
	if name, groups, err := who("goodid.0123456789abcdef"); err != nil || name != "system:bootstrap:goodid" || !slices.Contains(groups, "system:bootstrappers") {
		t.Errorf("%s %v %v", name, groups, err)
	}
	for _, bad := range []string{"goodid.0123456789abcdeX", "goodid.fedcba9876543210", "oldold.0123456789abcdef", "unused.0123456789abcdef", "others.0123456789abcdef", "nobody.0123456789abcdef"} {
		if name, _, err := who(bad); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s is %q, %v", bad, name, err)
		}
	}
	if _, err := as("goodid.0123456789abcdef").CoreV1().Secrets("").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a machine that has not joined reads secrets: %v", err)
	}

	node := s.TLSConfig(t, "system:node:one", "system:nodes")
	list := func(c *rest.Config) error {
		_, err := clientFor(t, c).CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	}
	services, admin := rest.CopyConfig(node), rest.CopyConfig(node)
	services.Impersonate.UserName, admin.Impersonate.UserName = "proa:node-services", "admin"
	if err := list(node); !apierrors.IsForbidden(err) {
		t.Errorf("as itself: %v", err)
	}
	if err := list(services); err != nil {
		t.Errorf("for its services: %v", err)
	}
	if err := list(admin); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "impersonate") {
		t.Errorf("as somebody else: %v", err)
	}
}
