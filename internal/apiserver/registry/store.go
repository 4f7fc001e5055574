package registry

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

// Store serves a resource itself: every verb.
type Store struct {
	*genericregistry.Store
	r resource.Resource
}

var (
	_ rest.StandardStorage    = (*Store)(nil)
	_ rest.ShortNamesProvider = (*Store)(nil)
	_ rest.CategoriesProvider = (*Store)(nil)
)

func (s *Store) ShortNames() []string { return s.r.ShortNames }
func (s *Store) Categories() []string { return s.r.Categories }

// Resource is what the store was made from.
func (s *Store) Resource() resource.Resource { return s.r }

// Where a kind lies in etcd, if not under its plural name. They are upstream's.
var keys = map[schema.GroupResource]string{
	{Resource: "nodes"}:                                 "minions",
	{Resource: "services"}:                              "services/specs",
	{Resource: "endpoints"}:                             "services/endpoints",
	{Group: "networking.k8s.io", Resource: "ingresses"}: "ingress",
}

// NewStore makes the storage of r.
func NewStore(b *Backend, s *Scheme, r resource.Resource) (*Store, error) {
	gr := r.GroupVersion.WithResource(r.Name).GroupResource()
	key, ok := keys[gr]
	if !ok {
		key = r.Name
	}
	codec, encode := s.StorageCodec(r.GroupVersion)
	// Events come in numbers, are rarely read and go by themselves: caching
	// them would cost more than it saves.
	isEvent := r.Kind == "Event"
	main := newStrategy(s, r)
	store := &genericregistry.Store{
		NewFunc:                   r.New,
		NewListFunc:               r.NewList,
		DefaultQualifiedResource:  gr,
		SingularQualifiedResource: schema.GroupResource{Group: gr.Group, Resource: r.Singular},
		CreateStrategy:            main,
		UpdateStrategy:            main,
		DeleteStrategy:            main,
		ResetFieldsStrategy:       main,
		TableConvertor:            newTable(r),
	}
	if r.Delete != nil {
		store.DeleteStrategy = graceful{main}
		store.ReturnDeletedObject = true
	}
	if isEvent {
		store.TTLFunc = func(runtime.Object, uint64, bool) (uint64, error) { return eventTTLSeconds, nil }
	}
	options := &generic.StoreOptions{
		RESTOptions: b.Options(gr, key, codec, encode, !isEvent),
		AttrFunc:    attributes(r),
	}
	index(r, options)
	if err := store.CompleteWithOptions(options); err != nil {
		return nil, fmt.Errorf("storage of %s: %w", gr, err)
	}
	return &Store{store, r}, nil
}

const eventTTLSeconds = 3600

// attributes are what label and field selectors see.
func attributes(r resource.Resource) storage.AttrFunc {
	return func(obj runtime.Object) (labels.Set, fields.Set, error) {
		m := accessor(obj)
		set := fields.Set{}
		if r.Fields != nil {
			set = r.Fields(obj)
		}
		set["metadata.name"] = m.GetName()
		if r.Namespaced {
			set["metadata.namespace"] = m.GetNamespace()
		}
		return labels.Set(m.GetLabels()), set, nil
	}
}

// index makes watches and lists narrowed by r.IndexField look at the matching objects only.
func index(r resource.Resource, o *generic.StoreOptions) {
	if r.IndexField == "" {
		return
	}
	value := func(obj runtime.Object) string { return r.Fields(obj)[r.IndexField] }
	o.TriggerFunc = storage.IndexerFuncs{r.IndexField: value}
	o.Indexers = &cache.Indexers{storage.FieldIndex(r.IndexField): func(obj any) ([]string, error) {
		return []string{value(obj.(runtime.Object))}, nil
	}}
}

// Sub is another way to update the objects of a Store.
type Sub struct {
	store *genericregistry.Store
	reset rest.ResetFieldsStrategy
}

var (
	_ rest.Patcher             = (*Sub)(nil)
	_ rest.ResetFieldsStrategy = (*Sub)(nil)
	_ rest.TableConvertor      = (*Sub)(nil)
)

// Sub returns the subresource that r.Subresources describes under name.
func (s *Store) Sub(name string) *Sub {
	strategy := s.CreateStrategy.(strategy).sub(name)
	store := *s.Store
	store.UpdateStrategy, store.ResetFieldsStrategy = strategy, strategy
	return &Sub{&store, strategy}
}

// Standard is all the verbs, an update being the subresource's.
func (s *Sub) Standard() rest.StandardStorage { return s.store }

func (s *Sub) New() runtime.Object { return s.store.New() }
func (s *Sub) Destroy()            {} // the Store's

func (s *Sub) Get(ctx context.Context, name string, o *metav1.GetOptions) (runtime.Object, error) {
	return s.store.Get(ctx, name, o)
}

// Update never creates, whatever it is asked: subresources exist with their object.
func (s *Sub) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, _ bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return s.store.Update(ctx, name, info, create, update, false, o)
}

func (s *Sub) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.reset.GetResetFields()
}

func (s *Sub) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return s.store.ConvertToTable(ctx, obj, options)
}
