package apiserver_test

import (
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/proa-project/proa/internal/apiserver/apitest"
	"github.com/proa-project/proa/internal/apiserver/token"
)

func TestObjectsLive(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	maps := s.Client.CoreV1().ConfigMaps("default")

	w, err := maps.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	made, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}, Data: map[string]string{"k": "v"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if e := <-w.ResultChan(); e.Type != "ADDED" || e.Object.(*corev1.ConfigMap).Name != made.Name {
		t.Fatalf("watch saw %v %v, want ADDED %s", e.Type, e.Object, made.Name)
	}
	if len(made.ManagedFields) == 0 {
		t.Error("no managed fields")
	}

	tls, err := kubernetes.NewForConfig(s.TLSConfig(t, "admin", "system:masters"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := tls.CoreV1().ConfigMaps("default").Get(ctx, made.Name, metav1.GetOptions{})
	if err != nil || got.Data["k"] != "v" {
		t.Fatalf("over TLS: %v, %v", got, err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	s := apitest.Start(t)
	c := s.TLSConfig(t, "nobody")
	c.CertData, c.KeyData = nil, nil
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("without a certificate: %v, want unauthorized", err)
	}
	for _, path := range []string{"/healthz", "/livez", "/readyz", "/version"} {
		if body, err := client.RESTClient().Get().AbsPath(path).DoRaw(t.Context()); err != nil {
			t.Errorf("%s: %v %s", path, err, body)
		}
	}
	other, err := kubernetes.NewForConfig(rest.CopyConfig(s.TLSConfig(t, "somebody")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("without a role: %v, want forbidden", err)
	}
}

func TestServiceAccountTokens(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	account, err := s.Client.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod, err := s.Client.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       corev1.PodSpec{ServiceAccountName: "a", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(pod.Spec.Volumes); n != 1 || pod.Spec.Volumes[0].Projected == nil {
		t.Errorf("volumes %v, want the token's", pod.Spec.Volumes)
	}
	made, err := s.Client.CoreV1().ServiceAccounts("default").CreateToken(ctx, "a", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: "p"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := s.TLSConfig(t, "nobody")
	c.CertData, c.KeyData, c.BearerToken = nil, nil, made.Status.Token
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	me, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u := me.Status.UserInfo
	if u.Username != "system:serviceaccount:default:a" || u.UID != string(account.UID) || len(u.Extra["authentication.kubernetes.io/pod-name"]) != 1 {
		t.Errorf("the token is of %+v", u)
	}
	if _, err := client.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("secrets without a role: %v, want forbidden", err)
	}

	document, err := s.Client.Discovery().RESTClient().Get().AbsPath(token.ConfigurationPath).DoRaw(ctx)
	if want := `"jwks_uri":"https://` + strings.TrimPrefix(s.TLSConfig(t, "x").Host, "https://") + token.KeysPath; err != nil || !strings.Contains(string(document), want) {
		t.Errorf("keys to verify the token with: %s, want %s (%v)", document, want, err)
	}

	zero := int64(0)
	if err := s.Client.CoreV1().Pods("default").Delete(ctx, "p", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token dies with its pod", func() bool {
		review, err := s.Client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: made.Status.Token}}, metav1.CreateOptions{})
		return err == nil && !review.Status.Authenticated
	})
}

// Of an event in its newer shape only the series changes; its time is compared as
// precisely as it is stored.
func TestEventsInTheirNewerShapeTakeASeries(t *testing.T) {
	s := apitest.Start(t)
	ctx, at := t.Context(), metav1.NewMicroTime(time.Unix(1700000000, 123456789))
	events := s.Client.EventsV1().Events("default")
	event, err := events.Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "default"}, EventTime: at, Type: "Normal", Reason: "Tried", Action: "Do",
		ReportingController: "tester", ReportingInstance: "tester-1", Regarding: corev1.ObjectReference{Kind: "Pod", Name: "p", Namespace: "default"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	event.EventTime, event.Series = at, &eventsv1.EventSeries{Count: 2, LastObservedTime: at}
	if event, err = events.Update(ctx, event, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	event.EventTime = metav1.NewMicroTime(at.Add(time.Microsecond))
	if _, err = events.Update(ctx, event, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("another time: %v, want Invalid", err)
	}
}

// One stored event, two shapes: each is selected by the names of its own fields.
func TestEventsAreSelectedInBothShapes(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	if _, err := s.Client.EventsV1().Events("default").Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "default"}, EventTime: metav1.NowMicro(), Type: "Normal", Reason: "Tried", Action: "Do",
		ReportingController: "tester", ReportingInstance: "tester-1", Regarding: corev1.ObjectReference{Kind: "Pod", Name: "p", Namespace: "default"},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, selector := range []string{"reportingController=tester", "regarding.name=p,reason=Tried", "reportingController!=other"} {
		list, err := s.Client.EventsV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: selector})
		if err != nil || len(list.Items) != 1 {
			t.Errorf("events.k8s.io, %s: %v, %v", selector, list, err)
		}
	}
	for _, selector := range []string{"reportingComponent=tester", "source=tester", "involvedObject.name=p"} {
		list, err := s.Client.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: selector})
		if err != nil || len(list.Items) != 1 {
			t.Errorf("core, %s: %v, %v", selector, list, err)
		}
	}
}
