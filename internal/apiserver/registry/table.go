package registry

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

// table prints a kind as kubectl get shows it.
type table struct{ r resource.Resource }

var _ rest.TableConvertor = table{}

func newTable(r resource.Resource) table {
	if r.Row == nil {
		r.Columns, r.Row = nameAndAge, nameAndAgeRow
	}
	return table{r}
}

func (t table) ConvertToTable(_ context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	out := &metav1.Table{}
	if o, ok := options.(*metav1.TableOptions); !ok || !o.NoHeaders {
		out.ColumnDefinitions = t.r.Columns
	}
	now := metav1.NewTime(time.Now())
	add := func(obj runtime.Object) error {
		row := metav1.TableRow{Cells: t.r.Row(obj, now), Object: runtime.RawExtension{Object: obj}}
		if t.r.RowConditions != nil {
			row.Conditions = t.r.RowConditions(obj)
		}
		out.Rows = append(out.Rows, row)
		return nil
	}
	if !meta.IsListType(obj) {
		m, err := meta.CommonAccessor(obj)
		if err != nil {
			return nil, err
		}
		out.ResourceVersion = m.GetResourceVersion()
		return out, add(obj)
	}
	m, err := meta.ListAccessor(obj)
	if err != nil {
		return nil, err
	}
	out.ResourceVersion, out.Continue, out.RemainingItemCount = m.GetResourceVersion(), m.GetContinue(), m.GetRemainingItemCount()
	return out, meta.EachListItem(obj, add)
}

var (
	metaDoc    = metav1.ObjectMeta{}.SwaggerDoc()
	nameAndAge = []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: metaDoc["name"]},
		{Name: "Age", Type: "string", Description: metaDoc["creationTimestamp"]},
	}
)

func nameAndAgeRow(obj runtime.Object, now metav1.Time) []any {
	m := accessor(obj)
	age := "<unknown>"
	if c := m.GetCreationTimestamp(); !c.IsZero() {
		age = duration.HumanDuration(now.Sub(c.Time))
	}
	return []any{m.GetName(), age}
}
