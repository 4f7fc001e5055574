package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

func (cs *connections) shutdownRequest(c *connection, body []byte) bool {
	in, err := decodeBody[keeper.ShutdownRequest](keeper.MethodShutdown, body)
	if err == nil {
		err = cs.s.shutdown(in.Force)
	}
	if err != nil {
		return c.conn.Send(keeper.EncodeError(err), nil) == nil
	}
	_ = c.conn.Send("", nil)
	// The end of this connection, at the end of the process, says that it is done.
	cs.s.stopOnce.Do(func() {
		close(cs.s.stopped)
		_ = cs.s.listener.Close()
	})
	return true
}

// shutdown makes sure that nothing is left.
func (s *Server) shutdown(force bool) error {
	sandboxes, containers := s.listSandboxes(), s.listContainers()
	if !force && len(sandboxes)+len(containers) > 0 {
		return fmt.Errorf("%d sandboxes, %d containers: %w", len(sandboxes), len(containers), keeper.ErrBusy)
	}
	errs := make(chan error)
	for _, sb := range sandboxes {
		go func() { errs <- s.removeSandbox(context.Background(), sb.ID) }()
	}
	var all []error
	for range sandboxes {
		all = append(all, <-errs)
	}
	for _, c := range s.listContainers() { // of sandboxes that are lost
		all = append(all, s.removeContainer(context.Background(), c.ID))
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	s.pool.close()
	s.clearRun()
	return nil
}

// clearRun removes the folders that the keeper made, if they are empty.
func (s *Server) clearRun() {
	for _, dir := range []string{"netns", "ipcns", "utsns", "pidns", "userns", "shm",
		"keeper/sandboxes", "keeper/containers", "keeper/pool"} {
		_ = os.Remove(filepath.Join(s.cfg.Run, dir))
	}
}
