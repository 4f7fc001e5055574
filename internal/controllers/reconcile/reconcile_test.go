package reconcile

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"
)

func TestAFailureIsTriedAgainAndRunEndsCleanly(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	loop := New("test", 1, func(_ context.Context, key string) error {
		if key != "ns/name" {
			t.Errorf("key %q", key)
		}
		if calls++; calls < 3 {
			return errors.New("not yet")
		}
		cancel()
		return nil
	})
	loop.Add("ns/name")
	if err := loop.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if calls != 3 {
		t.Errorf("called %d times, want 3", calls)
	}
}
