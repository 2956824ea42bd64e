package share

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// waiters starts n goroutines that wait, and returns how many have woken, and a function
// that waits for all.
func waiters(t *testing.T, c *Condition, n int) (woke *atomic.Int32, wait func()) {
	t.Helper()
	ctx := bounded(t)
	woke = new(atomic.Int32)
	wait = start(func() {
		all(n, func(int) {
			g := must(c.Acquire(ctx))
			g = must(c.Wait(ctx, g))
			woke.Add(1)
			g.Release()
		})
	})
	eventually(t, "all wait", func() bool { return joined(c) == n })
	return woke, wait
}

// joined is how many wait that were not notified.
func joined(c *Condition) (n int) {
	for _, w := range c.c.roster.entries() {
		e := w.Load()
		n += int(waiting(e) - pending(e))
	}
	return n
}

// locked does something with the condition's lock.
func locked(t *testing.T, c *Condition, f func()) {
	t.Helper()
	g := must(c.Acquire(bounded(t)))
	defer g.Release()
	f()
}

func TestConditionNotify(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		c := must(s.Condition("c", nil))
		locked(t, c, func() {
			if n := c.Notify(3) + c.NotifyAll() + c.Notify(0); n != 0 {
				t.Errorf("%d were notified, nobody waits", n)
			}
		})
		woke, wait := waiters(t, c, 10)
		for left := 10; left > 0; {
			n := 0
			locked(t, c, func() { n = c.Notify(3) })
			if n != min(3, left) {
				t.Errorf("%d of %d were notified, not 3", n, left)
			}
			left -= n
			eventually(t, "they wake", func() bool { return woke.Load() == int32(10-left) })
			if joined(c) != left {
				t.Errorf("%d still wait, not %d", joined(c), left)
			}
		}
		wait()
		contains(t, panics(t, func() { c.Notify(-1) }), "share: Notify of -1")
	})
}

func TestConditionNotifyAll(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.Lock("l"))
		c := must(s.Condition("c", l))
		_, wait := waiters(t, c, 1000)
		g := must(l.Acquire(t.Context())) // the condition's lock is l
		if n := c.NotifyAll(); n != 1000 {
			t.Errorf("%d were notified", n)
		}
		g.Release()
		wait()
	})
}

// Whoever begins to wait after a notification does not get it.
func TestConditionLate(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		c, ctx := must(s.Condition("c", nil)), bounded(t)
		for range 300 {
			_, wait := waiters(t, c, 2)
			late, cancel := context.WithCancel(ctx)
			g := must(c.Acquire(ctx))
			c.NotifyAll()
			go func() {
				wait()
				cancel()
			}()
			if _, err := c.Wait(late, g); !errors.Is(err, context.Canceled) {
				t.Fatalf("one that came late was notified: %v", err)
			}
		}
	})
}

func TestConditionWaitFor(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		c, ctx, n := must(s.Condition("c", nil)), bounded(t), 0
		w := start(func() {
			all(4, func(i int) {
				looks := 0
				g := must(c.Acquire(ctx))
				g = must(c.WaitFor(ctx, g, func() bool { looks++; return n > i }))
				if n <= i || looks > n+1 {
					t.Errorf("went on at %d, wants %d; looked %d times", n, i, looks)
				}
				g.Release()
			})
		})
		eventually(t, "all wait", func() bool { return joined(c) == 4 })
		for k := range 4 {
			locked(t, c, func() { n++; c.NotifyAll() })
			eventually(t, "the others wait again", func() bool { return joined(c) == 3-k })
		}
		w()
		g := must(c.WaitFor(ctx, must(c.Acquire(ctx)), func() bool { return true }))
		contains(t, panics(t, func() {
			_, _ = c.WaitFor(ctx, g, func() bool { panic("a bad predicate") })
		}), "a bad predicate")
		if _, ok := c.Lock().TryAcquire(context.Background()); !ok {
			t.Error("a predicate that panics leaves the lock taken")
		}
	})
}

// A guard that does not hold the lock is a mistake, and leaves nothing behind.
func TestConditionGuard(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		c, ctx := must(s.Condition("c", nil)), bounded(t)
		foreign := must(must(s.Lock("other")).Acquire(ctx))
		wait := func(g Guard) func() { return func() { _, _ = c.Wait(ctx, g) } }
		contains(t, panics(t, wait(foreign)), "share: Wait with a guard that is not of the lock of condition \"c\"")
		contains(t, panics(t, wait(Guard{})), "is not of the lock")
		foreign.Release()
		g := must(c.Acquire(ctx))
		g.Release()
		contains(t, panics(t, wait(g)), "share: Wait for condition", "released before")
		if n := c.NotifyAll(); n != 0 {
			t.Errorf("%d still wait after their panic", n)
		}
	})
}

// Who gives up has not the lock, and keeps no notification from others.
func TestConditionCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		c := must(s.Condition("c", nil))
		givesUp(t, map[string]waitFunc{
			"wait": func(ctx context.Context) error {
				_, err := c.Wait(ctx, must(c.Acquire(t.Context())))
				return err
			},
			"wait for": func(ctx context.Context) error {
				_, err := c.WaitFor(ctx, must(c.Acquire(t.Context())), func() bool { return false })
				return err
			},
		}, "(*Condition).Wait")
		g, ok := c.Lock().TryAcquire(context.Background())
		if !ok || joined(c) != 0 {
			t.Fatalf("the lock is free: %v; %d wait", ok, joined(c))
		}
		g.Release()
	})
}

// Of two waiters one is cancelled at the moment of the only notification: either it was
// notified, or the other one is.
func TestConditionSwallowsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		c, ctx := must(s.Condition("c", nil)), bounded(t)
		for range 300 {
			short, cancel := context.WithCancel(ctx)
			rest, enough := context.WithCancel(ctx)
			var got, gaveUp atomic.Int32
			w := start(func() {
				all(2, func(i int) {
					mine := rest
					if i == 0 {
						mine = short
					}
					if g, err := c.Wait(mine, must(c.Acquire(ctx))); err != nil {
						gaveUp.Add(1)
					} else {
						g.Release()
						got.Add(1)
						enough()
					}
				})
			})
			eventually(t, "both wait", func() bool { return joined(c) == 2 })
			go cancel()
			n := 0
			locked(t, c, func() { n = c.Notify(1) })
			w2 := start(w)
			eventually(t, "the notification arrives", func() bool { return got.Load() > 0 || gaveUp.Load() == 2 })
			cancel()
			w2()
			enough()
			if n != 1 || got.Load() == 0 {
				t.Fatalf("%d notified, %d got it, %d gave up", n, got.Load(), gaveUp.Load())
			}
		}
	})
}
