package share

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// sleepersOn starts n goroutines that wait for a condition, until they are notified or their
// contexts, made by with, end; all wait when it returns.
func sleepersOn(t *testing.T, c *Condition, n int, with func(context.Context) context.Context) (woken *atomic.Int32, wait func()) {
	t.Helper()
	woken = new(atomic.Int32)
	wait = bunch(t, n, func(ctx context.Context) {
		if with != nil {
			ctx = with(ctx)
		}
		g, err := c.Acquire(ctx)
		if err == nil {
			g, err = c.Wait(ctx, g)
		}
		woken.Add(1)
		if with == nil && err != nil {
			t.Error(err)
		}
		if err == nil {
			g.Release()
		}
	})
	if with == nil {
		eventually(t, "all wait", func() bool { return joined(c) == n })
	}
	return woken, wait
}

// notifySteps notifies so many at a time, and looks that so many wake.
func notifySteps(t *testing.T, c *Condition, n int, steps ...int) {
	t.Helper()
	woken, wait := sleepersOn(t, c, n, nil)
	sum := 0
	for _, k := range steps {
		if woken.Load() != int32(sum) {
			t.Errorf("%d have woken, not %d", woken.Load(), sum)
		}
		locked(t, c, func() { c.Notify(k) })
		sum = min(n, sum+k)
		eventually(t, "they wake", func() bool { return woken.Load() == int32(sum) })
		if joined(c) != n-sum {
			t.Errorf("%d wait, not %d", joined(c), n-sum)
		}
	}
	wait()
}

var conditionPorts = map[string]func(t *testing.T, s *Space){
	// The lock of its own is a Lock, and not re-entrant as CPython's.
	"condition: acquire": func(t *testing.T, s *Space) {
		l := must(s.Lock("l"))
		c, ctx := must(s.Condition("c", l)), bounded(t)
		g := must(c.Acquire(ctx))
		if _, ok := l.TryAcquire(context.Background()); ok {
			t.Error("its lock is free")
		}
		g.Release()
		g, ok := l.TryAcquire(context.Background())
		if _, twice := c.Lock().TryAcquire(context.Background()); !ok || twice {
			t.Errorf("free: %v, then taken twice: %v", ok, twice)
		}
		g.Release()
		own := must(s.Condition("own", nil))
		must(own.Acquire(ctx)).Release()
	},
	"condition: wait unacquired": func(t *testing.T, s *Space) {
		c := must(s.Condition("c", nil))
		panics(t, func() { _, _ = c.Wait(t.Context(), Guard{}) })
	},
	"condition: notify in phases": func(t *testing.T, s *Space) {
		c := must(s.Condition("c", nil))
		var phase, first, second atomic.Int32
		wait := bunch(t, 5, func(ctx context.Context) {
			for _, results := range []*atomic.Int32{&first, &second} {
				g := must(c.Wait(ctx, must(c.Acquire(ctx))))
				results.Add(phase.Load())
				g.Release()
			}
		})
		waiting := func(n int) { eventually(t, "they wait", func() bool { return joined(c) == n }) }
		waiting(5)
		locked(t, c, func() { phase.Store(1); c.Notify(3) })
		eventually(t, "three of five", func() bool { return first.Load() == 3 })
		waiting(5) // three of them a second time
		locked(t, c, func() { phase.Store(100); c.Notify(5) })
		eventually(t, "all have woken", func() bool { return first.Load() == 3+2*100 && second.Load() == 3*100 })
		waiting(2) // the two others a second time
		locked(t, c, func() { phase.Store(10000); c.NotifyAll() })
		wait()
		if second.Load() != 3*100+2*10000 {
			t.Errorf("%d", second.Load())
		}
	},
	"condition: timeout": func(t *testing.T, s *Space) {
		c := must(s.Condition("c", nil))
		bunch(t, 5, func(ctx context.Context) {
			_, err := c.Wait(soon(ctx), must(c.Acquire(ctx)))
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})()
		if joined(c) != 0 {
			t.Errorf("%d still wait", joined(c))
		}
	},
	"condition: wait for": func(t *testing.T, s *Space) {
		c, state := must(s.Condition("c", nil)), 0
		wait := bunch(t, 1, func(ctx context.Context) {
			g := must(c.WaitFor(ctx, must(c.Acquire(ctx)), func() bool { return state == 4 }))
			if state != 4 {
				t.Errorf("state %d", state)
			}
			g.Release()
		})
		for range 4 {
			locked(t, c, func() { state++; c.Notify(1) })
		}
		wait()
	},
	"condition: wait for, timeout": func(t *testing.T, s *Space) {
		c, state := must(s.Condition("c", nil)), 0
		wait := bunch(t, 1, func(ctx context.Context) {
			_, err := c.WaitFor(soon(ctx), must(c.Acquire(ctx)), func() bool { return state == 4 })
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
		for range 3 {
			locked(t, c, func() { state++; c.Notify(1) })
		}
		wait()
	},
	"multiprocessing: notify": func(t *testing.T, s *Space) {
		notifySteps(t, must(s.Condition("c", nil)), 2, 1, 1)
	},
	"multiprocessing: notify all": func(t *testing.T, s *Space) {
		c := must(s.Condition("c", nil))
		woken, wait := sleepersOn(t, c, 6, soon)
		wait()
		if woken.Load() != 6 || joined(c) != 0 {
			t.Errorf("%d have timed out, %d wait", woken.Load(), joined(c))
		}
		_, wait = sleepersOn(t, c, 6, nil)
		locked(t, c, func() { c.NotifyAll() })
		wait()
	},
	"multiprocessing: notify n": func(t *testing.T, s *Space) {
		notifySteps(t, must(s.Condition("c", nil)), 6, 2, 4, 3)
	},
	"multiprocessing: wait for": func(t *testing.T, s *Space) {
		c, ctx, state := must(s.Condition("c", nil)), bounded(t), -1
		wait := bunch(t, 1, func(ctx context.Context) {
			g := must(c.Acquire(ctx))
			state = 0
			c.Notify(1)
			g = must(c.WaitFor(ctx, g, func() bool { return state == 4 }))
			g.Release()
		})
		g := must(c.WaitFor(ctx, must(c.Acquire(ctx)), func() bool { return state == 0 }))
		g.Release()
		for range 4 {
			locked(t, c, func() { state++; c.Notify(1) })
		}
		wait()
	},
	"multiprocessing: wait result": func(t *testing.T, s *Space) {
		c, ctx := must(s.Condition("c", nil)), bounded(t)
		for _, ctx := range []context.Context{elapsed(ctx), soon(ctx)} {
			if _, err := c.Wait(ctx, must(c.Acquire(t.Context()))); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		g := must(c.Acquire(ctx))
		interrupted, interrupt := context.WithCancel(ctx)
		wait := bunch(t, 1, func(context.Context) {
			locked(t, c, func() { c.Notify(1) })
			asleep(t, 1, "(*Condition).Wait")
			interrupt() // Ctrl-C
		})
		g = must(c.Wait(ctx, g))
		if _, err := c.Wait(interrupted, g); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		wait()
	},
}
