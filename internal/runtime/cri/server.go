package cri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxRequest is what CRI clients send at most. Answers are not bounded here: what
// a client takes is its own affair, and ExecSync alone may fill that.
const maxRequest = 16 << 20

// Serve offers the service, and the image service beside it if there is one, on
// a unix socket that only root may use, until ctx ends. Ready is called once
// clients can connect; it may be nil.
func (s *Service) Serve(ctx context.Context, socket string, images runtimeapi.ImageServiceServer, ready func()) error {
	ln, err := listen(socket)
	if err != nil {
		return fmt.Errorf("cri socket: %w", err)
	}
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(maxRequest), grpc.MaxSendMsgSize(math.MaxInt32))
	runtimeapi.RegisterRuntimeServiceServer(srv, s)
	if images != nil {
		runtimeapi.RegisterImageServiceServer(srv, images)
	}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		srv.Stop() // not gracefully: event streams never end by themselves
	})()
	if ready != nil {
		ready()
	}
	if err := srv.Serve(ln); err != nil && ctx.Err() == nil {
		return fmt.Errorf("cri socket: %w", err)
	}
	<-stopped
	return nil
}

// listen makes the socket 0600 from its first moment: it is bound in a folder
// of its own that nobody else can enter, then moved to its place.
func listen(socket string) (net.Listener, error) {
	tmp, err := os.MkdirTemp(filepath.Dir(socket), ".cri")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	ln, err := net.Listen("unix", tmp+"/s")
	if err != nil {
		return nil, err
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(tmp+"/s", 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		ln.Close()
		return nil, err
	}
	if err := os.Rename(tmp+"/s", socket); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}
