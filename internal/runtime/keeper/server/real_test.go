package server_test

import (
	"testing"

	"github.com/proa-project/proa/internal/runtime/keeper/keepertest"
)

func TestMain(m *testing.M) { keepertest.Main(m) }

func TestConformance(t *testing.T) {
	keepertest.Start(t).Run(t)
}
