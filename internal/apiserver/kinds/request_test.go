package kinds

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"
	"sigs.k8s.io/yaml"

	"github.com/proa-project/proa/internal/apiserver/admissionregistration"
	"github.com/proa-project/proa/internal/apiserver/apps"
	"github.com/proa-project/proa/internal/apiserver/autoscaling"
	"github.com/proa-project/proa/internal/apiserver/batch"
	"github.com/proa-project/proa/internal/apiserver/certificates"
	"github.com/proa-project/proa/internal/apiserver/coordination"
	"github.com/proa-project/proa/internal/apiserver/core"
	"github.com/proa-project/proa/internal/apiserver/discovery"
	"github.com/proa-project/proa/internal/apiserver/events"
	"github.com/proa-project/proa/internal/apiserver/flowcontrol"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/networking"
	"github.com/proa-project/proa/internal/apiserver/nodeapi"
	"github.com/proa-project/proa/internal/apiserver/policy"
	"github.com/proa-project/proa/internal/apiserver/rbac"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/resourceapi"
	"github.com/proa-project/proa/internal/apiserver/scheduling"
	"github.com/proa-project/proa/internal/apiserver/storage"
	"github.com/proa-project/proa/internal/apiserver/storagemigration"
)

func resources() []resource.Resource {
	return slices.Concat(
		core.Resources(), apps.Resources(), batch.Resources(), autoscaling.Resources(), policy.Resources(),
		rbac.Resources(), networking.Resources(), storage.Resources(), coordination.Resources(), discovery.Resources(),
		events.Resources(), scheduling.Resources(), nodeapi.Resources(), certificates.Resources(),
		admissionregistration.Resources(), flowcontrol.Resources(), resourceapi.Resources(), storagemigration.Resources(),
		[]resource.Resource{core.ComponentStatuses()},
	)
}

// A server answers requests for one kind as ours does, without storing anything.
type server struct {
	resource.Resource
	said []string
}

func (s *server) AddWarning(_, text string) { s.said = append(s.said, text) }

func (s *server) request(op string) context.Context {
	info := &request.RequestInfo{
		IsResourceRequest: true, APIGroup: s.GroupVersion.Group, APIVersion: s.GroupVersion.Version, Resource: s.Name,
	}
	if _, sub := s.Subresources[op]; sub {
		info.Subresource = op
	}
	ctx := warning.WithWarningRecorder(context.Background(), s)
	ctx = request.WithRequestInfo(request.WithNamespace(ctx, "default"), info)
	ctx = request.WithReceivedTimestamp(ctx, time.Now())
	return request.WithUser(ctx, &user.DefaultInfo{Name: "admin", UID: "uid-1", Groups: []string{"system:masters", "system:authenticated"}})
}

// decode makes an object as a client sends it: defaulted.
func (s *server) decode(raw any) (runtime.Object, error) {
	data, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	obj := s.New()
	if err := json.Unmarshal(data, obj); err != nil {
		return nil, err
	}
	if s.Default != nil {
		s.Default(obj)
	}
	accessor(obj).SetUID("u")
	return obj, nil
}

func (s *server) prepare(ctx context.Context, obj runtime.Object) {
	if _, ok := s.Subresources["status"]; ok && !s.StatusAtCreation {
		fieldOf(obj, "Status").SetZero()
	}
	if s.Generation {
		accessor(obj).SetGeneration(1)
	}
	if s.Prepare != nil {
		s.Prepare(ctx, obj)
	}
}

func (s *server) create(obj runtime.Object) string {
	ctx := s.request("create")
	s.prepare(ctx, obj)
	name := s.CheckName
	if name == nil {
		name = apivalidation.NameIsDNSSubdomain
	}
	at := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMetaAccessor(accessor(obj), s.Namespaced, name, at)
	errs = append(errs, meta.Finalizers(at.Child("finalizers"), accessor(obj).GetFinalizers())...)
	if s.Check != nil {
		errs = append(errs, s.Check(ctx, obj)...)
	}
	if len(errs) == 0 && s.Warn != nil {
		s.said = append(s.said, s.Warn(ctx, obj)...)
	}
	return s.outcome(errs)
}

func (s *server) way(op string) resource.Update {
	if sub, ok := s.Subresources[op]; ok {
		return sub
	}
	return s.Update
}

func (s *server) prepareUpdate(ctx context.Context, op string, obj, old runtime.Object) {
	u := s.way(op)
	for _, path := range u.Reset {
		switch {
		case len(path) > 1:
		case path[0] == "metadata":
			metav1.ResetObjectMetaForStatus(accessor(obj), accessor(old))
		case path[0] == "spec":
			fieldOf(obj, "Spec").Set(fieldOf(old, "Spec"))
		case path[0] == "status":
			fieldOf(obj, "Status").Set(fieldOf(old, "Status"))
		}
	}
	if u.PrepareUpdate != nil {
		u.PrepareUpdate(ctx, obj, old)
	}
	if s.Generation && !equality.Semantic.DeepEqual(s.spec(obj), s.spec(old)) {
		accessor(obj).SetGeneration(accessor(old).GetGeneration() + 1)
	}
}

func (s *server) spec(obj runtime.Object) any {
	if s.SpecOf != nil {
		return s.SpecOf(obj)
	}
	spec := obj.DeepCopyObject()
	for _, name := range []string{"TypeMeta", "ObjectMeta", "Status"} {
		if f := fieldOf(spec, name); f.IsValid() {
			f.SetZero()
		}
	}
	return spec
}

func (s *server) update(op string, obj, old runtime.Object) string {
	ctx, u := s.request(op), s.way(op)
	accessor(obj).SetResourceVersion("1")
	accessor(old).SetResourceVersion("1")
	s.prepareUpdate(ctx, op, obj, old)
	at := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMetaAccessorUpdate(accessor(obj), accessor(old), at)
	errs = append(errs, meta.Finalizers(at.Child("finalizers"), accessor(obj).GetFinalizers())...)
	if u.CheckUpdate != nil {
		errs = append(errs, u.CheckUpdate(ctx, obj, old)...)
	}
	if len(errs) == 0 && u.WarnUpdate != nil {
		s.said = append(s.said, u.WarnUpdate(ctx, obj, old)...)
	}
	return s.outcome(errs)
}

// outcome sorts errors, for stock goes through maps in no order.
func (s *server) outcome(errs field.ErrorList) string {
	var lines []string
	for _, err := range errs {
		lines = append(lines, "error: "+strings.ReplaceAll(err.Error(), "\n", `\n`))
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	for _, w := range s.said {
		lines = append(lines, "warning: "+w)
	}
	if len(lines) == 0 {
		return "ok"
	}
	return strings.Join(lines, "\n")
}

func (s *server) show(t testing.TB, obj runtime.Object) string {
	t.Helper()
	obj.GetObjectKind().SetGroupVersionKind(s.GroupVersion.WithKind(s.Kind))
	out, err := yaml.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func (s *server) row(obj runtime.Object, now metav1.Time) []any {
	if s.Row == nil {
		return meta.PlainRow(accessor(obj))
	}
	return s.Row(obj, now)
}

func accessor(obj runtime.Object) metav1.Object { return obj.(metav1.Object) }

func fieldOf(obj runtime.Object, name string) reflect.Value {
	return reflect.ValueOf(obj).Elem().FieldByName(name)
}
