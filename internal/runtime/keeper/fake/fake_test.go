package fake_test

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"go.uber.org/goleak"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/fake"
	"github.com/proa-project/proa/internal/runtime/keeper/keepertest"
)

func TestConformance(t *testing.T) {
	defer goleak.VerifyNone(t)
	k := fake.New()
	keepertest.Target{
		Keeper: k,
		Spec: func(_ testing.TB, _ keeper.SandboxStatus, _ string, args ...string) *specs.Spec {
			return &specs.Spec{
				Process: &specs.Process{Args: args, Cwd: "/"}, Root: &specs.Root{Path: "/fake"}, Linux: &specs.Linux{},
			}
		},
	}.Run(t)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
}
