package share

import (
	"context"
	"errors"
	"fmt"

	"github.com/brood-go/brood/internal/race"
	"github.com/brood-go/brood/internal/strand"
)

// Semaphore is a number of permits: who acquires one waits until there is one. Permits
// that a dead process held return by themselves.
//
// The one who finds enough permits takes them, also when others wait; but one that has
// waited for 1 ms gets its permits before anybody else gets any. In a space that this process
// has closed Post does nothing.
type Semaphore struct{ s *semaphore }

// BoundedSemaphore is a Semaphore whose number of permits never grows: there is no Post.
type BoundedSemaphore struct{ s *semaphore }

// semaphore is a semaphore in this process.
type semaphore struct {
	object
	*permits
	keeper
	bounded bool
	shadow  race.Shadow
}

// Semaphore opens the semaphore of that name, or makes it with n permits.
func (s *Space) Semaphore(name string, n int) (*Semaphore, error) {
	sem, err := openSemaphore(s.space, kindSemaphore, name, n)
	if err != nil {
		return nil, err
	}
	return &Semaphore{sem}, nil
}

// BoundedSemaphore opens the bounded semaphore of that name, or makes it with n permits.
func (s *Space) BoundedSemaphore(name string, n int) (*BoundedSemaphore, error) {
	sem, err := openSemaphore(s.space, kindBoundedSemaphore, name, n)
	if err != nil {
		return nil, err
	}
	return &BoundedSemaphore{sem}, nil
}

var errTakenBack = errors.New("they were taken back when the task that acquired them ended")

// maxPermits is what fits in an entry, with room to be posted.
const maxPermits = 1<<31 - 1

func openSemaphore(s *space, k kind, name string, n int) (*semaphore, error) {
	if n < 0 || n > maxPermits {
		return nil, fmt.Errorf("share: %v %q with %d permits: give a number from 0 to %d", k, name, n, maxPermits)
	}
	return open(s, k, name, params{uint64(n)}, sure(makeSemaphore(k)))
}

func makeSemaphore(k kind) func(o object) *semaphore {
	return func(o object) *semaphore {
		gates := [2]cellWord{o.space.gateWord(), o.space.gateWord()}
		return &semaphore{
			object: o, bounded: k == kindBoundedSemaphore,
			permits: newPermits(int(o.params[0]), o.space.mem, o.words, &o.space.gates, gates),
		}
	}
}

// Acquire waits for a permit. The error is ctx's, a *DeadlockError, or ErrClosed.
func (s *Semaphore) Acquire(ctx context.Context) (Guard, error) { return s.s.acquire(ctx, 1) }

// AcquireN waits for n permits, and takes them together. Permits that do not exist yet
// may be posted.
func (s *Semaphore) AcquireN(ctx context.Context, n int) (Guard, error) { return s.s.acquire(ctx, n) }

// TryAcquire takes a permit if there is one. It waits for no permit: ctx says for whom it is.
func (s *Semaphore) TryAcquire(ctx context.Context) (Guard, bool) { return s.s.tryAcquire(ctx, 1) }

// TryAcquireN takes n permits if they are there. It waits for no permit.
func (s *Semaphore) TryAcquireN(ctx context.Context, n int) (Guard, bool) {
	return s.s.tryAcquire(ctx, n)
}

// AcquireBelow waits until fewer than n permits are held, by anybody, and takes one. So callers may
// differ in how many they allow, each judges by its own number, and AcquireBelow of 1 waits until
// nobody holds any. It is not fair: others that allow more are served while it waits.
func (s *Semaphore) AcquireBelow(ctx context.Context, n int) (Guard, error) {
	return s.s.acquireBelow(ctx, n)
}

// TryAcquireBelow takes a permit if fewer than n are held. It waits for no permit.
func (s *Semaphore) TryAcquireBelow(ctx context.Context, n int) (Guard, bool) {
	mustBe(s.s != nil)
	if s.s.check(n) != nil || !s.s.tryNow(1, int64(n)) || s.s.space.closed.Load() {
		return Guard{}, false
	}
	return s.s.acquired(ctx, 1), true
}

// Value is how many permits can be had now.
func (s *Semaphore) Value() int { return s.s.value() }

// Post makes n permits more: what Python does by a release without an acquire.
func (s *Semaphore) Post(n int) {
	mustBe(s.s != nil)
	if n < 1 {
		panic(fmt.Sprintf("share: Post of %d permits: at least one is posted", n))
	}
	s.s.shadow.Release()
	s.s.post(int64(n))
}

// Consume makes the permits of a guard go for ever, instead of giving them back: what
// Python does by an acquire without a release. They do not return when the process
// dies. The guard is released.
func (s *Semaphore) Consume(ctx context.Context, g Guard) error {
	if s.s == nil {
		return errNothing
	}
	h, ok := g.of.(*hold)
	if !ok || h.of != holdable(s.s) {
		panic(fmt.Sprintf("share: Consume of a guard that is not of %v", &s.s.object))
	}
	if !s.s.remove(h) {
		h.refuse("Consume")
		if s.s.space.closed.Load() {
			return s.s.failed("consume permits of", ErrClosed)
		}
		return s.s.failed("consume permits of", errTakenBack)
	}
	err := s.s.consume(ctx, h.n)
	if err == nil && s.s.space.closed.Load() {
		err = ErrClosed
	}
	if err != nil {
		s.s.permits.release(h.n)
		return s.s.failed("consume permits of", err)
	}
	return nil
}

// Acquire waits for a permit. The error is ctx's, a *DeadlockError, or ErrClosed.
func (s *BoundedSemaphore) Acquire(ctx context.Context) (Guard, error) { return s.s.acquire(ctx, 1) }

// AcquireN waits for n permits, and takes them together. More than there are is an error.
func (s *BoundedSemaphore) AcquireN(ctx context.Context, n int) (Guard, error) {
	return s.s.acquire(ctx, n)
}

// TryAcquire takes a permit if there is one. It waits for no permit: ctx says for whom it is.
func (s *BoundedSemaphore) TryAcquire(ctx context.Context) (Guard, bool) {
	return s.s.tryAcquire(ctx, 1)
}

// TryAcquireN takes n permits if they are there. It waits for no permit.
func (s *BoundedSemaphore) TryAcquireN(ctx context.Context, n int) (Guard, bool) {
	return s.s.tryAcquire(ctx, n)
}

// Value is how many permits can be had now.
func (s *BoundedSemaphore) Value() int { return s.s.value() }

func (s *semaphore) value() int {
	mustBe(s != nil)
	return int(max(s.available(), 0))
}

func (s *semaphore) check(n int) error {
	switch {
	case n < 1 || n > maxPermits:
		return fmt.Errorf("%d permits: ask for a number from 1 to %d", n, maxPermits)
	case s.bounded && int64(n) > s.made:
		return fmt.Errorf("%d permits of %d: that many there will never be", n, s.made)
	}
	return nil
}

func (s *semaphore) acquire(ctx context.Context, n int) (Guard, error) {
	if s == nil {
		return Guard{}, errNothing
	}
	if err := s.check(n); err != nil {
		return Guard{}, s.failed("acquire", err)
	}
	if ctx.Err() != nil {
		return Guard{}, s.failed("acquire", context.Cause(ctx))
	}
	ok, err := s.try(ctx, int64(n), unbounded)
	if !ok && err == nil {
		err = s.acquireSlow(ctx, n, unbounded)
	}
	return s.waited(ctx, n, err)
}

// waited is the end of an acquire.
func (s *semaphore) waited(ctx context.Context, n int, err error) (Guard, error) {
	if err == nil && s.space.closed.Load() {
		err = ErrClosed
	}
	if err != nil {
		return Guard{}, s.failed("acquire", err)
	}
	return s.acquired(ctx, n), nil
}

// acquireBelow takes one permit when fewer than n are held.
func (s *semaphore) acquireBelow(ctx context.Context, n int) (Guard, error) {
	if s == nil {
		return Guard{}, errNothing
	}
	if err := s.check(n); err != nil {
		return Guard{}, s.failed("acquire", err)
	}
	if ctx.Err() != nil {
		return Guard{}, s.failed("acquire", context.Cause(ctx))
	}
	ok, err := s.try(ctx, 1, int64(n))
	if !ok && err == nil {
		err = s.acquireSlow(ctx, 1, int64(n))
	}
	return s.waited(ctx, 1, err)
}

func (s *semaphore) acquireSlow(ctx context.Context, n int, below int64) error {
	ctx, end, err := s.space.block(ctx, wanted{s, int64(n)})
	if err != nil {
		return err
	}
	defer end()
	if below != unbounded {
		return s.waitBelow(ctx, below)
	}
	return s.wait(ctx, int64(n))
}

func (s *semaphore) tryAcquire(ctx context.Context, n int) (Guard, bool) {
	mustBe(s != nil)
	if s.check(n) != nil || !s.tryNow(int64(n), unbounded) || s.space.closed.Load() {
		return Guard{}, false
	}
	return s.acquired(ctx, n), true
}

func (s *semaphore) acquired(ctx context.Context, n int) Guard {
	s.shadow.Acquire()
	return Guard{s.keeper.add(ctx, s, int64(n)), 0}
}

// releaseHold implements holdable.
func (s *semaphore) releaseHold(h *hold, _ uint64) {
	if !s.remove(h) {
		h.refuse("Release")
		return
	}
	s.shadow.Release()
	s.permits.release(h.n)
}

// detachHold implements holdable.
func (s *semaphore) detachHold(h *hold, _ uint64) { s.keeper.detach(h) }

// abandon implements thing.
func (s *semaphore) abandon(by *strand.Strand) (any bool) {
	for _, h := range s.keeper.of(by) {
		if s.takeBack(h) {
			s.shadow.Release()
			s.permits.release(h.n)
			any = true
		}
	}
	return any
}
