package share

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
)

// A permit is free, and who waits for it has not run yet: the one who has the other permit may
// wait for its lock.
func TestNoAlarmFreePermit(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := t.Context()
		l, sem := must(s.Lock("l")), must(s.BoundedSemaphore("s", 2))
		for range 500 {
			mine := must(sem.Acquire(ctx))
			release, hold, locked, done := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan error)
			go func() {
				g := must(sem.Acquire(ctx))
				close(hold)
				<-release
				g.Release()
			}()
			<-hold
			go func() {
				g := must(l.Acquire(ctx))
				close(locked)
				p, err := sem.Acquire(ctx)
				if err == nil {
					p.Release()
				}
				g.Release()
				done <- err
			}()
			<-locked
			for waits.Waiting() < 1 {
				runtime.Gosched()
			}
			close(release)
			for sem.Value() == 0 && waits.Waiting() > 0 {
				runtime.Gosched()
			}
			g, err := l.Acquire(ctx)
			if err == nil {
				g.Release()
			}
			mine.Release()
			if err := errors.Join(err, <-done); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A guard of an RLock is handed to another goroutine and released there, while its first
// owner enters again. Never are two inside, and the lock is free in the end.
func TestRLockHandedOn(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l := must(s.RLock("l"))
		me, other := asStrand(t.Context(), "me"), asStrand(t.Context(), "other")
		var stop atomic.Bool
		var inside atomic.Int32
		var wg sync.WaitGroup
		enter := func() {
			if inside.Add(1) > 1 {
				t.Error("two are inside")
			}
			inside.Add(-1)
		}
		wg.Go(func() {
			for !stop.Load() {
				g := must(l.Acquire(other))
				enter()
				g.Release()
			}
		})
		guards := make(chan Guard)
		wg.Go(func() {
			for g := range guards {
				g.Release()
			}
		})
		for range 5000 {
			guards <- must(l.Acquire(me))
			g := must(l.Acquire(me))
			enter()
			g.Release()
		}
		stop.Store(true)
		close(guards)
		wg.Wait()
		if g, ok := l.TryAcquire(me); !ok {
			t.Error("locked in the end")
		} else {
			g.Release()
		}
	})
}

// An inner guard that is detached leaves the outer one its owner's.
func TestRLockDetachInner(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, me := must(s.RLock("l")), strand.New(strand.Thread, "me")
		ctx := strand.With(t.Context(), me)
		must(l.Acquire(ctx))
		inner := must(l.Acquire(ctx)).Detach()
		again, ok := l.TryAcquire(ctx)
		if !ok {
			t.Fatal("the owner can't enter again")
		}
		again.Release()
		inner.Release()
		if held := strand.End(me); len(held) != 1 {
			t.Errorf("taken back: %v", held)
		}
		if g, ok := l.TryAcquire(asStrand(t.Context(), "next")); !ok || !g.Recovered() {
			t.Error("the next one does not get it, or is not told")
		}
	})
}

// mortal is a heap seen by a participant that knows of one that is dead.
type mortal struct {
	*cell.Heap
	me, dead cell.ID
}

func (m mortal) Self() cell.ID         { return m.me }
func (m mortal) Alive(id cell.ID) bool { return id != m.dead && id != 0 }

// The owner died at the last turn before the wrap. One finds it dead and is held up, another takes
// over; then the first goes on. The owner's token stays good.
func TestOvertakenAtTheWrap(t *testing.T) {
	heap := new(cell.Heap)
	newWord := func() cell.Word { return cell.At(new(atomic.Uint64)) }
	words := []cell.Word{newWord(), newWord(), newWord()}
	dead := cell.MakeID(1, 1)
	one := func(slot int) mutex {
		return newMutex(mortal{heap, cell.MakeID(slot, 1), dead}, words, heap, newWord())
	}
	slow, quick, last := one(2), one(3), one(4)
	words[0].Store(owned(dead) | turnMask)
	s := slow.state.Load()
	next, ok := slow.takable(s, false, false)
	if !ok {
		t.Fatal("the owner is dead")
	}
	g, ok := quick.try()
	if !ok || slow.take(s, next) {
		t.Fatal("the quick one is to have it")
	}
	if !quick.unlock(g.token, false) {
		t.Errorf("the owner's token %#x is refused", g.token)
	}
	if h, ok := last.try(); !ok || h.token <= g.token {
		t.Errorf("the next one: %v, token %#x after %#x", ok, h.token, g.token)
	}
}

// A process is stopped while it holds a latch: what does not wait, or waits no longer, comes
// back all the same.
func TestStoppedLatch(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		b, sem := must(s.Barrier("b", 2, nil)), must(s.BoundedSemaphore("s", 2))
		for _, latch := range []*mutex{&b.b.latch, &sem.s.latch} {
			g := must(latch.lock(t.Context()))
			defer latch.unlock(g.token, false)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait: %v", err)
		}
		if _, ok := sem.TryAcquire(t.Context()); ok {
			t.Error("TryAcquire took a permit without the latch")
		}
		if _, err := sem.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
	})
}

// What is left of an RLock's guards was detached: it belongs to nobody.
func TestRLockOnlyDetachedLeft(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, me := must(s.RLock("l")), strand.New(strand.Thread, "me")
		ctx := strand.With(t.Context(), me)
		outer, inner := must(l.Acquire(ctx)), must(l.Acquire(ctx))
		inner.Detach()
		outer.Release()
		if held := strand.End(me); held != nil {
			t.Errorf("taken back: %v", held)
		}
		next := asStrand(t.Context(), "next")
		if _, ok := l.TryAcquire(next); ok {
			t.Error("the detached guard was taken back")
		}
		inner.Release()
		must(l.Acquire(next)).Release()
	})
}

// A wait whose context has ended is over: who waits for its agent is not told of a deadlock.
func TestNoAlarmEndedContext(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		a, b := must(s.Lock("a")), must(s.Lock("b"))
		for range 200 {
			mine := must(b.Acquire(t.Context()))
			ctx, cancel := context.WithCancel(t.Context())
			waits0, done := waits.Waiting(), make(chan struct{})
			go func() {
				defer close(done)
				g := must(a.Acquire(t.Context()))
				if _, err := b.Acquire(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("%v, want that it was cancelled", err)
				}
				g.Release()
			}()
			for waits.Waiting() == waits0 {
				runtime.Gosched()
			}
			cancel()
			g, err := a.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			g.Release()
			<-done
			mine.Release()
		}
	})
}

// Permits that were taken back can't be consumed.
func TestConsumeTakenBack(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		sem, task := must(s.Semaphore("s", 1)), strand.New(strand.Task, "task")
		g := must(sem.Acquire(strand.With(t.Context(), task)))
		strand.End(task)
		contains(t, sem.Consume(t.Context(), g), "taken back")
		if n := sem.Value(); n != 1 {
			t.Errorf("%d permits", n)
		}
	})
}
