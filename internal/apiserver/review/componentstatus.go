package review

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
)

// ComponentStatuses tells how the store is. The kind is deprecated; what stock
// clients still ask for is this one component.
type ComponentStatuses struct{ Etcd func(context.Context) error }

var (
	_ rest.Lister               = ComponentStatuses{}
	_ rest.Getter               = ComponentStatuses{}
	_ rest.Scoper               = ComponentStatuses{}
	_ rest.SingularNameProvider = ComponentStatuses{}
	_ rest.ShortNamesProvider   = ComponentStatuses{}
)

var componentStatuses = schema.GroupResource{Resource: "componentstatuses"}

func (ComponentStatuses) New() runtime.Object     { return &corev1.ComponentStatus{} }
func (ComponentStatuses) NewList() runtime.Object { return &corev1.ComponentStatusList{} }
func (ComponentStatuses) Destroy()                {}
func (ComponentStatuses) NamespaceScoped() bool   { return false }
func (ComponentStatuses) GetSingularName() string { return "componentstatus" }
func (ComponentStatuses) ShortNames() []string    { return []string{"cs"} }

func (c ComponentStatuses) List(ctx context.Context, _ *metainternalversion.ListOptions) (runtime.Object, error) {
	return &corev1.ComponentStatusList{Items: []corev1.ComponentStatus{c.etcd(ctx)}}, nil
}

func (c ComponentStatuses) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	status := c.etcd(ctx)
	if name != status.Name {
		return nil, apierrors.NewNotFound(componentStatuses, name)
	}
	return &status, nil
}

func (c ComponentStatuses) etcd(ctx context.Context) corev1.ComponentStatus {
	condition := corev1.ComponentCondition{Type: corev1.ComponentHealthy, Status: corev1.ConditionTrue, Message: "ok"}
	if err := c.Etcd(ctx); err != nil {
		condition.Status, condition.Message, condition.Error = corev1.ConditionFalse, "", err.Error()
	}
	return corev1.ComponentStatus{ObjectMeta: metav1.ObjectMeta{Name: "etcd-0"}, Conditions: []corev1.ComponentCondition{condition}}
}

func (ComponentStatuses) ConvertToTable(_ context.Context, obj, o runtime.Object) (*metav1.Table, error) {
	t := &metav1.Table{}
	if o, ok := o.(*metav1.TableOptions); !ok || !o.NoHeaders {
		t.ColumnDefinitions = []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name"}, {Name: "Status", Type: "string"},
			{Name: "Message", Type: "string"}, {Name: "Error", Type: "string"},
		}
	}
	add := func(s corev1.ComponentStatus) {
		health := "Unhealthy"
		if s.Conditions[0].Status == corev1.ConditionTrue {
			health = "Healthy"
		}
		t.Rows = append(t.Rows, metav1.TableRow{
			Cells:  []any{s.Name, health, s.Conditions[0].Message, s.Conditions[0].Error},
			Object: runtime.RawExtension{Object: &s},
		})
	}
	switch obj := obj.(type) {
	case *corev1.ComponentStatusList:
		for _, s := range obj.Items {
			add(s)
		}
	case *corev1.ComponentStatus:
		add(*obj)
	}
	return t, nil
}
