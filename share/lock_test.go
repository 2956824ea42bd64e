package share

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// One at a time is in, tokens grow, and the race detector finds what the lock guards
// clean, also when the lock's words are not on the heap.
func TestLock(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, ctx := must(s.Lock("l")), bounded(t)
		n := 0
		guarded := map[int]int{}
		var last uint64
		all(8, func(i int) {
			for range 2000 {
				g := must(l.Acquire(ctx))
				n++
				guarded[i]++
				if g.Token() <= last || g.Recovered() {
					t.Errorf("token %d after %d, recovered %v", g.Token(), last, g.Recovered())
				}
				last = g.Token()
				g.Release()
			}
		})
		if n != 16000 {
			t.Errorf("counted %d", n)
		}
	})
}

// Two handles of one name are one lock.
func TestLockName(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		a, b, other := must(s.Lock("l")), must(s.Lock("l")), must(s.Lock("m"))
		g := must(a.Acquire(t.Context()))
		if _, ok := b.TryAcquire(context.Background()); ok {
			t.Error("acquired twice")
		}
		h, ok := other.TryAcquire(context.Background())
		if !ok {
			t.Error("another lock is taken as well")
		}
		h.Release()
		g.Release()
		if g, ok = b.TryAcquire(context.Background()); !ok {
			t.Error("not free after its release")
		}
		g.Release()
	})
}

func TestLockTokens(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.Lock("l"))
		var last uint64
		for i := range 100 {
			var g Guard
			if i%2 == 0 {
				g = must(l.Acquire(t.Context()))
			} else if g, _ = l.TryAcquire(context.Background()); g == (Guard{}) {
				t.Fatal("not free")
			}
			if g.Token() <= last {
				t.Fatalf("token %d after %d", g.Token(), last)
			}
			last = g.Token()
			g.Release()
		}
	})
}

// Whoever has the guard may release it, once.
func TestLockGuard(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.Lock("a lock"))
		g := must(l.Acquire(t.Context()))
		start(g.Release)()
		h, ok := l.TryAcquire(context.Background())
		if !ok {
			t.Fatal("another goroutine did not release it")
		}
		contains(t, panics(t, g.Release), "share: Release of lock \"a lock\" of ", "released before")
		if !l.l.holds(h.Token()) {
			t.Error("an old guard has released the new owner's lock")
		}
		h.Release()
		contains(t, panics(t, h.Release), "released before")
		contains(t, panics(t, func() { Guard{}.Release() }), "share: Release of a Guard of nothing")
		contains(t, panics(t, func() { Guard{}.Detach() }), "share: Detach of a Guard of nothing")
	})
}

// What a strand holds at its end is taken back, and the next owner is told; what is detached
// stays.
func TestLockStrandEnds(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, kept := must(s.Lock("lost")), must(s.Lock("kept"))
		st := strand.New(strand.Task, "task")
		ctx := strand.With(t.Context(), st)
		lost := must(l.Acquire(ctx))
		stays := must(kept.Acquire(ctx)).Detach()
		released := must(must(s.Lock("released")).Acquire(ctx))
		released.Release()
		waiter := start(func() {
			g := must(l.Acquire(bounded(t)))
			if !g.Recovered() || g.Token() <= lost.Token() {
				t.Errorf("recovered: %v, token %d after %d", g.Recovered(), g.Token(), lost.Token())
			}
			g.Release()
		})
		asleep(t, 1, "(*lock).acquireSlow")
		held := strand.End(st)
		waiter()
		if len(held) != 1 {
			t.Errorf("it held %q", held)
		} else {
			contains(t, held[0], `lock "lost"`)
		}
		lost.Release() // was done for it
		if _, ok := kept.TryAcquire(context.Background()); ok {
			t.Error("a detached lock was taken back")
		}
		stays.Release()
		g := must(l.Acquire(t.Context()))
		if g.Recovered() {
			t.Error("recovered is told twice")
		}
		g.Release()
	})
}

// Who has waited for patience is handed the lock, however often others take it.
func TestLockStarvation(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, ctx := must(s.Lock("l")), bounded(t)
		var stop atomic.Bool
		var barges atomic.Int64
		barger := start(func() {
			for !stop.Load() {
				g := must(l.Acquire(ctx))
				barges.Add(1)
				for end := time.Now().Add(50 * time.Microsecond); time.Now().Before(end); {
				}
				g.Release() // and takes it at once again
			}
		})
		eventually(t, "a first barge", func() bool { return barges.Load() > 0 })
		for range 20 {
			must(l.Acquire(ctx)).Release()
		}
		stop.Store(true)
		barger()
		t.Logf("20 acquisitions against %d", barges.Load())
	})
}

// A wait that is given up is an error of its context, and swallows nothing.
func TestLockCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.Lock("l"))
		cause := errors.New("changed my mind")
		g := must(l.Acquire(t.Context()))
		waits := map[string]waitFunc{
			"acquire": func(ctx context.Context) error {
				_, err := l.Acquire(ctx)
				return err
			},
		}
		givesUp(t, waits, "(*lock).acquireSlow")
		ctx, cancel := context.WithCancelCause(t.Context())
		all(50, func(i int) {
			if i == 0 {
				asleep(t, 49, "(*lock).acquireSlow")
				cancel(cause)
				return
			}
			if _, err := l.Acquire(ctx); !errors.Is(err, cause) {
				t.Errorf("%v", err)
			}
		})
		next := start(func() { must(l.Acquire(bounded(t))).Release() })
		asleep(t, 1, "(*lock).acquireSlow")
		g.Release()
		next()
		if _, err := l.Acquire(ctx); !errors.Is(err, cause) {
			t.Errorf("of a free lock, with a context that has ended: %v", err)
		}
	})
}
