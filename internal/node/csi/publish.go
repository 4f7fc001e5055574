package csi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// callTime bounds what is asked of a driver for one volume. What timed out may go
// on in the driver: the next call, or the unmounting, finds it.
const callTime = 2 * time.Minute

// Mounted is what came of a Mount.
type Mounted struct {
	Path string // folder, or device
	// Fresh: it was published by this very call.
	Fresh bool
	// GiveToGroup: the files are the agent's to give to the pod's group.
	GiveToGroup bool
	// Republish: the driver wants to be asked again from time to time.
	Republish bool
}

// Mount stages the volume on this node, if need be, and publishes it in dir, a
// pod's folder for it. again is for a volume that is published already.
func (m *Manager) Mount(ctx context.Context, v *Volume, dir string, again bool) (Mounted, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	d, err := m.drivers.get(v.driver())
	if err != nil {
		return Mounted{}, err
	}
	object, err := m.driverObject(ctx, v.driver())
	if err != nil {
		return Mounted{}, err
	}
	if err := v.lives(object); err != nil {
		return Mounted{}, err
	}
	release := m.hold(id{v.driver(), v.handle()})
	defer release()
	out := Mounted{
		Path:        filepath.Join(dir, mountFolder),
		GiveToGroup: v.ownsGroup(object) && !d.can[pb.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP],
		Republish:   object != nil && object.Spec.RequiresRepublish != nil && *object.Spec.RequiresRepublish,
	}
	if v.block() {
		out.Path = filepath.Join(dir, deviceFile)
	}
	if there, err := published(out.Path, v.block()); err != nil || there && !again {
		return out, err
	}
	if err := m.note(ctx, v, dir, attaches(object)); err != nil {
		return out, err
	}
	request := &pb.NodePublishVolumeRequest{
		VolumeId: v.handle(), TargetPath: out.Path, Readonly: v.ReadOnly,
		VolumeCapability: v.capability(d.can, groupOf(v.Pod)), VolumeContext: v.attributes(),
	}
	if v.Persistent != nil {
		if request.PublishContext, request.StagingTargetPath, err = m.stage(ctx, d, object, v); err != nil {
			return out, err
		}
	}
	if err := m.confide(ctx, v, object, request); err != nil {
		return out, err
	}
	_, err = d.node.NodePublishVolume(ctx, request)
	out.Fresh = err == nil && !again
	return out, err
}

// note makes the record of a volume, before a driver touches it.
func (m *Manager) note(ctx context.Context, v *Volume, dir string, attached bool) error {
	r := record{Volume: v.Name, Handle: v.handle(), Driver: v.driver(), Node: m.cfg.Node, Mode: string(v.mode())}
	if v.Persistent == nil || !attached {
		return writeRecord(dir, r)
	}
	r.Attachment = attachmentName(r.Handle, r.Driver, r.Node)
	if err := writeRecord(dir, r); err != nil {
		return err
	}
	return m.reportInUse(ctx)
}

// confide adds what the driver is told in confidence: secrets, the pod, its tokens.
func (m *Manager) confide(ctx context.Context, v *Volume, object *storagev1.CSIDriver, request *pb.NodePublishVolumeRequest) (err error) {
	if request.Secrets, err = m.secret(ctx, "NodePublishSecretRef", v.publishSecret()); err != nil || object == nil {
		return err
	}
	if object.Spec.PodInfoOnMount != nil && *object.Spec.PodInfoOnMount {
		request.VolumeContext = over(request.VolumeContext, v.podInfo())
	}
	if len(object.Spec.TokenRequests) == 0 {
		return nil
	}
	tokens, err := m.tokens(ctx, v.Pod, object.Spec.TokenRequests)
	if err != nil {
		return fmt.Errorf("service account tokens: %w", err)
	}
	if object.Spec.ServiceAccountTokenInSecrets != nil && *object.Spec.ServiceAccountTokenInSecrets {
		request.Secrets = over(request.Secrets, tokens)
	} else {
		request.VolumeContext = over(request.VolumeContext, tokens)
	}
	return nil
}

func (m *Manager) tokens(ctx context.Context, pod *v1.Pod, wanted []storagev1.TokenRequest) (map[string]string, error) {
	issued := map[string]authenticationv1.TokenRequestStatus{}
	for _, want := range wanted {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: want.ExpirationSeconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		}}
		if want.Audience != "" {
			request.Spec.Audiences = []string{want.Audience}
		}
		answer, err := m.cfg.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
		issued[want.Audience] = answer.Status
	}
	text, err := json.Marshal(issued)
	return map[string]string{"csi.storage.k8s.io/serviceAccount.tokens": string(text)}, err
}

func (m *Manager) secret(ctx context.Context, field string, ref *v1.SecretReference) (map[string]string, error) {
	if ref == nil {
		return nil, nil
	}
	secret, err := m.cfg.Client.CoreV1().Secrets(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("fetching %s %s/%s failed: %w", field, ref.Namespace, ref.Name, err)
	}
	out := make(map[string]string, len(secret.Data))
	for key, value := range secret.Data {
		out[key] = string(value)
	}
	return out, nil
}

func groupOf(pod *v1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// published tells whether a driver has put something at the path: a mount, or, for
// a block volume, also a device of its own.
func published(path string, block bool) (bool, error) {
	var stat unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, &stat)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("statx %s: %w", path, err)
	}
	return stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 || block && stat.Mode&unix.S_IFMT == unix.S_IFBLK, nil
}

// Unmount takes down what Mount made in a pod's folder for a volume, in this life
// or another; a folder without a record is none of ours.
func (m *Manager) Unmount(ctx context.Context, dir string) error {
	r, err := readRecord(dir)
	if err != nil || r == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	d, err := m.drivers.get(r.Driver)
	if err != nil {
		return err
	}
	release := m.hold(r.id())
	defer release()
	for _, name := range []string{mountFolder, deviceFile} {
		if err := m.unpublish(ctx, d, r, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if r.Mode == string(storagev1.VolumeLifecycleEphemeral) {
		return dropRecord(dir)
	}
	// The record goes last: it holds the staging.
	users, err := m.users(r.id())
	if err != nil {
		return err
	}
	if len(users) == 1 && users[0] == dir {
		if err := m.unstage(ctx, d, r.id()); err != nil {
			return err
		}
	}
	if err := dropRecord(dir); err != nil || r.Attachment == "" {
		return err
	}
	return m.reportInUse(ctx)
}

// unpublish has the driver clean the path, which it may not have got to make.
func (m *Manager) unpublish(ctx context.Context, d *driver, r *record, path string) error {
	_, missing := os.Lstat(path)
	if filepath.Base(path) == deviceFile && errors.Is(missing, fs.ErrNotExist) {
		return nil
	}
	if _, err := d.node.NodeUnpublishVolume(ctx, &pb.NodeUnpublishVolumeRequest{VolumeId: r.Handle, TargetPath: path}); err != nil {
		return err
	}
	// The driver should have removed it; some don't.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
