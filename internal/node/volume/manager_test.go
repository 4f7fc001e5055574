package volume

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/proa-project/proa/internal/kit/tree"
)

// rig is a Manager over a fake API server and the real kernel.
type rig struct {
	t       *testing.T
	m       *Manager
	client  *fake.Clientset
	root    string
	changed chan types.UID
	tokens  atomic.Int64
	life    time.Duration
}

func newRig(t *testing.T, objects ...runtime.Object) *rig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("volumes are mounted: this test needs root")
	}
	r := &rig{t: t, client: fake.NewClientset(objects...), root: filepath.Join(t.TempDir(), "pods"), changed: make(chan types.UID, 100), life: time.Hour}
	r.client.PrependReactor("create", "serviceaccounts", r.issue)
	// Registered first, to come last: while a Manager runs, it mounts.
	t.Cleanup(func() {
		if err := unmountBelow(r.root); err != nil {
			t.Error(err)
		}
	})
	r.start()
	return r
}

func (r *rig) issue(action clienttesting.Action) (bool, runtime.Object, error) {
	if action.GetSubresource() != "token" {
		return false, nil, nil
	}
	request := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
	request.Status.Token = fmt.Sprintf("token-%d for %v", r.tokens.Add(1), request.Spec.Audiences)
	request.Status.ExpirationTimestamp = metav1.NewTime(time.Now().Add(r.life))
	return true, request, nil
}

// start makes a Manager as a new process would, and runs it.
func (r *rig) start() (stop func()) {
	r.t.Helper()
	m, err := New(Config{Root: r.root, Client: r.client})
	if err != nil {
		r.t.Fatal(err)
	}
	r.m, r.root = m, m.cfg.Root
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(uid types.UID) { r.changed <- uid })
	}()
	stop = func() { cancel(); <-done }
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) setup(pod *v1.Pod) {
	r.t.Helper()
	if err := r.m.Setup(context.Background(), pod); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) path(pod *v1.Pod, volume string, more ...string) string {
	r.t.Helper()
	dir, err := r.m.Path(pod, volume)
	if err != nil {
		r.t.Fatal(err)
	}
	return filepath.Join(append([]string{dir}, more...)...)
}

// reads polls until a file shows the text: updates come from watches.
func (r *rig) reads(name, want string) {
	r.t.Helper()
	var have string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		data, err := os.ReadFile(name)
		if have = string(data); err == nil && have == want {
			return
		}
	}
	r.t.Fatalf("%s shows %q, want %q", name, have, want)
}

// podWith makes a pod of one container that mounts each volume at /name.
func podWith(volumes ...v1.Volume) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "uid-1", Labels: map[string]string{"app": "one"}},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c"}}, Volumes: volumes},
	}
	for _, vol := range volumes {
		pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, v1.VolumeMount{Name: vol.Name, MountPath: "/" + vol.Name})
	}
	return pod
}

func volumeOf(name string, source v1.VolumeSource) v1.Volume {
	return v1.Volume{Name: name, VolumeSource: source}
}

func configMapVolume(name, object string) v1.Volume {
	return volumeOf(name, v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: object}}})
}

func configMap(name string, version int, data map[string]string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", ResourceVersion: fmt.Sprint(version)}, Data: data}
}

func TestLifeOfAPodsVolumes(t *testing.T) {
	r := newRig(t,
		configMap("cm", 1, map[string]string{"key": "old", "gone": "x"}),
		&v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "ns", ResourceVersion: "1"}, Data: map[string][]byte{"password": []byte("pw")}})
	pod := podWith(
		configMapVolume("config", "cm"),
		volumeOf("secret", v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s", DefaultMode: ptr.To[int32](0o400)}}),
		volumeOf("labels", v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}}),
		volumeOf("disk", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}),
		volumeOf("memory", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory, SizeLimit: ptr.To(resource.MustParse("1Mi"))}}),
		volumeOf("all", v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", Audience: "aud"}},
			{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Items: []v1.KeyToPath{{Key: "key", Path: "deep/key"}}}},
		}}}),
	)
	r.setup(pod)
	r.reads(r.path(pod, "config", "key"), "old")
	r.reads(r.path(pod, "secret", "password"), "pw")
	r.reads(r.path(pod, "labels", "labels"), `app="one"`)
	r.reads(r.path(pod, "all", "token"), "token-1 for [aud]")
	r.reads(r.path(pod, "all", "deep", "key"), "old")
	if info, err := os.Stat(r.path(pod, "secret", "password")); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("secret file: %v %v", info, err)
	}
	var space unix.Statfs_t
	if err := unix.Statfs(r.path(pod, "memory"), &space); err != nil || space.Type != unix.TMPFS_MAGIC || uint64(space.Blocks)*uint64(space.Bsize) != 1<<20 {
		t.Errorf("memory volume: %+v, %v", space, err)
	}

	// A change arrives by itself, whole; a deleted key's file goes.
	if _, err := r.client.CoreV1().ConfigMaps("ns").Update(context.Background(), configMap("cm", 2, map[string]string{"key": "new"}), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.reads(r.path(pod, "config", "key"), "new")
	r.reads(r.path(pod, "all", "deep", "key"), "new")
	if _, err := os.Lstat(r.path(pod, "config", "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed key: %v", err)
	}
	relabeled := pod.DeepCopy()
	relabeled.Labels["app"] = "two"
	r.setup(relabeled)
	r.reads(r.path(pod, "labels", "labels"), `app="two"`)

	// What containers wrote outlives the agent, and all goes with the pod.
	for _, volume := range []string{"disk", "memory"} {
		if err := os.WriteFile(r.path(pod, volume, "mine"), []byte(volume), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	r.setup(relabeled)
	r.reads(r.path(pod, "disk", "mine"), "disk")
	r.reads(r.path(pod, "memory", "mine"), "memory")
	for range 2 {
		if err := r.m.TearDown(context.Background(), pod.UID); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(r.root); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if len(r.m.objects.held) != 0 || len(r.m.users) != 0 || len(r.m.pods) != 0 {
		t.Errorf("still watched: %v", r.m.users)
	}
}

func TestSetupSaysWhatIsMissingAndWhenItCame(t *testing.T) {
	r := newRig(t)
	pod := podWith(configMapVolume("config", "late"),
		volumeOf("pvc", v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}),
		volumeOf("old", v1.VolumeSource{RBD: &v1.RBDVolumeSource{}}))
	err := r.m.Setup(context.Background(), pod)
	want := `MountVolume.SetUp failed for volume "config" : configmap "late" not found
Unable to attach or mount volumes: unmounted volumes=[pvc], unattached volumes=[], failed to process volumes=[pvc]: error processing PVC ns/c: failed to fetch PVC from API server: persistentvolumeclaims "c" not found
Unable to attach or mount volumes: unmounted volumes=[old], unattached volumes=[], failed to process volumes=[old]: volumes of type rbd are not supported on this node`
	if err == nil || err.Error() != want {
		t.Fatalf("got %v", err)
	}
	pod.Spec.Volumes, pod.Spec.Containers[0].VolumeMounts = pod.Spec.Volumes[:1], pod.Spec.Containers[0].VolumeMounts[:1]
	if _, err := r.client.CoreV1().ConfigMaps("ns").Create(context.Background(), configMap("late", 5, map[string]string{"k": "v"}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case uid := <-r.changed:
		if uid != pod.UID {
			t.Fatalf("unblocked %s", uid)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody said that the ConfigMap came")
	}
	r.setup(pod)
	r.reads(r.path(pod, "config", "k"), "v")
}

func TestUnmountedVolumesHoldNothingUp(t *testing.T) {
	r := newRig(t)
	pod := podWith(configMapVolume("config", "missing"))
	pod.Spec.Containers[0].VolumeMounts = nil
	r.setup(pod)
}

func TestTokenIsRotated(t *testing.T) {
	r := newRig(t)
	source := v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}}}}}
	pod := podWith(volumeOf("t", source))
	clock := time.Now()
	r.m.cfg.Now = func() time.Time { return clock }
	r.setup(pod)
	r.reads(r.path(pod, "t", "token"), "token-1 for []")
	for _, step := range []struct {
		age  time.Duration
		want string
	}{{47 * time.Minute, "token-1 for []"}, {49 * time.Minute, "token-2 for []"}} {
		clock = time.Now().Add(step.age)
		if err := r.m.refresh(context.Background(), pod.UID); err != nil {
			t.Fatal(err)
		}
		r.reads(r.path(pod, "t", "token"), step.want)
	}
	// The API is away: the token in use is good until it expires.
	r.client.PrependReactor("create", "serviceaccounts", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("away")
	})
	clock = clock.Add(30 * time.Minute)
	if err := r.m.refresh(context.Background(), pod.UID); err != nil {
		t.Fatal(err)
	}
	r.reads(r.path(pod, "t", "token"), "token-2 for []")
}

func TestFSGroupAndUsers(t *testing.T) {
	r := newRig(t, configMap("cm", 1, map[string]string{"k": "v"}))
	token := v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}}}}}
	pod := podWith(volumeOf("disk", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}), configMapVolume("config", "cm"), volumeOf("t", token))
	pod.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: ptr.To[int64](1234), RunAsUser: ptr.To[int64](77)}
	r.setup(pod)
	for name, want := range map[string]string{
		r.path(pod, "disk"):        "drwxrwsrwx 0 1234",
		r.path(pod, "config", "k"): "-rw-r--r-- 0 1234",
		r.path(pod, "t", "token"):  "-rw-r----- 77 1234",
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		stat := info.Sys().(*syscall.Stat_t)
		mode := strings.Replace(info.Mode().String(), "dgrwxrwxrwx", "drwxrwsrwx", 1)
		if got := fmt.Sprintf("%s %d %d", mode, stat.Uid, stat.Gid); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestHostPathTypes(t *testing.T) {
	dir := t.TempDir()
	file, socket, missing := filepath.Join(dir, "file"), filepath.Join(dir, "socket"), filepath.Join(dir, "missing")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, tc := range []struct {
		path string
		kind v1.HostPathType
		err  string
	}{
		{missing, v1.HostPathUnset, ""},
		{dir, v1.HostPathDirectory, ""},
		{file, v1.HostPathDirectory, "hostPath type check failed: " + file + " is not a directory, it's a file"},
		{missing, v1.HostPathDirectory, "hostPath type check failed: " + missing + " is not a directory"},
		{file, v1.HostPathFile, ""},
		{dir, v1.HostPathFileOrCreate, "hostPath type check failed: " + dir + " is not a file, it's a directory"},
		{socket, v1.HostPathSocket, ""},
		{file, v1.HostPathSocket, "hostPath type check failed: " + file + " is not a socket file, it's a file"},
		{"/dev/null", v1.HostPathCharDev, ""},
		{"/dev/null", v1.HostPathBlockDev, "hostPath type check failed: /dev/null is not a block device, it's a character device"},
		{filepath.Join(dir, "new", "dir"), v1.HostPathDirectoryOrCreate, ""},
		{filepath.Join(dir, "newfile"), v1.HostPathFileOrCreate, ""},
		{dir, "Nonsense", "Nonsense is an invalid volume type"},
	} {
		err := checkHostPath(&v1.HostPathVolumeSource{Path: tc.path, Type: &tc.kind})
		if (err != nil || tc.err != "") && (err == nil || err.Error() != tc.err) {
			t.Errorf("%s as %s: %v, want %q", tc.path, tc.kind, err, tc.err)
		}
	}
	for name, dir := range map[string]bool{filepath.Join(dir, "new", "dir"): true, filepath.Join(dir, "newfile"): false} {
		if info, err := os.Stat(name); err != nil || info.IsDir() != dir {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestMounts(t *testing.T) {
	r := newRig(t, configMap("cm", 1, map[string]string{"k": "v1"}))
	pod := podWith(volumeOf("disk", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}), configMapVolume("config", "cm"))
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = []v1.VolumeMount{
		{Name: "disk", MountPath: "data", ReadOnly: true},
		{Name: "disk", MountPath: "/sub", SubPathExpr: "logs/$(WHO)", MountPropagation: ptr.To(v1.MountPropagationHostToContainer)},
		{Name: "config", MountPath: "/k", SubPath: "k"},
	}
	r.setup(pod)
	mounts, err := r.m.Mounts(context.Background(), pod, c, map[string]string{"WHO": "me"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range mounts {
		rel, err := filepath.Rel(r.root, m.HostPath)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s ro=%v %s", m.ContainerPath, rel, m.Readonly, m.Propagation))
	}
	want := []string{
		"/data uid-1/volumes/kubernetes.io~empty-dir/disk ro=true PROPAGATION_PRIVATE",
		"/sub uid-1/volume-subpaths/disk/c/1 ro=false PROPAGATION_HOST_TO_CONTAINER",
		"/k uid-1/volume-subpaths/config/c/2 ro=true PROPAGATION_PRIVATE",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(filepath.Join(mounts[1].HostPath, "file"), []byte("seen"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reads(r.path(pod, "disk", "logs", "me", "file"), "seen")

	// A running container keeps the file it was given; the next one gets the new.
	if _, err := r.client.CoreV1().ConfigMaps("ns").Update(context.Background(), configMap("cm", 2, map[string]string{"k": "v2"}), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.reads(r.path(pod, "config", "k"), "v2")
	r.reads(mounts[2].HostPath, "v1")
	if _, err := r.m.Mounts(context.Background(), pod, c, map[string]string{"WHO": "me"}); err != nil {
		t.Fatal(err)
	}
	r.reads(mounts[2].HostPath, "v2")
	if uids, err := r.m.Present(); err != nil || len(uids) != 1 || uids[0] != pod.UID {
		t.Errorf("present: %v %v", uids, err)
	}
}

func TestMountsWithoutAFolderOfTheirOwn(t *testing.T) {
	r := newRig(t)
	missing := filepath.Join(t.TempDir(), "not", "there")
	pod := podWith(
		volumeOf("host", v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: missing}}),
		volumeOf("image", v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: "example.com/data:1"}}))
	pod.Spec.Containers[0].VolumeMounts[1].SubPath = "sub"
	r.setup(pod)
	mounts, err := r.m.Mounts(context.Background(), pod, &pod.Spec.Containers[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(missing); err != nil || !info.IsDir() || mounts[0].HostPath != missing {
		t.Errorf("host path: %v %v %v", mounts[0], info, err)
	}
	if m := mounts[1]; m.HostPath != "" || m.GetImage().GetImage() != "example.com/data:1" || m.ImageSubPath != "sub" || !m.Readonly {
		t.Errorf("image: %v", m)
	}
}

func TestClusterTrustBundles(t *testing.T) {
	bundle := func(name, signer, label string, certs ...string) *certificatesv1.ClusterTrustBundle {
		b := &certificatesv1.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "1", Labels: map[string]string{"k": label}}}
		b.Spec.SignerName = signer
		for _, cert := range certs {
			b.Spec.TrustBundle += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(cert)}))
		}
		return b
	}
	one, two := bundle("one", "example.com/s", "a", "1", "2"), bundle("two", "example.com/s", "a", "2", "3")
	r := newRig(t, one, two, bundle("three", "example.com/s", "b", "4"))
	pod := podWith(volumeOf("v", v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
		{ClusterTrustBundle: &v1.ClusterTrustBundleProjection{Name: ptr.To("one"), Path: "named"}},
		{ClusterTrustBundle: &v1.ClusterTrustBundleProjection{Name: ptr.To("none"), Path: "none", Optional: ptr.To(true)}},
		{ClusterTrustBundle: &v1.ClusterTrustBundleProjection{SignerName: ptr.To("example.com/s"), Path: "signed",
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"k": "a"}}}},
	}}}))
	r.setup(pod)
	r.reads(r.path(pod, "v", "named"), one.Spec.TrustBundle)
	r.reads(r.path(pod, "v", "none"), "")
	// Each certificate once, in a stable order.
	r.reads(r.path(pod, "v", "signed"), bundle("", "", "", "1", "2", "3").Spec.TrustBundle)
}

func TestSubPathStaysInItsVolume(t *testing.T) {
	volume, outside := t.TempDir(), t.TempDir()
	for link, target := range map[string]string{
		"away": outside, "up": "../..", "dangling": "nowhere", "inner": "real", "inside": filepath.Join(volume, "real"),
	} {
		if err := os.Symlink(target, filepath.Join(volume, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(volume, "real"), 0o750); err != nil {
		t.Fatal(err)
	}
	for subPath, ok := range map[string]bool{
		"real": true, "inner": true, "inside": true, "inner/new/er": true, ".": true,
		"away": false, "away/x": false, "up": false, "dangling": false, "dangling/x": false, "../x": false, "/etc": false,
	} {
		file, err := openSubPath(volume, subPath)
		if (err == nil) != ok {
			t.Errorf("%s: %v", subPath, err)
		}
		if err == nil {
			file.Close()
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("made outside: %v %v", entries, err)
	}
}

// TestTearDownSparesWhatIsMounted is a loss that happened: a pod's folder was removed across a bind mount.
func TestTearDownSparesWhatIsMounted(t *testing.T) {
	r := newRig(t)
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.MkdirAll(filepath.Join(precious, "sub"), 0o750); err != nil {
		t.Fatal(err)
	}
	pod := podWith(volumeOf("disk", v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}))
	r.setup(pod)
	within := r.path(pod, "disk", "a", "b")
	if err := os.MkdirAll(within, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(precious, within, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := tree.Remove(r.path(pod, "disk")); !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EBUSY) {
		t.Errorf("removal across a mount: %v", err)
	}
	if err := r.m.TearDown(context.Background(), pod.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(precious, "sub")); err != nil {
		t.Errorf("what was mounted: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(r.root, string(pod.UID))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pod folder: %v", err)
	}
}

func TestStrangeUIDs(t *testing.T) {
	r := newRig(t)
	for _, uid := range []types.UID{"", ".", "..", "a/b"} {
		if err := r.m.TearDown(context.Background(), uid); err == nil {
			t.Errorf("%q accepted", uid)
		}
	}
}
