// Package certificates signs the requests for certificates of the cluster's own
// signers, approves those of nodes for themselves, and removes old ones.
//
//	request ─approved (by people, or here for nodes)─▶ signed ─an hour─▶ removed
//	        └denied, failed ─an hour─▶ removed      └ pending: a day
package certificates

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// How long requests are kept.
const (
	keepDecided = time.Hour
	keepPending = 24 * time.Hour
)

type controller struct {
	client    kubernetes.Interface
	authority Authority
	nodes     corelisters.NodeLister
	clock     clock.PassiveClock
	loop      *reconcile.Loop
}

// New watches CertificateSigningRequests.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, authority Authority, clock clock.PassiveClock) (*reconcile.Loop, error) {
	requests := factory.Certificates().V1().CertificateSigningRequests()
	nodes := factory.Core().V1().Nodes()
	c := &controller{client: client, authority: authority, nodes: nodes.Lister(), clock: clock}
	c.loop = reconcile.New("certificates", 1, func(ctx context.Context, key string) error {
		r, err := requests.Lister().Get(key)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		err = c.reconcile(ctx, r.DeepCopy())
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	c.loop.Needs(nodes.Informer())
	return c.loop, c.loop.Watch(requests.Informer(), nil)
}

func (c *controller) reconcile(ctx context.Context, r *certificatesv1.CertificateSigningRequest) error {
	left := leftFor(r, c.clock.Now())
	if left <= 0 {
		return c.client.CertificatesV1().CertificateSigningRequests().Delete(ctx, r.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(r.UID))})
	}
	c.loop.After(r.Name, left)
	if len(r.Status.Certificate) > 0 || has(r, certificatesv1.CertificateDenied) || has(r, certificatesv1.CertificateFailed) {
		return nil
	}
	if has(r, certificatesv1.CertificateApproved) {
		return c.sign(ctx, r)
	}
	return c.approve(ctx, r)
}

func has(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) bool {
	return since(r, t) != nil
}

func since(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) *time.Time {
	for _, c := range r.Status.Conditions {
		if c.Type == t && (c.Status == v1.ConditionTrue || c.Status == "") {
			return &c.LastUpdateTime.Time
		}
	}
	return nil
}

// leftFor a request until it is removed.
func leftFor(r *certificatesv1.CertificateSigningRequest, now time.Time) time.Duration {
	for _, t := range []certificatesv1.RequestConditionType{certificatesv1.CertificateDenied, certificatesv1.CertificateFailed, certificatesv1.CertificateApproved} {
		at := since(r, t)
		if at == nil || t == certificatesv1.CertificateApproved && len(r.Status.Certificate) == 0 {
			continue
		}
		left := at.Add(keepDecided).Sub(now)
		if block, _ := pem.Decode(r.Status.Certificate); block != nil {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
				left = min(left, cert.NotAfter.Sub(now))
			}
		}
		return left
	}
	return r.CreationTimestamp.Add(keepPending).Sub(now)
}

func (c *controller) sign(ctx context.Context, r *certificatesv1.CertificateSigningRequest) error {
	request, err := parse(r)
	if err != nil {
		return fmt.Errorf("unable to parse csr %q: %w", r.Name, err)
	}
	ours, problem := check(r.Spec.SignerName, request, r.Spec.Usages)
	if !ours {
		return nil
	}
	if problem != nil {
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateFailed, Status: v1.ConditionTrue, Reason: "SignerValidationFailure", Message: problem.Error(), LastUpdateTime: metav1.NewTime(c.clock.Now()),
		})
	} else if r.Status.Certificate, err = sign(c.authority, request, r.Spec.Usages, r.Spec.ExpirationSeconds, c.clock.Now()); err != nil {
		return fmt.Errorf("csr %q: %w", r.Name, err)
	}
	_, err = c.client.CertificatesV1().CertificateSigningRequests().UpdateStatus(ctx, r, metav1.UpdateOptions{})
	return err
}

// approve the requests of nodes: for their own client certificate, if whoever
// asks may ask for that, and for the certificate of their own server.
func (c *controller) approve(ctx context.Context, r *certificatesv1.CertificateSigningRequest) error {
	request, err := parse(r)
	if err != nil {
		return nil // people may still look at it
	}
	switch r.Spec.SignerName {
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		return c.approveClient(ctx, r, request)
	case certificatesv1.KubeletServingSignerName:
		return c.approveServing(ctx, r, request)
	}
	return nil
}

func (c *controller) approveClient(ctx context.Context, r *certificatesv1.CertificateSigningRequest, request *x509.CertificateRequest) error {
	if checkKubeletClient(request, r.Spec.Usages) != nil {
		return nil
	}
	attempts := []struct{ subresource, message string }{{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."}}
	if r.Spec.Username == request.Subject.CommonName {
		attempts = append([]struct{ subresource, message string }{{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."}}, attempts...)
	}
	for _, a := range attempts {
		allowed, err := c.may(ctx, r, a.subresource)
		if err != nil {
			return err
		}
		if !allowed {
			continue
		}
		if problem := c.taken(r, request); problem != "" {
			return c.decide(ctx, r, certificatesv1.CertificateDenied, "NodeExists", problem)
		}
		return c.decide(ctx, r, certificatesv1.CertificateApproved, autoApproved, a.message)
	}
	return nil
}

// taken says why a machine may not become that node: a node that is there asks for
// its next certificate itself, and nobody else's token gets one in its name.
func (c *controller) taken(r *certificatesv1.CertificateSigningRequest, request *x509.CertificateRequest) string {
	if r.Spec.Username == request.Subject.CommonName {
		return ""
	}
	name := nodeOf(request)
	if _, err := c.nodes.Get(name); err != nil {
		return "" // none
	}
	return fmt.Sprintf("the cluster has a node %s already: choose another name, or remove that node first: kubectl delete node %[1]s", name)
}

const autoApproved = "AutoApproved"

// approveServing: the node itself asks, and for nothing but its name and the
// address that the cluster has given it.
func (c *controller) approveServing(ctx context.Context, r *certificatesv1.CertificateSigningRequest, request *x509.CertificateRequest) error {
	if checkKubeletServing(request, r.Spec.Usages) != nil || r.Spec.Username != request.Subject.CommonName {
		return nil
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	if !ownNames(request, nodes) {
		return nil
	}
	return c.decide(ctx, r, certificatesv1.CertificateApproved, autoApproved, "Auto approving kubelet serving certificate for the node's own name and address.")
}

func (c *controller) decide(ctx context.Context, r *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType, reason, message string) error {
	r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: kind, Status: v1.ConditionTrue, Reason: reason, Message: message,
	})
	_, err := c.client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, r.Name, r, metav1.UpdateOptions{})
	return err
}

func (c *controller) may(ctx context.Context, r *certificatesv1.CertificateSigningRequest, subresource string) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range r.Spec.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	review, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: r.Spec.Username, UID: r.Spec.UID, Groups: r.Spec.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Group: certificatesv1.GroupName, Version: "*", Resource: "certificatesigningrequests", Subresource: subresource, Verb: "create"},
	}}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("review the requester of csr %q: %w", r.Name, err)
	}
	return review.Status.Allowed, nil
}
