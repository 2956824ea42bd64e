package share

import (
	"context"
	"errors"
	"testing"

	"github.com/brood-go/brood/internal/strand"
)

// The owner may acquire again; the lock is free after as many releases, in any order.
func TestRLock(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.RLock("r"))
		ctx, other := asStrand(t.Context(), "owner"), asStrand(t.Context(), "other")
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
			guards := []Guard{must(l.Acquire(ctx)), must(l.Acquire(ctx))}
			g, ok := l.TryAcquire(ctx)
			if !ok {
				t.Fatal("the owner can't try")
			}
			guards = append(guards, g)
			if guards[0].Token() != guards[2].Token() {
				t.Error("one turn has several tokens")
			}
			for i, k := range order {
				start(func() {
					if _, ok := l.TryAcquire(other); ok {
						t.Errorf("another got in at depth %d", 3-i)
					}
				})()
				guards[k].Release()
			}
			contains(t, panics(t, guards[1].Release), `share: Release of rlock "r"`, "released before")
			start(func() {
				g, ok := l.TryAcquire(other)
				if !ok {
					t.Fatal("not free after as many releases")
				}
				g.Release()
			})()
		}
	})
}

// The owner is strand and goroutine, both.
func TestRLockOwner(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.RLock("r"))
		if _, err := l.Acquire(t.Context()); !errors.Is(err, ErrNoStrand) {
			t.Errorf("without a strand: %v", err)
		}
		if _, ok := l.TryAcquire(t.Context()); ok {
			t.Error("taken without a strand")
		}
		ctx := asStrand(bounded(t), "one")
		g := must(l.Acquire(ctx))
		if _, ok := l.TryAcquire(asStrand(ctx, "two")); ok {
			t.Error("another strand of the same goroutine got in")
		}
		inside := 0
		second := start(func() { // shares the context
			if _, ok := l.TryAcquire(ctx); ok {
				t.Error("another goroutine of the same strand got in")
			}
			g := must(l.Acquire(ctx))
			inside++
			g.Release()
		})
		asleep(t, 1, "(*lock).acquireSlow")
		inside++
		start(g.Release)() // by whoever has the guard
		second()
		if inside != 2 {
			t.Errorf("%d were inside", inside)
		}
	})
}

func TestRLockMany(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, n := must(s.RLock("r")), 0
		shared := asStrand(bounded(t), "shared")
		all(8, func(i int) {
			ctx := shared
			if i%2 == 0 {
				ctx = asStrand(ctx, "own")
			}
			for range 500 {
				g := must(l.Acquire(ctx))
				h := must(l.Acquire(ctx))
				n++
				g.Release()
				n++
				h.Release()
			}
		})
		if n != 8000 {
			t.Errorf("counted %d", n)
		}
	})
}

// All levels are taken back when the strand ends.
func TestRLockStrandEnds(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.RLock("r"))
		st := strand.New(strand.Task, "task")
		ctx := strand.With(t.Context(), st)
		guards := []Guard{must(l.Acquire(ctx)), must(l.Acquire(ctx))}
		if held := strand.End(st); len(held) != 1 {
			t.Errorf("it held %q", held)
		}
		g := must(l.Acquire(asStrand(t.Context(), "next")))
		if !g.Recovered() {
			t.Error("the next one is not told")
		}
		for _, old := range guards {
			old.Release() // was done for it
		}
		g.Release()
		g = must(l.Acquire(asStrand(t.Context(), "last")))
		if g.Recovered() {
			t.Error("told twice")
		}
		g.Release()
	})
}

func TestRLockCancelled(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.RLock("r"))
		g := must(l.Acquire(asStrand(t.Context(), "owner")))
		givesUp(t, map[string]waitFunc{"acquire": func(ctx context.Context) error {
			_, err := l.Acquire(asStrand(ctx, "waiter"))
			return err
		}}, "(*lock).acquireSlow")
		g.Release()
	})
}
