package apiserver_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

func TestNothingIsLeftRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("server", func(t *testing.T) {
		s := apitest.Start(t)
		_, start := s.Informers(t)
		start()
	})
	// A watch cache that was asked to wait for a version ends its timer within 3 s.
	goleak.VerifyNone(t, before, goleak.IgnoreTopFunction("k8s.io/apiserver/pkg/storage/cacher.(*watchCache).waitUntilFreshLocked.func2"))
}
