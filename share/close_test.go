package share

import (
	"context"
	"errors"
	"testing"
)

// waitsOf is every call that waits, on objects of which nothing can be had.
func waitsOf(t *testing.T, s *Space) map[string]waitFunc {
	t.Helper()
	ctx := t.Context()
	l, r, sem, b := must(s.Lock("l")), must(s.RLock("r")), must(s.Semaphore("s", 0)), must(s.BoundedSemaphore("b", 1))
	c, e, bar := must(s.Condition("c", nil)), must(s.Event("e")), must(s.Barrier("bar", 2, nil))
	must(l.Acquire(ctx))
	must(r.Acquire(asStrand(ctx, "owner")))
	must(b.Acquire(ctx))
	return map[string]waitFunc{
		"lock": func(ctx context.Context) error {
			_, err := l.Acquire(ctx)
			return err
		},
		"rlock": func(ctx context.Context) error {
			_, err := r.Acquire(asStrand(ctx, "waiter"))
			return err
		},
		"semaphore": func(ctx context.Context) error {
			_, err := sem.Acquire(ctx)
			return err
		},
		"bounded semaphore": func(ctx context.Context) error {
			_, err := b.Acquire(ctx)
			return err
		},
		"event": func(ctx context.Context) error { return e.Wait(ctx) },
		"condition": func(ctx context.Context) error {
			g, err := c.Acquire(ctx)
			if err == nil {
				_, err = c.Wait(ctx, g)
			}
			return err
		},
		"barrier": func(ctx context.Context) error {
			_, err := bar.Wait(ctx)
			return err
		},
	}
}

// Close wakes everybody who waits, several for each thing, and later calls fail.
func TestCloseWakes(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx, waits := bounded(t), waitsOf(t, s)
		const each = 3
		n := 0
		var done []func()
		for name, wait := range waits {
			k := each
			if name == "barrier" {
				k = 1 // two would meet
			}
			for range k {
				done = append(done, start(func() {
					if err := wait(ctx); !errors.Is(err, ErrClosed) {
						t.Errorf("%s: %v, want ErrClosed", name, err)
					}
				}))
			}
			n += k
		}
		asleep(t, n, "waitsOf.func")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, wait := range done {
			wait()
		}
		for name, wait := range waits {
			if err := wait(ctx); !errors.Is(err, ErrClosed) {
				t.Errorf("%s after Close: %v, want ErrClosed", name, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
}

// After Close nothing can be had, also of what was free.
func TestClosed(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := asStrand(t.Context(), "me")
		l, r, sem, b := must(s.Lock("l")), must(s.RLock("r")), must(s.Semaphore("s", 3)), must(s.BoundedSemaphore("b", 3))
		c, e, bar := must(s.Condition("c", nil)), must(s.Event("e")), must(s.Barrier("bar", 1, nil))
		guards := []Guard{must(l.Acquire(ctx)), must(r.Acquire(ctx)), must(r.Acquire(ctx)), must(b.Acquire(ctx))}
		mine, consumed := must(c.Acquire(ctx)), must(sem.Acquire(ctx))
		e.Set()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, locked := l.TryAcquire(context.Background())
		_, rlocked := must(s2(t).RLock("r")).TryAcquire(ctx) // another space is not concerned
		_, r2 := r.TryAcquire(asStrand(ctx, "other"))
		_, got := sem.TryAcquire(context.Background())
		_, gotN := b.TryAcquireN(context.Background(), 2)
		if locked || !rlocked || r2 || got || gotN {
			t.Errorf("had after Close: %v %v %v %v", locked, r2, got, gotN)
		}
		calls := map[string]func() error{
			"Lock":                     func() error { _, err := s.Lock("l"); return err },
			"a new RLock":              func() error { _, err := s.RLock("new"); return err },
			"Semaphore":                func() error { _, err := s.Semaphore("s", 3); return err },
			"BoundedSemaphore":         func() error { _, err := s.BoundedSemaphore("b", 3); return err },
			"Event":                    func() error { _, err := s.Event("e"); return err },
			"Condition":                func() error { _, err := s.Condition("c", nil); return err },
			"Barrier":                  func() error { _, err := s.Barrier("bar", 1, nil); return err },
			"Lock.Acquire":             func() error { _, err := l.Acquire(ctx); return err },
			"RLock.Acquire":            func() error { _, err := r.Acquire(asStrand(ctx, "new")); return err },
			"RLock.Acquire again":      func() error { _, err := r.Acquire(ctx); return err },
			"Semaphore.Acquire":        func() error { _, err := sem.Acquire(ctx); return err },
			"Semaphore.Consume":        func() error { return sem.Consume(ctx, consumed) },
			"BoundedSemaphore.Acquire": func() error { _, err := b.Acquire(ctx); return err },
			"Event.Wait":               func() error { return e.Wait(ctx) },
			"Condition.Acquire":        func() error { _, err := c.Acquire(ctx); return err },
			"Condition.Wait":           func() error { _, err := c.Wait(ctx, mine); return err },
			"Barrier.Wait":             func() error { _, err := bar.Wait(ctx); return err },
			"Barrier.Reset":            bar.Reset,
			"Barrier.Abort":            bar.Abort,
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			} else {
				contains(t, err, "share: ")
			}
		}
		for _, g := range guards {
			g.Release() // what Close has given up: no mistake
		}
		sem.Post(1)
		e.Set()
		e.Clear()
		c.Notify(1)
		_, _, _, _ = e.IsSet(), sem.Value(), bar.Waiting(), bar.Broken()
	})
}

func s2(t *testing.T) *Space { return closed(t, Local(), nil) }
