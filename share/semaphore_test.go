package share

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// limiter is what both kinds of semaphores can.
type limiter interface {
	Acquire(ctx context.Context) (Guard, error)
	AcquireN(ctx context.Context, n int) (Guard, error)
	TryAcquire(ctx context.Context) (Guard, bool)
	TryAcquireN(ctx context.Context, n int) (Guard, bool)
	Value() int
}

var (
	_ limiter = (*Semaphore)(nil)
	_ limiter = (*BoundedSemaphore)(nil)
)

// onBoth runs a test on both kinds of semaphores, of n permits.
func onBoth(t *testing.T, n int, test func(t *testing.T, s limiter)) {
	t.Helper()
	onEach(t, func(t *testing.T, s *Space) {
		t.Run("semaphore", func(t *testing.T) { test(t, must(s.Semaphore("s", n))) })
		t.Run("bounded", func(t *testing.T) { test(t, must(s.BoundedSemaphore("b", n))) })
	})
}

func TestSemaphore(t *testing.T) {
	onBoth(t, 3, func(t *testing.T, s limiter) {
		ctx := bounded(t)
		var inside atomic.Int32
		all(8, func(i int) {
			for range 500 {
				g := must(s.Acquire(ctx))
				if n := inside.Add(1); n > 3 {
					t.Errorf("%d are inside", n)
				}
				inside.Add(-1)
				g.Release()
			}
		})
		if s.Value() != 3 {
			t.Errorf("%d permits are left", s.Value())
		}
	})
}

func TestSemaphoreWeights(t *testing.T) {
	onBoth(t, 5, func(t *testing.T, s limiter) {
		two := must(s.AcquireN(t.Context(), 2))
		three, ok := s.TryAcquireN(context.Background(), 3)
		if !ok || s.Value() != 0 {
			t.Fatalf("%v, %d permits are left", ok, s.Value())
		}
		if _, ok := s.TryAcquire(context.Background()); ok {
			t.Error("a sixth permit")
		}
		two.Release()
		if s.Value() != 2 {
			t.Errorf("%d permits are there", s.Value())
		}
		if _, ok := s.TryAcquireN(context.Background(), 3); ok {
			t.Error("three of two")
		}
		three.Release()
		contains(t, panics(t, three.Release), "semaphore", "released before")
		if s.Value() != 5 {
			t.Errorf("%d permits after a double release", s.Value())
		}
		for _, n := range []int{0, -1, math.MinInt, math.MaxInt} {
			if _, err := s.AcquireN(t.Context(), n); err == nil {
				t.Errorf("%d permits were acquired", n)
			} else {
				contains(t, err, "share: acquire ", "permits")
			}
			if _, ok := s.TryAcquireN(context.Background(), n); ok {
				t.Errorf("%d permits were taken", n)
			}
		}
		if g := must(s.AcquireN(t.Context(), 5)); g.Token() != 0 || g.Recovered() {
			t.Errorf("token %d, recovered %v", g.Token(), g.Recovered())
		} else {
			g.Release()
		}
	})
}

// A bounded semaphore says at once that there will never be so many.
func TestBoundedSemaphoreTooMany(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		b := must(s.BoundedSemaphore("b", 2))
		_, err := b.AcquireN(t.Context(), 3)
		contains(t, err, "3 permits of 2")
	})
}

// Who waits for many gets them, although others who want few never stop.
func TestSemaphoreStarvation(t *testing.T) {
	onBoth(t, 4, func(t *testing.T, s limiter) {
		ctx := bounded(t)
		var stop atomic.Bool
		barger := start(func() {
			all(4, func(int) {
				for !stop.Load() {
					g := must(s.Acquire(ctx))
					for end := time.Now().Add(20 * time.Microsecond); time.Now().Before(end); {
					}
					g.Release()
				}
			})
		})
		for range 10 {
			must(s.AcquireN(ctx, 4)).Release()
		}
		stop.Store(true)
		barger()
	})
}

func TestSemaphorePost(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		sem, ctx := must(s.Semaphore("s", 0)), bounded(t)
		got := start(func() {
			g := must(sem.AcquireN(ctx, 3))
			if err := sem.Consume(ctx, g); err != nil {
				t.Error(err)
			}
			contains(t, panics(t, g.Release), "released before")
			contains(t, panics(t, func() { _ = sem.Consume(ctx, g) }), "share: Consume", "released before")
		})
		asleep(t, 1, "(*semaphore).acquireSlow")
		sem.Post(1)
		sem.Post(2)
		got()
		if sem.Value() != 0 {
			t.Errorf("%d permits are left after three were consumed", sem.Value())
		}
		sem.Post(4)
		if g := must(sem.AcquireN(ctx, 4)); sem.Value() != 0 {
			t.Error("posted permits are not counted")
		} else {
			g.Release()
		}
		if sem.Value() != 4 {
			t.Errorf("%d permits", sem.Value())
		}
		for _, n := range []int{0, -1} {
			contains(t, panics(t, func() { sem.Post(n) }), "share: Post of")
		}
		g := must(must(s.Semaphore("other", 1)).Acquire(ctx))
		contains(t, panics(t, func() { _ = sem.Consume(ctx, g) }), "not of semaphore")
		contains(t, panics(t, func() { _ = sem.Consume(ctx, Guard{}) }), "not of semaphore")
		g.Release()
	})
}

// An entry has 32 bits: more is an error, and not a carry into something else.
func TestSemaphoreHuge(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		sem := must(s.Semaphore("s", math.MaxInt32))
		sem.Post(math.MaxInt32)
		sem.Post(math.MaxInt32)
		a, b := must(sem.AcquireN(t.Context(), math.MaxInt32)), must(sem.AcquireN(t.Context(), math.MaxInt32))
		_, err := sem.AcquireN(t.Context(), math.MaxInt32)
		contains(t, err, "more than 4294967295")
		a.Release()
		b.Release()
		if sem.Value() != 3*math.MaxInt32 {
			t.Errorf("%d permits are left", sem.Value())
		}
	})
}

func TestSemaphoreStrandEnds(t *testing.T) {
	onBoth(t, 4, func(t *testing.T, s limiter) {
		st := strand.New(strand.Task, "task")
		ctx := strand.With(t.Context(), st)
		lost, stays := must(s.AcquireN(ctx, 2)), must(s.Acquire(ctx)).Detach()
		if held := strand.End(st); len(held) != 1 || s.Value() != 3 {
			t.Errorf("it held %q, and %d are left", held, s.Value())
		}
		lost.Release() // was done for it
		stays.Release()
		if s.Value() != 4 {
			t.Errorf("%d are left", s.Value())
		}
	})
}

func TestSemaphoreCancelled(t *testing.T) {
	onBoth(t, 2, func(t *testing.T, s limiter) {
		g := must(s.Acquire(t.Context()))
		givesUp(t, map[string]waitFunc{"acquire": func(ctx context.Context) error {
			_, err := s.AcquireN(ctx, 2)
			return err
		}}, "(*semaphore).acquireSlow")
		if s.Value() != 1 {
			t.Errorf("%d permits are left", s.Value())
		}
		must(s.Acquire(bounded(t))).Release()
		g.Release()
		if s.Value() != 2 {
			t.Errorf("%d permits are left", s.Value())
		}
	})
}

// The heir that gives up lets the others go on.
func TestSemaphoreHeirCancelled(t *testing.T) {
	onBoth(t, 2, func(t *testing.T, s limiter) {
		g := must(s.Acquire(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		big := start(func() {
			if _, err := s.AcquireN(ctx, 2); err == nil {
				t.Error("two of one permit")
			}
		})
		asleep(t, 1, "(*semaphore).acquireSlow")
		// It becomes the heir when it has been woken after its patience.
		eventually(t, "an heir", func() bool {
			h, ok := s.TryAcquire(context.Background())
			if ok {
				h.Release()
			}
			return !ok
		})
		small := start(func() { must(s.Acquire(bounded(t))).Release() })
		asleep(t, 2, "(*semaphore).acquireSlow")
		cancel()
		big()
		small()
		g.Release()
		if s.Value() != 2 {
			t.Errorf("%d permits are left", s.Value())
		}
	})
}

// Who allows more is served while one that allows less waits.
func TestSemaphoreBelow(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		sem, ctx := must(s.Semaphore("s", 5)), bounded(t)
		a := must(sem.AcquireBelow(ctx, 1))
		if _, ok := sem.TryAcquireBelow(ctx, 1); ok {
			t.Error("a second permit below 1")
		}
		none := start(func() { must(sem.AcquireBelow(ctx, 1)).Release() })
		asleep(t, 1, "(*semaphore).acquireSlow")
		for range 100 {
			b := must(sem.AcquireBelow(ctx, 2))
			if _, ok := sem.TryAcquireBelow(ctx, 2); ok {
				t.Error("a third permit below 2")
			}
			b.Release()
		}
		a.Release()
		none()
		if sem.Value() != 5 {
			t.Errorf("%d permits are left", sem.Value())
		}
		all := must(sem.AcquireN(ctx, 5))
		if _, ok := sem.TryAcquireBelow(ctx, 9); ok {
			t.Error("a sixth permit of five")
		}
		all.Release()
		for _, n := range []int{0, -1, math.MaxInt} {
			_, err := sem.AcquireBelow(ctx, n)
			contains(t, err, "share: acquire ", "permits")
		}
		short, cancel := context.WithCancel(ctx)
		a = must(sem.AcquireBelow(ctx, 1))
		gone := start(func() {
			if _, err := sem.AcquireBelow(short, 1); !errors.Is(err, context.Canceled) {
				t.Errorf("given up: %v", err)
			}
		})
		asleep(t, 1, "(*semaphore).acquireSlow")
		cancel()
		gone()
		a.Release()
	})
}
