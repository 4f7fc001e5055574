package persistentvolume

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// write brings both objects to what was decided, the volume first, and tells the
// user when all is written.
func (c *controller) write(ctx context.Context, volume *v1.PersistentVolume, claim *v1.PersistentVolumeClaim, o outcome) error {
	if o.volume != nil {
		if err := c.writeVolume(ctx, volume, o.volume); err != nil {
			return err
		}
	}
	if o.claim != nil {
		if err := c.writeClaim(ctx, claim, o.claim); err != nil {
			return err
		}
	}
	for _, e := range o.events {
		if e.ofVolume {
			c.recorder.Event(volume, e.kind, e.reason, e.message)
		} else {
			c.recorder.Event(claim, e.kind, e.reason, e.message)
		}
	}
	return nil
}

func (c *controller) writeVolume(ctx context.Context, have, want *v1.PersistentVolume) error {
	volumes := c.client.CoreV1().PersistentVolumes()
	if !equality.Semantic.DeepEqual(have.Spec, want.Spec) || !equality.Semantic.DeepEqual(have.Annotations, want.Annotations) {
		written, err := volumes.Update(ctx, want, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		c.latestVolumes.Wrote(written)
		have = written
	}
	if equality.Semantic.DeepEqual(have.Status, want.Status) {
		return nil
	}
	fresh := have.DeepCopy()
	fresh.Status.Phase, fresh.Status.Message = want.Status.Phase, want.Status.Message
	written, err := volumes.UpdateStatus(ctx, fresh, metav1.UpdateOptions{})
	if err == nil {
		c.latestVolumes.Wrote(written)
	}
	return err
}

func (c *controller) writeClaim(ctx context.Context, have, want *v1.PersistentVolumeClaim) error {
	claims := c.client.CoreV1().PersistentVolumeClaims(want.Namespace)
	if !equality.Semantic.DeepEqual(have.Spec, want.Spec) || !equality.Semantic.DeepEqual(have.Annotations, want.Annotations) {
		written, err := claims.Update(ctx, want, metav1.UpdateOptions{})
		if err != nil {
			return err
		}
		c.latestClaims.Wrote(written)
		have = written
	}
	if equality.Semantic.DeepEqual(have.Status, want.Status) {
		return nil
	}
	fresh := have.DeepCopy()
	fresh.Status = want.Status
	written, err := claims.UpdateStatus(ctx, fresh, metav1.UpdateOptions{})
	if err == nil {
		c.latestClaims.Wrote(written)
	}
	return err
}
