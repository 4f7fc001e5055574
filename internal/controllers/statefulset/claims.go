package statefulset

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeClaims makes the claims of a pod that are missing.
func (c *controller) makeClaims(ctx context.Context, set *appsv1.StatefulSet, p *v1.Pod) error {
	ordinal, _ := ordinalOf(set, p)
	var failed []error
	for _, claim := range newClaims(set, ordinal) {
		have, err := c.claims.PersistentVolumeClaims(claim.Namespace).Get(claim.Name)
		switch {
		case apierrors.IsNotFound(err):
			failed = append(failed, c.makeClaim(ctx, set, p, claim))
		case err != nil:
			failed = append(failed, err)
		case have.DeletionTimestamp != nil:
			failed = append(failed, fmt.Errorf("pvc %s is being deleted", claim.Name))
		}
	}
	return errors.Join(failed...)
}

func (c *controller) makeClaim(ctx context.Context, set *appsv1.StatefulSet, p *v1.Pod, claim *v1.PersistentVolumeClaim) error {
	_, err := c.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Create(ctx, claim, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil // the cache is behind
	case err != nil:
		c.recorder.Eventf(set, v1.EventTypeWarning, "FailedCreate", "Create Claim %s for Pod %s in StatefulSet %s failed error: %s", claim.Name, p.Name, set.Name, err)
		return fmt.Errorf("failed to create PVC %s: %w", claim.Name, err)
	}
	c.recorder.Eventf(set, v1.EventTypeNormal, "SuccessfulCreate", "Create Claim %s Pod %s in StatefulSet %s success", claim.Name, p.Name, set.Name)
	return nil
}

// ownClaims gives the claims of a pod the owners that the retention policy wants.
func (c *controller) ownClaims(ctx context.Context, set *appsv1.StatefulSet, p *v1.Pod) error {
	ordinal, _ := ordinalOf(set, p)
	for _, want := range newClaims(set, ordinal) {
		claim, err := c.claims.PersistentVolumeClaims(want.Namespace).Get(want.Name)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		refs, changed, conflict := claimOwners(set, p, claim)
		if !changed {
			continue
		}
		if conflict {
			c.recorder.Eventf(set, v1.EventTypeWarning, "ConflictingController",
				"PersistentVolumeClaim %s has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim", claim.Name)
		}
		now := claim.DeepCopy()
		now.OwnerReferences = refs
		_, err = c.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Update(ctx, now, metav1.UpdateOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("could not update claim %s for delete policy ownerRefs: %w", claim.Name, err)
		}
	}
	return nil
}

// staleClaims says that a claim of a pod to be made still belongs to one that
// was scaled away, and will go with it.
func (c *controller) staleClaims(set *appsv1.StatefulSet, p *v1.Pod) bool {
	if _, withPod := retention(set); !withPod {
		return false
	}
	ordinal, _ := ordinalOf(set, p)
	for _, want := range newClaims(set, ordinal) {
		claim, err := c.claims.PersistentVolumeClaims(want.Namespace).Get(want.Name)
		if err == nil && isStale(claim, podKind.Kind, p) {
			return true
		}
	}
	return false
}
