package csi

import (
	"context"
	"errors"
	"fmt"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How often the attachment of a volume is looked at while it is awaited. A node
// may read attachments, but not watch them.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = time.Second
)

// awaitAttached waits until the volume is attached to this node and returns what
// the driver's controller has to tell its node part. Drivers that want no
// attachment say so in their object.
func (m *Manager) awaitAttached(ctx context.Context, object *storagev1.CSIDriver, v *Volume) (map[string]string, error) {
	if !attaches(object) {
		return nil, nil
	}
	name := attachmentName(v.handle(), v.driver(), m.cfg.Node)
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		a, err := m.cfg.Client.StorageV1().VolumeAttachments().Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("volume %v has GET error for volume attachment %v: %w", v.handle(), name, err)
		}
		if err == nil {
			if attached, err := isAttached(a); attached || err != nil {
				return a.Status.AttachmentMetadata, err
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("timed out waiting for external-attacher of %v CSI driver to attach volume %v", v.driver(), v.handle())
		}
	}
}

func isAttached(a *storagev1.VolumeAttachment) (bool, error) {
	switch {
	case a.DeletionTimestamp != nil:
		return false, errors.New("volume attachment is being deleted")
	case a.Status.Attached:
		return true, nil
	case a.Status.AttachError != nil:
		return false, errors.New(a.Status.AttachError.Message)
	}
	return false, nil
}
