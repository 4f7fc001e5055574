package csi

import (
	"context"
	"fmt"
	"net"
	"sync"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// driver is one that has registered.
type driver struct {
	name     string
	endpoint string
	conn     *grpc.ClientConn
	node     pb.NodeClient
	can      map[pb.NodeServiceCapability_RPC_Type]bool
}

// connect doesn't wait: gRPC connects with the first call.
func connect(name, endpoint string) (*driver, error) {
	conn, err := dial(endpoint)
	if err != nil {
		return nil, err
	}
	return &driver{name: name, endpoint: endpoint, conn: conn, node: pb.NewNodeClient(conn)}, nil
}

func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+socket,
		grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}),
	)
}

// ask learns what the driver can do.
func (d *driver) ask(ctx context.Context) error {
	answer, err := d.node.NodeGetCapabilities(ctx, &pb.NodeGetCapabilitiesRequest{})
	if err != nil {
		return fmt.Errorf("capabilities of %s: %w", d.name, err)
	}
	d.can = map[pb.NodeServiceCapability_RPC_Type]bool{}
	for _, c := range answer.GetCapabilities() {
		d.can[c.GetRpc().GetType()] = true
	}
	return nil
}

func (d *driver) stages() bool {
	return d.can[pb.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME]
}

// drivers that are known, by name.
type drivers struct {
	mu    sync.Mutex
	known map[string]*driver
}

// get words what is missing as upstream does; a driver may come any moment.
func (s *drivers) get(name string) (*driver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.known[name]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("driver name %s not found in the list of registered CSI drivers", name)
}

// add takes the place of an older one of that name: drivers are upgraded by
// starting the new beside the old.
func (s *drivers) add(d *driver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.known[d.name]; old != nil {
		old.conn.Close()
	}
	if s.known == nil {
		s.known = map[string]*driver{}
	}
	s.known[d.name] = d
}

// remove forgets the driver unless it has been replaced, and says whether it did.
func (s *drivers) remove(name, endpoint string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.known[name]
	if d == nil || d.endpoint != endpoint {
		return false
	}
	d.conn.Close()
	delete(s.known, name)
	return true
}

func (s *drivers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, d := range s.known {
		d.conn.Close()
		delete(s.known, name)
	}
}
