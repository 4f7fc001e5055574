package apiserver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

// stock is what upstream v1.37 serves by default, as its checked-in discovery
// documents have it: resources with their subresources.
const stock = `
v1 bindings componentstatuses configmaps endpoints events limitranges namespaces namespaces/finalize namespaces/status nodes nodes/proxy nodes/status persistentvolumeclaims persistentvolumeclaims/status persistentvolumes persistentvolumes/status pods pods/attach pods/binding pods/ephemeralcontainers pods/eviction pods/exec pods/log pods/portforward pods/proxy pods/resize pods/status podtemplates replicationcontrollers replicationcontrollers/scale replicationcontrollers/status resourcequotas resourcequotas/status secrets serviceaccounts serviceaccounts/token services services/proxy services/status
apps/v1 controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status
events.k8s.io/v1 events
authentication.k8s.io/v1 selfsubjectreviews tokenreviews
authorization.k8s.io/v1 localsubjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews
autoscaling/v2 horizontalpodautoscalers horizontalpodautoscalers/status
autoscaling/v1 horizontalpodautoscalers horizontalpodautoscalers/status
batch/v1 cronjobs cronjobs/status jobs jobs/status
certificates.k8s.io/v1 certificatesigningrequests certificatesigningrequests/approval certificatesigningrequests/status clustertrustbundles podcertificaterequests podcertificaterequests/status
networking.k8s.io/v1 ingressclasses ingresses ingresses/status ipaddresses networkpolicies servicecidrs servicecidrs/status
policy/v1 poddisruptionbudgets poddisruptionbudgets/status
rbac.authorization.k8s.io/v1 clusterrolebindings clusterroles rolebindings roles
storage.k8s.io/v1 csidrivers csinodes csistoragecapacities storageclasses volumeattachments volumeattachments/status volumeattributesclasses
admissionregistration.k8s.io/v1 mutatingadmissionpolicies mutatingadmissionpolicybindings mutatingwebhookconfigurations validatingadmissionpolicies validatingadmissionpolicies/status validatingadmissionpolicybindings validatingwebhookconfigurations
apiextensions.k8s.io/v1 customresourcedefinitions customresourcedefinitions/status
scheduling.k8s.io/v1 priorityclasses
coordination.k8s.io/v1 leases
node.k8s.io/v1 runtimeclasses
discovery.k8s.io/v1 endpointslices
resource.k8s.io/v1 deviceclasses resourceclaims resourceclaims/status resourceclaimtemplates resourceslices
flowcontrol.apiserver.k8s.io/v1 flowschemas flowschemas/status prioritylevelconfigurations prioritylevelconfigurations/status
storagemigration.k8s.io/v1 storageversionmigrations storageversionmigrations/status
`

func TestEveryKindIsServed(t *testing.T) {
	s := apitest.Start(t)
	_, lists, err := s.Client.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	for _, l := range lists {
		for _, r := range l.APIResources {
			served = append(served, l.GroupVersion+" "+r.Name)
		}
	}
	for line := range strings.Lines(strings.TrimSpace(stock)) {
		words := strings.Fields(line)
		for _, resource := range words[1:] {
			if !slices.Contains(served, words[0]+" "+resource) {
				t.Errorf("not served: %s %s", words[0], resource)
			}
		}
	}

	config := rest.CopyConfig(s.LoopbackConfig())
	config.ContentType, config.AcceptContentTypes = "application/json", "application/json"
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lists {
		gv, _ := schema.ParseGroupVersion(l.GroupVersion)
		for _, r := range l.APIResources {
			if !strings.Contains(r.Name, "/") {
				t.Run(l.GroupVersion+"/"+r.Name, func(t *testing.T) { tryKind(t, client, gv, r) })
			}
		}
	}
}

// tryKind lists and watches a kind and tries to make an empty object of it: it
// may be refused, but never break.
func tryKind(t *testing.T, client dynamic.Interface, gv schema.GroupVersion, r metav1.APIResource) {
	ctx := t.Context()
	var c dynamic.ResourceInterface = client.Resource(gv.WithResource(r.Name))
	if r.Namespaced {
		c = client.Resource(gv.WithResource(r.Name)).Namespace("default")
	}
	verb := func(v string) bool { return slices.Contains([]string(r.Verbs), v) }
	if verb("list") {
		if _, err := c.List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
			t.Errorf("list: %v", err)
		}
	}
	var events <-chan watch.Event
	if verb("watch") {
		w, err := c.Watch(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatalf("watch: %v", err)
		}
		defer w.Stop()
		events = w.ResultChan()
	}
	if !verb("create") {
		return
	}
	obj := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"generateName": "x-"}}}
	obj.SetGroupVersionKind(gv.WithKind(r.Kind))
	made, err := c.Create(ctx, obj, metav1.CreateOptions{})
	if err != nil {
		if apierrors.ReasonForError(err) == metav1.StatusReasonUnknown || apierrors.IsInternalError(err) {
			t.Errorf("create: %v", err)
		}
		return
	}
	if events != nil {
		if err := sees(ctx, events, made.GetName()); err != nil {
			t.Errorf("watch after create: %v", err)
		}
	}
}

func sees(ctx context.Context, events <-chan watch.Event, name string) error {
	for {
		select {
		case e, ok := <-events:
			if !ok || e.Type == watch.Error {
				return fmt.Errorf("ended with %v", e.Object)
			}
			if u, ok := e.Object.(*unstructured.Unstructured); ok && u.GetName() == name {
				return nil
			}
		case <-time.After(10 * time.Second):
			return fmt.Errorf("%s is not seen", name)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
