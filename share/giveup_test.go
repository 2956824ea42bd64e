package share

import (
	"context"
	"errors"
	"testing"
	"time"
)

type waitFunc = func(ctx context.Context) error

// givesUp checks that each of the waits, which would not end, ends with its context, in each
// of the ways in which that can end, before and during the wait.
func givesUp(t *testing.T, waits map[string]waitFunc, in string) {
	t.Helper()
	cause := errors.New("the cause")
	for name, wait := range waits {
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := wait(ended); !errors.Is(err, cause) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		w := start(func() {
			if err := wait(ctx); !errors.Is(err, cause) {
				t.Errorf("%s that is cancelled: %v, want the cause", name, err)
			}
		})
		asleep(t, 1, in)
		cancel(cause)
		w()
		plain, stop := context.WithCancel(t.Context())
		w = start(func() {
			if err := wait(plain); !errors.Is(err, context.Canceled) {
				t.Errorf("%s that is cancelled: %v", name, err)
			}
		})
		asleep(t, 1, in)
		stop()
		w()
		late, stop := context.WithTimeout(t.Context(), 2*time.Millisecond)
		start(func() { // not by who may hold what it waits for
			if err := wait(late); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s with a deadline: %v", name, err)
			}
		})()
		stop()
	}
}
