package podcontrol

import "sync"

// SlowStart calls do n times, in parallel batches of one, two, four …, and stops
// after a batch in which something failed: if the first fails, for a quota say,
// the others would too. It returns how many calls were good and the first error.
func SlowStart(n int, do func(i int) error) (good int, first error) {
	var mu sync.Mutex
	for started, size := 0, min(1, n); size > 0; size = min(2*size, n-started) {
		var batch sync.WaitGroup
		for i := started; i < started+size; i++ {
			batch.Go(func() {
				err := do(i)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					good++
				case first == nil:
					first = err
				}
			})
		}
		batch.Wait()
		if first != nil {
			return good, first
		}
		started += size
	}
	return good, nil
}

// AtOnce calls do for all in parallel and returns the first error.
func AtOnce[T any](all []T, do func(T) error) error {
	const atMost = 16
	room := make(chan struct{}, atMost)
	errs := make([]error, len(all))
	var calls sync.WaitGroup
	for i, one := range all {
		room <- struct{}{}
		calls.Go(func() {
			errs[i] = do(one)
			<-room
		})
	}
	calls.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
