package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
)

// SetupError says which volume could not be made; its text is the message of a FailedMount event.
type SetupError struct {
	Volume string
	Err    error
}

func (e *SetupError) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", e.Volume, e.Err)
}

func (e *SetupError) Unwrap() error { return e.Err }

// folderNames are the plugins' names in paths, as stock node agents have them: backup and audit programs look there.
const (
	emptyDirFolder  = "kubernetes.io~empty-dir"
	configMapFolder = "kubernetes.io~configmap"
	secretFolder    = "kubernetes.io~secret"
	downwardFolder  = "kubernetes.io~downward-api"
	projectedFolder = "kubernetes.io~projected"
)

func pluginOf(vol *v1.Volume) (string, error) {
	switch {
	case vol.EmptyDir != nil:
		return emptyDirFolder, nil
	case vol.ConfigMap != nil:
		return configMapFolder, nil
	case vol.Secret != nil:
		return secretFolder, nil
	case vol.DownwardAPI != nil:
		return downwardFolder, nil
	case vol.Projected != nil:
		return projectedFolder, nil
	}
	return "", fmt.Errorf("volumes of type %s are not supported on this node", sourceType(vol.VolumeSource))
}

// sourceType names the one field of the source that is set, as it stands in a manifest.
func sourceType(of any) string {
	source := reflect.ValueOf(of)
	for i := range source.NumField() {
		if field := source.Field(i); field.Kind() == reflect.Pointer && !field.IsNil() {
			name := source.Type().Field(i).Tag.Get("json")
			for j := range name {
				if name[j] == ',' {
					return name[:j]
				}
			}
			return name
		}
	}
	return "(none)"
}

// sources are the inputs of payloads, or why there are none, read once for all volumes of a pod.
type sources struct {
	mu           sync.Mutex
	objects      map[Ref]found
	tokens       map[tokenPlace]issued
	certificates map[tokenPlace]signed
}

type signed struct {
	credential credential
	err        error
}

type found struct {
	objects []runtime.Object
	err     error
}

type issued struct {
	token token
	err   error
}

// gather reads all that the pod's volumes need at once; first reads past the watches.
func (m *Manager) gather(ctx context.Context, state *podState, first bool) *sources {
	out := &sources{objects: map[Ref]found{}, tokens: map[tokenPlace]issued{}, certificates: map[tokenPlace]signed{}}
	read := m.objects.latest
	if first {
		read = m.objects.fetch
	}
	var tasks sync.WaitGroup
	for _, ref := range state.refs {
		tasks.Go(func() {
			objects, err := read(ctx, ref)
			out.mu.Lock()
			defer out.mu.Unlock()
			out.objects[ref] = found{objects, err}
		})
	}
	for place, want := range tokensOf(state.pod) {
		var have *token
		if t, ok := state.tokens[place]; ok {
			have = &t
		}
		tasks.Go(func() {
			t, err := freshToken(ctx, m.cfg.Client, state.pod, want, have, m.cfg.Now())
			out.mu.Lock()
			defer out.mu.Unlock()
			out.tokens[place] = issued{t, err}
		})
	}
	for place, want := range certificatesOf(state.pod) {
		have := state.credentials[place]
		tasks.Go(func() {
			c, err := m.freshCredential(ctx, state.pod, want, have)
			out.mu.Lock()
			defer out.mu.Unlock()
			out.certificates[place] = signed{c, err}
		})
	}
	tasks.Wait()
	for place, got := range out.certificates {
		state.credentials[place] = got.credential
	}
	for place, got := range out.tokens {
		if got.err == nil {
			state.tokens[place] = got.token
		}
	}
	return out
}

func tokensOf(pod *v1.Pod) map[tokenPlace]*v1.ServiceAccountTokenProjection {
	out := map[tokenPlace]*v1.ServiceAccountTokenProjection{}
	for _, vol := range usedVolumes(pod) {
		if vol.Projected == nil {
			continue
		}
		for i := range vol.Projected.Sources {
			if want := vol.Projected.Sources[i].ServiceAccountToken; want != nil {
				out[tokenPlace{vol.Name, i}] = want
			}
		}
	}
	return out
}

// one returns the only object of ref, or nil where it is optional and missing.
func one[T runtime.Object](s *sources, ref Ref, optional bool) (T, error) {
	var none T
	got := s.objects[ref]
	if got.err != nil {
		if optional && apierrors.IsNotFound(got.err) {
			return none, nil
		}
		return none, got.err
	}
	if len(got.objects) == 1 {
		if obj, ok := got.objects[0].(T); ok {
			return obj, nil
		}
	}
	return none, notFound(ref)
}

// bringUp makes the volumes, each as far as it comes; errors are joined, one a volume.
func (m *Manager) bringUp(ctx context.Context, state *podState, src *sources, volumes []*v1.Volume) error {
	var errs []error
	for _, vol := range volumes {
		switch {
		case vol.Image != nil:
			// The agent pulls it as it does containers' images; nothing is to be made here.
		case vol.EmptyDir != nil || writtenByUs(vol):
			if err := m.bringUpOwn(state, src, vol); err != nil {
				errs = append(errs, &SetupError{vol.Name, err})
			}
		default:
			errs = append(errs, m.bringUpBacked(ctx, state, vol))
		}
	}
	return errors.Join(errs...)
}

// bringUpOwn makes a volume whose folder and contents are the agent's.
func (m *Manager) bringUpOwn(state *podState, src *sources, vol *v1.Volume) error {
	dir, err := m.ownDir(state.pod.UID, vol)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
		return err
	}
	if vol.EmptyDir != nil {
		memory := m.allocatable()[v1.ResourceMemory]
		return setupEmptyDir(state.pod, vol.EmptyDir, dir, memory.Value())
	}
	payload, err := m.payload(state.pod, vol, src)
	if err != nil {
		if written(dir) {
			// A running pod keeps what it has, whether the agent started anew or the object is gone.
			m.cfg.Log.Warn("volume keeps its contents", "uid", state.pod.UID, "volume", vol.Name, "err", err)
			m.queue.AddRateLimited(state.pod.UID)
			return nil
		}
		return err
	}
	return m.write(state.pod, vol, dir, payload)
}

// write makes the folder and its contents.
func (m *Manager) write(pod *v1.Pod, vol *v1.Volume, dir string, payload Payload) error {
	fresh, err := makeFolder(dir, 0o777)
	if err != nil {
		return err
	}
	// ConfigMaps are no secrets: they lie on disk and cost no memory. All else does not touch a disk.
	if vol.ConfigMap == nil {
		is, err := mounted(dir)
		if err != nil {
			return err
		}
		if fresh = !is; fresh {
			if err := mountTmpfs(dir, tmpfsMode, 0); err != nil {
				return err
			}
		}
	}
	group := fsGroup(pod)
	if _, err := writeAtomic(dir, payload, func(folder string) error { return setGroup(folder, group, true, nil) }); err != nil {
		return err
	}
	if fresh && group != nil {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		return giveToGroup(dir, info, int(*group), groupRead)
	}
	return nil
}

// payload decides what the volume shows.
func (m *Manager) payload(pod *v1.Pod, vol *v1.Volume, src *sources) (Payload, error) {
	switch {
	case vol.ConfigMap != nil:
		s := vol.ConfigMap
		return configMapFrom(src, pod.Namespace, s.Name, s.Items, s.DefaultMode, s.DefaultUser, isTrue(s.Optional))
	case vol.Secret != nil:
		s := vol.Secret
		return secretFrom(src, pod.Namespace, s.SecretName, s.Items, s.DefaultMode, s.DefaultUser, isTrue(s.Optional))
	case vol.DownwardAPI != nil:
		return downwardPayload(pod, vol.DownwardAPI.Items, vol.DownwardAPI.DefaultMode, vol.DownwardAPI.DefaultUser, m.allocatable())
	default:
		return projectedPayload(pod, vol, src, m.allocatable())
	}
}

func configMapFrom(src *sources, namespace, name string, items []v1.KeyToPath, mode *int32, user *int64, optional bool) (Payload, error) {
	cm, err := one[*v1.ConfigMap](src, Ref{ConfigMap, namespace, name}, optional)
	if err != nil {
		return nil, err
	}
	if cm == nil {
		cm = &v1.ConfigMap{}
	}
	return configMapPayload(cm, items, mode, user, optional)
}

func secretFrom(src *sources, namespace, name string, items []v1.KeyToPath, mode *int32, user *int64, optional bool) (Payload, error) {
	secret, err := one[*v1.Secret](src, Ref{Secret, namespace, name}, optional)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		secret = &v1.Secret{}
	}
	return secretPayload(secret, items, mode, user, optional)
}

// projectedPayload lays the sources over one another, later ones on top.
func projectedPayload(pod *v1.Pod, vol *v1.Volume, src *sources, allocatable v1.ResourceList) (Payload, error) {
	mode, user := vol.Projected.DefaultMode, vol.Projected.DefaultUser
	own := ownership{fsGroup: fsGroup(pod), fsUser: commonUser(pod)}
	out := Payload{}
	var errs []error
	for i := range vol.Projected.Sources {
		var part Payload
		var err error
		switch s := &vol.Projected.Sources[i]; {
		case s.ConfigMap != nil:
			part, err = configMapFrom(src, pod.Namespace, s.ConfigMap.Name, s.ConfigMap.Items, mode, user, isTrue(s.ConfigMap.Optional))
		case s.Secret != nil:
			part, err = secretFrom(src, pod.Namespace, s.Secret.Name, s.Secret.Items, mode, user, isTrue(s.Secret.Optional))
		case s.DownwardAPI != nil:
			part, err = downwardPayload(pod, s.DownwardAPI.Items, mode, user, allocatable)
		case s.ServiceAccountToken != nil:
			got := src.tokens[tokenPlace{vol.Name, i}]
			err = got.err
			part = Payload{s.ServiceAccountToken.Path: credentialFile([]byte(got.token.value), mode, userOr(s.ServiceAccountToken.User, user), own)}
		case s.PodCertificate != nil:
			got := src.certificates[tokenPlace{vol.Name, i}]
			if err = got.err; err == nil {
				part = certificatePayload(got.credential.have, s.PodCertificate, mode, user, own)
			}
		case s.ClusterTrustBundle != nil:
			part, err = bundlePayload(src, s.ClusterTrustBundle, mode, user, own)
		default:
			err = errors.New("projected source of a kind that is not supported on this node")
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for name, file := range part {
			out[name] = file
		}
	}
	return out, errors.Join(errs...)
}

func bundlePayload(src *sources, want *v1.ClusterTrustBundleProjection, mode *int32, user *int64, own ownership) (Payload, error) {
	var got found
	switch {
	case want.Name != nil:
		got = src.objects[Ref{ClusterTrustBundle, "", *want.Name}]
	case want.SignerName != nil:
		got = src.objects[Ref{SignerBundles, "", *want.SignerName}]
	default:
		return nil, errors.New("ClusterTrustBundle projection requires either name or signerName to be set")
	}
	if got.err != nil && (!isTrue(want.Optional) || !apierrors.IsNotFound(got.err)) {
		return nil, got.err
	}
	data, err := trustAnchors(got.objects, want)
	if err != nil {
		return nil, err
	}
	return Payload{want.Path: credentialFile(data, mode, userOr(want.User, user), own)}, nil
}

func (m *Manager) allocatable() v1.ResourceList {
	if m.cfg.Allocatable == nil {
		return nil
	}
	return m.cfg.Allocatable()
}

func isTrue(b *bool) bool { return b != nil && *b }

func isNotEmpty(err error) bool { return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) }
