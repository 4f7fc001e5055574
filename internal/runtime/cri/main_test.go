package cri

import (
	"testing"

	"go.uber.org/goleak"
)

// What a service started ends with it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
