package csi

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/version"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Times of the handshake.
const (
	handshake  = 10 * time.Second
	firstRetry = 500 * time.Millisecond
	lastRetry  = 2 * time.Minute
)

// socket is one that a plugin listens on, for as long as it is there.
type socket struct {
	stamp  string
	cancel context.CancelFunc
	done   chan struct{}
}

// Run gets to know drivers until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	defer m.drivers.close()
	if err := m.ensureCSINode(ctx); err != nil {
		return err
	}
	known := map[string]*socket{}
	defer func() {
		for _, s := range known {
			s.cancel()
			<-s.done
		}
	}()
	return watchSockets(ctx, m.cfg.Registry, func(now map[string]string) { m.follow(ctx, known, now) })
}

// follow starts a task for each socket that has come and ends those of sockets
// that are gone or were replaced.
func (m *Manager) follow(ctx context.Context, known map[string]*socket, now map[string]string) {
	for path, s := range known {
		if now[path] != s.stamp {
			s.cancel()
			<-s.done
			delete(known, path)
		}
	}
	for path, stamp := range now {
		if known[path] != nil {
			continue
		}
		task, cancel := context.WithCancel(ctx)
		s := &socket{stamp: stamp, cancel: cancel, done: make(chan struct{})}
		known[path] = s
		go func() {
			defer close(s.done)
			m.attend(task, ctx, path)
		}()
	}
}

// attend registers the plugin behind a socket, and takes it back when the socket
// goes (task ends). The end of the agent itself (ctx) changes nothing for drivers.
func (m *Manager) attend(task, ctx context.Context, path string) {
	var registered *driver
	for wait := firstRetry; registered == nil; wait = min(2*wait, lastRetry) {
		d, err := m.register(task, path)
		if errors.Is(err, errOtherPlugin) {
			return
		}
		if err != nil && task.Err() == nil {
			m.cfg.Log.Warn("CSI driver not registered, will be tried again", "socket", path, "err", err)
		}
		if registered = d; d != nil {
			break
		}
		select {
		case <-time.After(wait):
		case <-task.Done():
			return
		}
	}
	m.cfg.Log.Info("CSI driver registered", "driver", registered.name, "endpoint", registered.endpoint)
	<-task.Done()
	if ctx.Err() != nil || !m.drivers.remove(registered.name, registered.endpoint) {
		return
	}
	if err := m.forget(ctx, registered.name); err != nil && ctx.Err() == nil {
		m.cfg.Log.Warn("CSI driver that went is still in CSINode", "driver", registered.name, "err", err)
	}
}

// errOtherPlugin: the socket is of a plugin of another kind (devices, resources).
var errOtherPlugin = errors.New("not a CSI driver")

// register shakes hands and tells the plugin how that went.
func (m *Manager) register(ctx context.Context, path string) (*driver, error) {
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	conn, err := dial(path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	plugin := registration.NewRegistrationClient(conn)
	info, err := plugin.GetInfo(ctx, &registration.InfoRequest{})
	if err != nil {
		return nil, fmt.Errorf("get info: %w", err)
	}
	if info.GetType() != registration.CSIPlugin {
		return nil, errOtherPlugin
	}
	d, err := m.introduce(ctx, info, path)
	status := &registration.RegistrationStatus{PluginRegistered: err == nil}
	if err != nil {
		status.Error = err.Error()
	}
	if _, notifyErr := plugin.NotifyRegistrationStatus(ctx, status); notifyErr != nil {
		err = errors.Join(err, fmt.Errorf("notify: %w", notifyErr))
	}
	if err != nil {
		if d != nil {
			m.drivers.remove(d.name, d.endpoint)
		}
		return nil, err
	}
	return d, nil
}

// introduce asks the driver about itself and tells the API.
func (m *Manager) introduce(ctx context.Context, info *registration.PluginInfo, path string) (*driver, error) {
	if err := supported(info.GetSupportedVersions()); err != nil {
		return nil, fmt.Errorf("CSI driver %q: %w", info.GetName(), err)
	}
	endpoint := info.GetEndpoint()
	if endpoint == "" {
		endpoint = path
	}
	d, err := connect(info.GetName(), endpoint)
	if err != nil {
		return nil, err
	}
	if err := d.ask(ctx); err != nil {
		d.conn.Close()
		return nil, err
	}
	if err := m.publishFacts(ctx, d); err != nil {
		d.conn.Close()
		return nil, err
	}
	m.drivers.add(d)
	m.sweep(ctx, d)
	return d, nil
}

// supported: any 1.x will do, since minor versions are compatible.
func supported(versions []string) error {
	for _, text := range versions {
		if v, err := version.ParseGeneric(text); err == nil && v.Major() == 1 {
			return nil
		}
	}
	return fmt.Errorf("none of the versions specified %q are supported", versions)
}

// publishFacts puts what the driver says of this node into Node and CSINode.
func (m *Manager) publishFacts(ctx context.Context, d *driver) error {
	answer, err := d.node.NodeGetInfo(ctx, &pb.NodeGetInfoRequest{})
	if err != nil {
		return fmt.Errorf("node info of %s: %w", d.name, err)
	}
	if answer.GetNodeId() == "" {
		return errors.New("error adding CSI driver node info: driverNodeID must not be empty")
	}
	f := facts{driver: d.name, nodeID: answer.GetNodeId(), most: answer.GetMaxVolumesPerNode(), topology: answer.GetAccessibleTopology().GetSegments()}
	if err := m.changeNode(ctx, f); err != nil {
		return err
	}
	return m.changeCSINode(ctx, func(n *storagev1.CSINode) *storagev1.CSINode { return withDriver(n, f) })
}

func (m *Manager) forget(ctx context.Context, name string) error {
	return errors.Join(
		m.changeCSINode(ctx, func(n *storagev1.CSINode) *storagev1.CSINode { return withoutDriver(n, name) }),
		m.changeNode(ctx, facts{driver: name}),
	)
}

func (m *Manager) changeNode(ctx context.Context, f facts) error {
	node, err := m.cfg.Client.CoreV1().Nodes().Get(ctx, m.cfg.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	patch, err := nodeChange(node, f)
	if err != nil || patch == nil {
		return err
	}
	_, err = m.cfg.Client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// changeCSINode tries again when somebody else was faster.
func (m *Manager) changeCSINode(ctx context.Context, change func(*storagev1.CSINode) *storagev1.CSINode) error {
	for {
		have, err := m.csiNode(ctx)
		if err != nil {
			return err
		}
		want := change(have)
		if want == nil {
			return nil
		}
		_, err = m.cfg.Client.StorageV1().CSINodes().Update(ctx, want, metav1.UpdateOptions{})
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// csiNode is the node's object, made where it is missing or of a node that is gone.
func (m *Manager) csiNode(ctx context.Context) (*storagev1.CSINode, error) {
	node, err := m.cfg.Client.CoreV1().Nodes().Get(ctx, m.cfg.Node, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	nodes := m.cfg.Client.StorageV1().CSINodes()
	have, err := nodes.Get(ctx, node.Name, metav1.GetOptions{})
	switch {
	case err == nil && owned(have, node):
		return have, nil
	case err == nil:
		if err := nodes.Delete(ctx, node.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(have.UID))}); err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
	case !apierrors.IsNotFound(err):
		return nil, err
	}
	return nodes.Create(ctx, newCSINode(node), metav1.CreateOptions{})
}

// ensureCSINode waits for the Node object, which comes as the agent registers.
func (m *Manager) ensureCSINode(ctx context.Context) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		_, err := m.csiNode(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !apierrors.IsNotFound(err) {
			m.cfg.Log.Warn("CSINode not made, will be tried again", "err", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}
