package certificates

import (
	"context"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A CertificateSigningRequest asks a signer for a certificate. Who may approve,
// sign and ask for what is admission's to decide; here is what an object can be.
func certificateSigningRequests() resource.Resource {
	spec := certificatesv1beta1.CertificateSigningRequestSpec{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: certificatesv1.SchemeGroupVersion,
		Name:         "certificatesigningrequests",
		Singular:     "certificatesigningrequest",
		Kind:         "CertificateSigningRequest",
		ShortNames:   []string{"csr"},
		New:          func() runtime.Object { return &certificatesv1.CertificateSigningRequest{} },
		NewList:      func() runtime.Object { return &certificatesv1.CertificateSigningRequestList{} },
		Prepare:      prepareCSR,
		Check:        meta.Check(checkCSRCreation),
		CheckName:    func(string, bool) []string { return nil },
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkCSRUpdate),
			Reset:         [][]string{{"spec"}, {"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{
			"status": {
				PrepareUpdate: prepareCSRStatus,
				CheckUpdate:   meta.CheckUpdate(checkCSRStatus),
				Reset:         [][]string{{"spec"}, {"status", "conditions"}},
				Unconditional: true,
			},
			"approval": {
				PrepareUpdate: prepareCSRApproval,
				CheckUpdate:   meta.CheckUpdate(checkCSRApproval),
				Reset:         [][]string{{"spec"}, {"status", "certificate"}},
				Unconditional: true,
			},
		},
		Fields: meta.Fields(func(r *certificatesv1.CertificateSigningRequest) fields.Set {
			return fields.Set{"spec.signerName": r.Spec.SignerName}
		}),
		Columns: meta.Table(
			meta.Name(),
			meta.Created(),
			meta.String("SignerName", spec["signerName"]),
			meta.String("Requestor", spec["request"]),
			meta.String("RequestedDuration", spec["expirationSeconds"]),
			meta.String("Condition", certificatesv1beta1.CertificateSigningRequestStatus{}.SwaggerDoc()["conditions"]),
		),
		Row: meta.Row(csrRow),
	}
}

// prepareCSR writes down who asks, whatever the request says of it.
func prepareCSR(ctx context.Context, obj runtime.Object) {
	r := obj.(*certificatesv1.CertificateSigningRequest)
	r.Spec.Username, r.Spec.UID, r.Spec.Groups, r.Spec.Extra = "", "", nil, nil
	user, ok := request.UserFrom(ctx)
	if !ok {
		return
	}
	r.Spec.Username, r.Spec.UID, r.Spec.Groups = user.GetName(), user.GetUID(), user.GetGroups()
	for key, values := range user.GetExtra() {
		if r.Spec.Extra == nil {
			r.Spec.Extra = map[string]certificatesv1.ExtraValue{}
		}
		r.Spec.Extra[key] = values
	}
}

// prepareCSRStatus keeps what approvers said, where it is still said.
func prepareCSRStatus(ctx context.Context, obj, before runtime.Object) {
	r, old := obj.(*certificatesv1.CertificateSigningRequest), before.(*certificatesv1.CertificateSigningRequest)
	for _, t := range verdicts {
		was, is := indexes(old, t), indexes(r, t)
		if len(was) != len(is) {
			continue // the check will refuse it
		}
		for i := range was {
			r.Status.Conditions[is[i]] = old.Status.Conditions[was[i]]
		}
	}
	dateConditions(ctx, r, old)
}

func prepareCSRApproval(ctx context.Context, obj, before runtime.Object) {
	r, old := obj.(*certificatesv1.CertificateSigningRequest), before.(*certificatesv1.CertificateSigningRequest)
	dateConditions(ctx, r, old)
	r.Status.Certificate = old.Status.Certificate
}

var verdicts = []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied}

func indexes(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) []int {
	var found []int
	for i, condition := range r.Status.Conditions {
		if condition.Type == t {
			found = append(found, i)
		}
	}
	return found
}

// dateConditions dates conditions that come without a time.
func dateConditions(ctx context.Context, r, old *certificatesv1.CertificateSigningRequest) {
	now, ok := meta.RequestTime(ctx)
	if !ok {
		return
	}
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if !c.LastTransitionTime.IsZero() {
			continue
		}
		c.LastTransitionTime = now
		same := func(o certificatesv1.CertificateSigningRequestCondition) bool {
			return o.Type == c.Type && o.Status == c.Status && !o.LastTransitionTime.IsZero()
		}
		if j := slices.IndexFunc(old.Status.Conditions, same); j >= 0 {
			c.LastTransitionTime = old.Status.Conditions[j].LastTransitionTime
		}
	}
}

func csrRow(r *certificatesv1.CertificateSigningRequest, now metav1.Time) []any {
	signer, lifetime := r.Spec.SignerName, meta.None
	if signer == "" {
		signer = meta.None
	}
	if seconds := r.Spec.ExpirationSeconds; seconds != nil {
		lifetime = duration.HumanDuration(time.Duration(*seconds) * time.Second)
	}
	return []any{r.Name, meta.Age(r.CreationTimestamp, now), signer, r.Spec.Username, lifetime, csrState(r)}
}

func csrState(r *certificatesv1.CertificateSigningRequest) string {
	state := "Pending"
	switch {
	case len(indexes(r, certificatesv1.CertificateDenied)) > 0:
		state = "Denied"
	case len(indexes(r, certificatesv1.CertificateApproved)) > 0:
		state = "Approved"
	}
	if len(indexes(r, certificatesv1.CertificateFailed)) > 0 {
		state += ",Failed"
	}
	if len(r.Status.Certificate) > 0 {
		state += ",Issued"
	}
	return state
}
