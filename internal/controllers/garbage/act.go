package garbage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/retry"
)

// objects gives access to the kind and namespace of an object.
func (c *collector) objects(id identity) (metadata.ResourceInterface, error) {
	c.mu.Lock()
	k, known := c.kinds[id.kind.GroupKind()]
	c.mu.Unlock()
	if !known {
		c.loop.After(discover, 0)
		return nil, fmt.Errorf("%s %s has an owner or kind that the API does not serve: %s", id.namespace, id.name, id.kind)
	}
	if !k.namespaced {
		return c.Metadata.Resource(k.resource), nil
	}
	if id.namespace == "" {
		return nil, errUnresolvable
	}
	return c.Metadata.Resource(k.resource).Namespace(id.namespace), nil
}

func (c *collector) get(ctx context.Context, id identity) (*metav1.PartialObjectMetadata, error) {
	objects, err := c.objects(id)
	if err != nil {
		return nil, err
	}
	return objects.Get(ctx, id.name, metav1.GetOptions{})
}

// remove deletes an object as it was seen: if its owners have changed meanwhile,
// it is looked at again.
func (c *collector) remove(ctx context.Context, id identity, seen *metav1.PartialObjectMetadata, policy metav1.DeletionPropagation) error {
	objects, err := c.objects(id)
	if err != nil {
		return err
	}
	options := metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: metav1.NewUIDPreconditions(string(id.uid))}
	if seen.ResourceVersion != "" {
		options.Preconditions.ResourceVersion = &seen.ResourceVersion
	}
	err = objects.Delete(ctx, id.name, options)
	if apierrors.IsConflict(err) && seen.ResourceVersion != "" {
		live, liveErr := objects.Get(ctx, id.name, metav1.GetOptions{})
		if liveErr == nil && live.UID == id.uid && equality.Semantic.DeepEqual(live.OwnerReferences, seen.OwnerReferences) {
			options.Preconditions.ResourceVersion = nil // only something else changed
			err = objects.Delete(ctx, id.name, options)
		}
	}
	return ignoreGone(err)
}

// setOwners changes the owner references of an object.
func (c *collector) setOwners(ctx context.Context, id identity, change func([]metav1.OwnerReference) []metav1.OwnerReference) error {
	return c.patch(ctx, id, func(o *metav1.PartialObjectMetadata) map[string]any {
		refs := change(o.OwnerReferences)
		if equality.Semantic.DeepEqual(refs, o.OwnerReferences) {
			return nil
		}
		return map[string]any{"ownerReferences": refs}
	})
}

func (c *collector) removeFinalizer(ctx context.Context, id identity, finalizer string) error {
	return c.patch(ctx, id, func(o *metav1.PartialObjectMetadata) map[string]any {
		if !slices.Contains(o.Finalizers, finalizer) {
			return nil
		}
		kept := slices.DeleteFunc(slices.Clone(o.Finalizers), func(f string) bool { return f == finalizer })
		return map[string]any{"finalizers": kept}
	})
}

// patch changes metadata by a merge patch, which every kind understands, bound
// to the version that was read.
func (c *collector) patch(ctx context.Context, id identity, change func(*metav1.PartialObjectMetadata) map[string]any) error {
	objects, err := c.objects(id)
	if err != nil {
		return err
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live, err := objects.Get(ctx, id.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if live.UID != id.uid {
			return nil // another one of that name
		}
		metadata := change(live)
		if metadata == nil {
			return nil
		}
		metadata["resourceVersion"], metadata["uid"] = live.ResourceVersion, live.UID
		body, err := json.Marshal(map[string]any{"metadata": metadata})
		if err != nil {
			return err
		}
		_, err = objects.Patch(ctx, id.name, types.MergePatchType, body, metav1.PatchOptions{})
		return err
	})
	return ignoreGone(err)
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
