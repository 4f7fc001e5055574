package admit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// NodeObjects are looked up to see whose they are.
type NodeObjects struct {
	NodeOf  func(user.Info) (name string, is bool)
	Pod     func(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	Node    func(ctx context.Context, name string) (*corev1.Node, error)
	Claim   func(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error)
	Volume  func(ctx context.Context, name string) (*corev1.PersistentVolume, error)
	Driver  func(ctx context.Context, name string) (*storagev1.CSIDriver, error)
	Account func(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error)
	// Authorizer is asked about tokens for others than the API server.
	Authorizer authorizer.UnconditionalAuthorizer
}

// NodeRestriction holds nodes' agents to their own objects: what the authorizer
// can't see of a request.
type NodeRestriction struct{ objects NodeObjects }

var _ admission.MutationInterface = NodeRestriction{}

// RestrictNodes makes it; it changes nothing, but has its say before others do.
func RestrictNodes(o NodeObjects) admission.Interface { return NodeRestriction{o} }

func (NodeRestriction) Handles(o admission.Operation) bool { return o != admission.Connect }

func (n NodeRestriction) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	node, is := n.objects.NodeOf(a.GetUserInfo())
	if !is {
		return nil
	}
	if node == "" {
		return admission.NewForbidden(a, fmt.Errorf("could not determine node from user %q", a.GetUserInfo().GetName()))
	}
	rule, ok := nodeRestrictions[a.GetResource().GroupResource().String()]
	if !ok {
		return nil
	}
	err := rule(ctx, n.objects, node, a)
	if err == nil || apierrors.IsNotFound(err) {
		return err
	}
	return admission.NewForbidden(a, err)
}

var nodeRestrictions = map[string]func(ctx context.Context, o NodeObjects, node string, a admission.Attributes) error{
	"pods":                           restrictPods,
	"nodes":                          restrictNodes,
	"persistentvolumeclaims":         restrictClaims,
	"serviceaccounts":                restrictTokens,
	"leases.coordination.k8s.io":     restrictName("lease", func(o *coordinationv1.Lease) string { return o.Name }),
	"csinodes.storage.k8s.io":        restrictName("CSINode", func(o *storagev1.CSINode) string { return o.Name }),
	"resourceslices.resource.k8s.io": restrictSlices,
	"certificatesigningrequests.certificates.k8s.io": restrictCertificates,
	"podcertificaterequests.certificates.k8s.io":     restrictPodCertificates,
}

func restrictPods(ctx context.Context, o NodeObjects, node string, a admission.Attributes) error {
	switch a.GetSubresource() {
	case "":
		switch a.GetOperation() {
		case admission.Create:
			return restrictMirror(ctx, o, node, a)
		case admission.Delete:
			pod, err := o.Pod(ctx, a.GetNamespace(), a.GetName())
			if err == nil && pod.Spec.NodeName != node {
				err = fmt.Errorf("node %q can only delete pods with spec.nodeName set to itself", node)
			}
			return err
		}
		return fmt.Errorf("unexpected operation %q, node %q can only create and delete mirror pods", a.GetOperation(), node)
	case "status":
		return restrictPodStatus(node, a)
	case "eviction":
		pod, err := o.Pod(ctx, a.GetNamespace(), a.GetName())
		if err == nil && pod.Spec.NodeName != node {
			err = fmt.Errorf("node %s can only evict pods with spec.nodeName set to itself", node)
		}
		return err
	}
	return fmt.Errorf("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", a.GetSubresource())
}

// restrictMirror: a node may show its static pods, as its own.
func restrictMirror(ctx context.Context, o NodeObjects, node string, a admission.Attributes) error {
	pod, ok := a.GetObject().(*corev1.Pod)
	switch {
	case !ok:
		return fmt.Errorf("unexpected type %T", a.GetObject())
	case !isMirror(pod):
		return fmt.Errorf("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
	case pod.Spec.NodeName != node:
		return fmt.Errorf("node %q can only create pods with spec.nodeName set to itself", node)
	case len(pod.OwnerReferences) > 1:
		return fmt.Errorf("node %q can only create pods with a single owner reference set to itself", node)
	}
	var owner metav1.OwnerReference
	if len(pod.OwnerReferences) == 1 {
		owner = pod.OwnerReferences[0]
	}
	switch {
	case owner.APIVersion != corev1.SchemeGroupVersion.String(), owner.Kind != "Node", owner.Name != node:
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", node)
	case owner.Controller == nil || !*owner.Controller:
		return fmt.Errorf("node %q can only create pods with a controller owner reference set to itself", node)
	case owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion:
		return fmt.Errorf("node %q must not set blockOwnerDeletion on an owner reference", node)
	}
	object, err := o.Node(ctx, node)
	if err != nil {
		return err
	}
	if owner.UID != object.UID {
		return fmt.Errorf("node %s UID mismatch: expected %s got %s", node, owner.UID, object.UID)
	}
	return checkMirror(pod)
}

func restrictPodStatus(node string, a admission.Attributes) error {
	pod, ok := a.GetObject().(*corev1.Pod)
	old, had := a.GetOldObject().(*corev1.Pod)
	switch {
	case a.GetOperation() != admission.Update, !ok, !had:
		return fmt.Errorf("unexpected operation %q", a.GetOperation())
	case old.Spec.NodeName != node:
		return fmt.Errorf("node %q can only update pod status for pods with spec.nodeName set to itself", node)
	case !labels.Equals(old.Labels, pod.Labels):
		return fmt.Errorf("node %q cannot update labels through pod status", node)
	case !equality.Semantic.DeepEqual(old.Status.ResourceClaimStatuses, pod.Status.ResourceClaimStatuses):
		return fmt.Errorf("node %q cannot update resource claim statues", node)
	case !equality.Semantic.DeepEqual(old.Status.ExtendedResourceClaimStatus, pod.Status.ExtendedResourceClaimStatus):
		return fmt.Errorf("node %q cannot update extended resource claim status", node)
	}
	return nil
}

func restrictNodes(_ context.Context, _ NodeObjects, node string, a admission.Attributes) error {
	if a.GetName() != node {
		return fmt.Errorf("node %q is not allowed to modify node %q", node, a.GetName())
	}
	now, ok := a.GetObject().(*corev1.Node)
	if !ok {
		return nil // nothing is written
	}
	if a.GetOperation() == admission.Create {
		if bad := forbiddenLabels(now.Labels, nil); len(bad) > 0 {
			return fmt.Errorf("node %q is not allowed to set the following labels: %s", node, strings.Join(bad, ", "))
		}
		return nil
	}
	old, ok := a.GetOldObject().(*corev1.Node)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetOldObject())
	}
	switch {
	case !equality.Semantic.DeepEqual(now.Spec.Taints, old.Spec.Taints):
		return fmt.Errorf("node %q is not allowed to modify taints", node)
	case !equality.Semantic.DeepEqual(now.OwnerReferences, old.OwnerReferences):
		return fmt.Errorf("node %q is not allowed to modify ownerReferences", node)
	}
	if bad := forbiddenLabels(now.Labels, old.Labels); len(bad) > 0 {
		return fmt.Errorf("is not allowed to modify labels: %s", strings.Join(bad, ", "))
	}
	return nil
}

// Labels of the system's domains that a node may set on itself: those that say
// what it is. All others could draw pods to it that are not meant for it.
var (
	nodeLabels = sets.New(
		corev1.LabelHostname, corev1.LabelTopologyZone, corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion,
		corev1.LabelInstanceType, corev1.LabelInstanceTypeStable, corev1.LabelOSStable, corev1.LabelArchStable, corev1.LabelWindowsBuild,
		"beta.kubernetes.io/os", "beta.kubernetes.io/arch")
	nodeLabelDomains = []string{"node.kubernetes.io", "kubelet.kubernetes.io"}
)

func forbiddenLabels(now, old map[string]string) (bad []string) {
	for key := range sets.KeySet(now).Union(sets.KeySet(old)) {
		value, is := now[key]
		before, was := old[key]
		if (is != was || value != before) && !nodeMayLabel(key) {
			bad = append(bad, key)
		}
	}
	slices.Sort(bad)
	return bad
}

func nodeMayLabel(key string) bool {
	domain, _, qualified := strings.Cut(key, "/")
	if !qualified {
		return true
	}
	of := func(parent string) bool { return domain == parent || strings.HasSuffix(domain, "."+parent) }
	if of(corev1.LabelNamespaceNodeRestriction) {
		return false
	}
	if !of("kubernetes.io") && !of("k8s.io") || nodeLabels.Has(key) {
		return true
	}
	return slices.ContainsFunc(nodeLabelDomains, of)
}

// restrictClaims: a node tells of a claim how far its expansion is, no more.
func restrictClaims(_ context.Context, _ NodeObjects, node string, a admission.Attributes) error {
	if a.GetSubresource() != "status" || a.GetOperation() != admission.Update {
		return errors.New("may only update PVC status")
	}
	claim, ok := a.GetObject().(*corev1.PersistentVolumeClaim)
	old, had := a.GetOldObject().(*corev1.PersistentVolumeClaim)
	if !ok || !had {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	rest := func(c *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
		c = c.DeepCopy()
		c.ResourceVersion, c.ManagedFields = "", nil
		c.Status.Capacity, c.Status.Conditions, c.Status.AllocatedResources, c.Status.AllocatedResourceStatuses = nil, nil, nil, nil
		return c
	}
	if !equality.Semantic.DeepEqual(rest(claim), rest(old)) {
		return fmt.Errorf("node %q is not allowed to update fields other than status.quantity and status.conditions", node)
	}
	return nil
}

// restrictName: what is the node's own has its name. Updates of others don't get
// past the authorizer.
func restrictName[T any](what string, name func(T) string) func(context.Context, NodeObjects, string, admission.Attributes) error {
	return func(_ context.Context, _ NodeObjects, node string, a admission.Attributes) error {
		if a.GetName() != "" && a.GetName() != node {
			return fmt.Errorf("can only access %s with the same name as the requesting node", what)
		}
		if object, ok := a.GetObject().(T); ok && name(object) != node {
			return fmt.Errorf("can only access %s with the same name as the requesting node", what)
		}
		return nil
	}
}

func restrictSlices(_ context.Context, _ NodeObjects, node string, a admission.Attributes) error {
	slice, ok := a.GetObject().(*resourcev1.ResourceSlice)
	if a.GetOperation() != admission.Create || !ok {
		return nil
	}
	if slice.Spec.NodeName == nil || *slice.Spec.NodeName != node {
		return errors.New("can only create ResourceSlice with the same NodeName as the requesting node")
	}
	return nil
}

// restrictTokens: a node gets tokens for pods that it runs.
func restrictTokens(ctx context.Context, o NodeObjects, node string, a admission.Attributes) error {
	asked, ok := a.GetObject().(*authenticationv1.TokenRequest)
	if a.GetOperation() != admission.Create || a.GetSubresource() != "token" || !ok {
		return nil
	}
	ref := asked.Spec.BoundObjectRef
	switch {
	case ref == nil, ref.APIVersion != "v1", ref.Kind != "Pod", ref.Name == "":
		return errors.New("node requested token not bound to a pod")
	case ref.UID == "":
		return errors.New("node requested token with a pod binding without a uid")
	}
	pod, err := o.Pod(ctx, a.GetNamespace(), ref.Name)
	switch {
	case err != nil:
		return err
	case pod.UID != ref.UID:
		return fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case pod.Spec.NodeName != node:
		return errors.New("node requested token bound to a pod scheduled on a different node")
	}
	return restrictAudience(ctx, o, pod, asked.Spec.Audiences, a)
}

// restrictAudience: the pod, or a driver of its volumes, must want the token.
func restrictAudience(ctx context.Context, o NodeObjects, pod *corev1.Pod, audiences []string, a admission.Attributes) error {
	if len(audiences) > 1 {
		return errors.New("node may only request 0 or 1 audiences")
	}
	audience := ""
	if len(audiences) == 1 {
		audience = audiences[0]
	}
	for i := range pod.Spec.Volumes {
		if wantsAudience(ctx, o, pod, &pod.Spec.Volumes[i], audience) {
			return nil
		}
	}
	decision, _, err := o.Authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: a.GetUserInfo(), Verb: "request-serviceaccounts-token-audience", Namespace: a.GetNamespace(), APIGroup: "", APIVersion: "v1",
		Resource: audience, Name: a.GetName(), ResourceRequest: true,
	})
	switch {
	case decision == authorizer.DecisionAllow:
		return nil
	case err != nil:
		return fmt.Errorf("error authorizing %s to request tokens for audience %q: %w", a.GetUserInfo().GetName(), audience, err)
	}
	return fmt.Errorf("%s is not authorized to request tokens for audience %q", a.GetUserInfo().GetName(), audience)
}

func wantsAudience(ctx context.Context, o NodeObjects, pod *corev1.Pod, v *corev1.Volume, audience string) bool {
	if v.Projected != nil {
		return slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == audience
		})
	}
	name := driverOf(ctx, o, pod, v)
	if name == "" {
		return false
	}
	driver, err := o.Driver(ctx, name)
	return err == nil && slices.ContainsFunc(driver.Spec.TokenRequests, func(t storagev1.TokenRequest) bool { return t.Audience == audience })
}

func driverOf(ctx context.Context, o NodeObjects, pod *corev1.Pod, v *corev1.Volume) string {
	claim := ""
	switch {
	case v.CSI != nil:
		return v.CSI.Driver
	case v.PersistentVolumeClaim != nil:
		claim = v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		claim = pod.Name + "-" + v.Name
	default:
		return ""
	}
	c, err := o.Claim(ctx, pod.Namespace, claim)
	if err != nil {
		return ""
	}
	volume, err := o.Volume(ctx, c.Spec.VolumeName)
	if err != nil || volume.Spec.CSI == nil {
		return ""
	}
	return volume.Spec.CSI.Driver
}

// restrictCertificates: a node asks for certificates in its own name.
func restrictCertificates(_ context.Context, _ NodeObjects, node string, a admission.Attributes) error {
	request, ok := a.GetObject().(*certificatesv1.CertificateSigningRequest)
	if a.GetOperation() != admission.Create || !ok {
		return nil
	}
	if request.Spec.SignerName != certificatesv1.KubeletServingSignerName && request.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	name, err := requestedName(request.Spec.Request)
	if err != nil {
		return err
	}
	if want := "system:node:" + node; name != want {
		return fmt.Errorf("can only create a node CSR with CN=%s", want)
	}
	return nil
}

// restrictPodCertificates: a node asks on behalf of a pod that it runs.
func restrictPodCertificates(ctx context.Context, o NodeObjects, node string, a admission.Attributes) error {
	request, ok := a.GetObject().(*certificatesv1.PodCertificateRequest)
	if a.GetOperation() != admission.Create || a.GetSubresource() != "" || !ok {
		return fmt.Errorf("unexpected operation %v", a.GetOperation())
	}
	s := request.Spec
	if string(s.NodeName) != node {
		return fmt.Errorf("PodCertificateRequest.Spec.NodeName=%q, which is not the requesting node %q", s.NodeName, node)
	}
	object, err := o.Node(ctx, node)
	if err != nil {
		return err
	}
	pod, err := o.Pod(ctx, a.GetNamespace(), s.PodName)
	if err != nil {
		return err
	}
	account, err := o.Account(ctx, a.GetNamespace(), s.ServiceAccountName)
	if err != nil {
		return err
	}
	full := a.GetNamespace() + "/" + s.PodName
	switch {
	case object.UID != s.NodeUID:
		return fmt.Errorf("PodCertificateRequest for pod %q names node UID %q, inconsistent with the running node (%q)", full, s.NodeUID, object.UID)
	case pod.UID != s.PodUID:
		return fmt.Errorf("PodCertificateRequest for pod %q contains pod UID (%q) which differs from running pod %q", full, s.PodUID, pod.UID)
	case pod.Spec.NodeName != node:
		return fmt.Errorf("pod %q is not running on node %q named in the PodCertificateRequest", full, node)
	case isMirror(pod):
		return fmt.Errorf("pod %q is a mirror pod", full)
	case pod.Spec.ServiceAccountName != s.ServiceAccountName:
		return fmt.Errorf("PodCertificateRequest for pod %q contains serviceAccountName (%q) that differs from running pod (%q)", full, s.ServiceAccountName, pod.Spec.ServiceAccountName)
	case account.UID != s.ServiceAccountUID:
		return fmt.Errorf("PodCertificateRequest for pod %q names service account UID %q, which differs from the running service account (%q)", full, s.ServiceAccountUID, account.UID)
	}
	return nil
}
