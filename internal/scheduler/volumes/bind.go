package volumes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	storagehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/proa-project/proa/internal/scheduler"
)

// reservation is what a pod was promised on its way to a node.
type reservation struct {
	*Binder
	node    *v1.Node
	volumes []*v1.PersistentVolume      // as they will be, one for each of matched
	matched []*v1.PersistentVolumeClaim // the claims that get them
	called  []*v1.PersistentVolumeClaim // as they will be: a provisioner is called for them
}

var _ scheduler.Reservation = (*reservation)(nil)

// Release takes the promises back.
func (r *reservation) Release() { r.promises.forget(r.volumes, r.called) }

// Bind writes what was promised and waits until every claim is bound.
func (r *reservation) Bind(ctx context.Context) error {
	for _, v := range r.volumes {
		if _, err := r.client.CoreV1().PersistentVolumes().Update(ctx, v, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("bind volume %s: %w", v.Name, err)
		}
	}
	for _, claim := range r.called {
		if err := r.call(ctx, claim); err != nil {
			return fmt.Errorf("select node for claim %s: %w", claim.Name, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("binding volumes: timed out waiting for the condition"))
	defer cancel()
	for {
		change := r.change() // before the look: what comes during it is not missed
		bound, err := r.allBound()
		if bound || err != nil {
			return err
		}
		select {
		case <-change:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// call patches the annotation alone: the binder writes to the claim at the same time.
func (r *reservation) call(ctx context.Context, claim *v1.PersistentVolumeClaim) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         claim.UID,
		"annotations": map[string]string{storagehelpers.AnnSelectedNode: r.node.Name},
	}})
	if err != nil {
		return err
	}
	_, err = r.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func (r *reservation) allBound() (bool, error) {
	all := true
	for i, claim := range r.matched {
		now, err := r.now(claim)
		if err != nil {
			return false, err
		}
		v := r.volumeNamed(r.volumes[i].Name)
		if v == nil {
			return false, fmt.Errorf("volume %s is gone", r.volumes[i].Name)
		}
		if v.Spec.ClaimRef == nil && r.promises.volume(v) == v {
			return false, fmt.Errorf("volume %s was taken from claim %s", v.Name, claim.Name)
		}
		all = all && boundFully(now)
	}
	for _, claim := range r.called {
		bound, err := r.provided(claim)
		if err != nil {
			return false, err
		}
		all = all && bound
	}
	return all, nil
}

// now is the claim as the informer shows it; an error when it is gone.
func (r *reservation) now(claim *v1.PersistentVolumeClaim) (*v1.PersistentVolumeClaim, error) {
	now, err := r.claims.PersistentVolumeClaims(claim.Namespace).Get(claim.Name)
	if err == nil && now.UID != claim.UID {
		err = apierrors.NewNotFound(v1.Resource("persistentvolumeclaims"), claim.Name)
	}
	return now, err
}

// provided tells whether a provisioner has made the claim's volume, where the
// pod can reach it. One that can't takes the annotation away.
func (r *reservation) provided(claim *v1.PersistentVolumeClaim) (bool, error) {
	now, err := r.now(claim)
	if err != nil {
		return false, err
	}
	if r.promises.claim(now) != now {
		return false, nil // the informer is behind the patch
	}
	if now.Annotations[storagehelpers.AnnSelectedNode] != r.node.Name {
		return false, fmt.Errorf("provisioning failed for PVC %q", claim.Name)
	}
	if v := r.volumeNamed(now.Spec.VolumeName); v != nil {
		if err := storagehelpers.CheckNodeAffinity(v, r.node.Labels); err != nil {
			return false, fmt.Errorf("pv %q node affinity doesn't match node %q: %w", v.Name, r.node.Name, err)
		}
	}
	return boundFully(now), nil
}
