package registry

import (
	"fmt"
	"reflect"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

// Group is an API group: its types and its versions, the preferred one first.
// Types are registered as hub in that order, the first version that has a kind wins.
type Group struct {
	Name        string
	Versions    []string
	AddToScheme []func(*runtime.Scheme) error
}

// Convert registers real conversions, for kinds with several Go types.
type Convert func(*runtime.Scheme) error

// Scheme holds the types and how they are read and written.
type Scheme struct {
	*runtime.Scheme
	Codecs    serializer.CodecFactory
	Parameter runtime.ParameterCodec
}

// NewScheme registers the groups' types, each also as hub.
func NewScheme(groups []Group, resources []resource.Resource, conversions ...Convert) (*Scheme, error) {
	s := &Scheme{Scheme: runtime.NewScheme()}
	metav1.AddToGroupVersion(s.Scheme, schema.GroupVersion{Version: "v1"})
	s.AddUnversionedTypes(schema.GroupVersion{Version: "v1"},
		&metav1.Status{}, &metav1.APIVersions{}, &metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})
	if err := metainternalversion.AddToScheme(s.Scheme); err != nil {
		return nil, err
	}
	for _, g := range groups {
		if err := s.addGroup(g); err != nil {
			return nil, fmt.Errorf("API group %q: %w", g.Name, err)
		}
	}
	for _, convert := range conversions { // before the hubs: a conversion may bring its own
		if err := convert(s.Scheme); err != nil {
			return nil, err
		}
	}
	for _, g := range groups {
		s.addHubs(g)
	}
	for _, r := range resources {
		s.addResource(r)
	}
	s.Codecs = serializer.NewCodecFactory(s.Scheme,
		serializer.WithStreamingCollectionEncodingToJSON(), serializer.WithStreamingCollectionEncodingToProtobuf())
	s.Parameter = runtime.NewParameterCodec(s.Scheme)
	return s, nil
}

func (s *Scheme) addGroup(g Group) error {
	for _, add := range g.AddToScheme {
		if err := add(s.Scheme); err != nil {
			return err
		}
	}
	var versions []schema.GroupVersion
	for _, v := range g.Versions {
		versions = append(versions, schema.GroupVersion{Group: g.Name, Version: v})
	}
	return s.SetVersionPriority(versions...)
}

func (s *Scheme) addHubs(g Group) {
	for _, v := range g.Versions {
		for kind, t := range s.KnownTypes(schema.GroupVersion{Group: g.Name, Version: v}) {
			s.addHub(g.Name, kind, t)
		}
	}
}

// addHub registers t as "__internal", which the library's handlers take for
// the hub. Options and watch events have hubs of the library's own.
func (s *Scheme) addHub(group, kind string, t reflect.Type) {
	hub := schema.GroupVersionKind{Group: group, Version: runtime.APIVersionInternal, Kind: kind}
	if t.PkgPath() == "k8s.io/apimachinery/pkg/apis/meta/v1" || s.Recognizes(hub) {
		return
	}
	s.AddKnownTypeWithName(hub, reflect.New(t).Interface().(runtime.Object))
}

func (s *Scheme) addResource(r resource.Resource) {
	if r.Default != nil {
		s.AddTypeDefaultingFunc(r.New(), func(obj any) { r.Default(obj.(runtime.Object)) })
	}
	selectable := map[string]bool{"metadata.name": true, "metadata.namespace": r.Namespaced}
	if r.Fields != nil {
		for f := range r.Fields(r.New()) {
			selectable[f] = true
		}
	}
	utilruntime.Must(s.AddFieldLabelConversionFunc(r.GroupVersion.WithKind(r.Kind),
		func(label, value string) (string, string, error) {
			if !selectable[label] {
				return "", "", fmt.Errorf("field label not supported: %s", label)
			}
			if r.StoredField != nil {
				label = r.StoredField(label)
			}
			return label, value, nil
		}))
}

// StorageCodec reads and writes protobuf, as version gv of the kind.
func (s *Scheme) StorageCodec(gv schema.GroupVersion) (runtime.Codec, runtime.GroupVersioner) {
	info, ok := runtime.SerializerInfoForMediaType(s.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		panic("no protobuf serializer") // built in above
	}
	encode := runtime.NewMultiGroupVersioner(gv, schema.GroupKind{Group: gv.Group})
	decode := schema.GroupVersion{Group: gv.Group, Version: runtime.APIVersionInternal}
	return s.Codecs.CodecForVersions(info.Serializer, s.Codecs.UniversalDeserializer(), encode, decode), encode
}
