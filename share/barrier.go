package share

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/brood-go/brood/internal/race"
)

// Barrier lets a number of parties wait for each other: when the last one has arrived, all go
// on, and the barrier is ready for the next time.
//
// It breaks, for all who wait and until it is reset, when a party that waits dies, its
// context ends, the action fails, or somebody aborts it.
type Barrier struct {
	b      *barrier
	action func(context.Context) error
}

// barrier is a Barrier in this process.
type barrier struct {
	object
	*rendezvous
	nothingHeld
	shadow race.Shadow
}

// ErrBrokenBarrier is returned to all who wait at a barrier that breaks, or is broken.
var ErrBrokenBarrier = errors.New("the barrier is broken")

// maxParties is what fits in an entry.
const maxParties = 1<<16 - 1

// Barrier opens the barrier of that name, or makes it for a number of parties. The action,
// if it is not nil, is run by the last one of them that arrives, before any goes on; each
// handle has its own, and the last one's handle says which is run.
func (s *Space) Barrier(name string, parties int, action func(ctx context.Context) error) (*Barrier, error) {
	if parties < 1 || parties > maxParties {
		return nil, fmt.Errorf("share: barrier %q of %d parties: give a number from 1 to %d", name, parties, maxParties)
	}
	b, err := open(s.space, kindBarrier, name, params{uint64(parties)}, sure(makeBarrier))
	if err != nil {
		return nil, err
	}
	return &Barrier{b, action}, nil
}

// barrierPatience is how long a barrier waits for its latch where the caller no longer waits.
const barrierPatience = 100 * time.Millisecond

func makeBarrier(o object) *barrier {
	r := newRendezvous(int(o.params[0]), o.space.mem, o.words, &o.space.gates, o.space.gateWord())
	r.patience = barrierPatience
	return &barrier{object: o, rendezvous: r}
}

// WithAction is another handle of the barrier, with that action.
func (b *Barrier) WithAction(action func(ctx context.Context) error) *Barrier {
	mustBe(b.b != nil)
	return &Barrier{b.b, action}
}

// Wait arrives at the barrier and waits for the others. It returns as which one of this
// meeting it arrived, from 0. The error matches ErrBrokenBarrier; for the one whose context ended
// or whose action failed it is that error as well.
func (b *Barrier) Wait(ctx context.Context) (int, error) {
	c := b.b
	if c == nil {
		return 0, errNothing
	}
	if ctx.Err() == nil && c.space.closed.Load() {
		return 0, c.failed("wait at", ErrClosed)
	}
	c.shadow.Release()
	index, err := c.rendezvous.wait(ctx, c.seen(b.action))
	switch {
	case err != nil && !errors.Is(err, ErrClosed):
		return 0, c.failed("wait at", broken(err))
	case err != nil || c.space.closed.Load():
		return 0, c.failed("wait at", ErrClosed)
	}
	c.shadow.Acquire()
	return index, nil
}

// seen lets the race detector know that the action comes after what all have done before
// they arrived, and before what they do after.
func (b *barrier) seen(action func(context.Context) error) func(context.Context) error {
	if action == nil {
		return nil
	}
	return func(ctx context.Context) error {
		b.shadow.Acquire()
		defer b.shadow.Release()
		return action(ctx)
	}
}

// broken makes an error match ErrBrokenBarrier.
func broken(err error) error {
	if errors.Is(err, errBroken) {
		return ErrBrokenBarrier
	}
	return fmt.Errorf("%w: %w", ErrBrokenBarrier, err)
}

// Reset makes the barrier new. Who waits at it is told that it is broken.
func (b *Barrier) Reset() error {
	if b.b == nil {
		return errNothing
	}
	return b.b.force("reset", b.b.reset)
}

// Abort breaks the barrier.
func (b *Barrier) Abort() error {
	if b.b == nil {
		return errNothing
	}
	return b.b.force("abort", b.b.abort)
}

// force ends a meeting in one of two ways.
func (b *barrier) force(what string, f func(context.Context) error) error {
	err := f(context.Background())
	if err == nil && b.space.closed.Load() {
		err = ErrClosed
	}
	if err != nil {
		return b.failed(what, err)
	}
	return nil
}

// Parties is for how many the barrier is.
func (b *Barrier) Parties() int {
	mustBe(b.b != nil)
	return b.b.parties
}

// Waiting is how many have arrived and wait for the others.
func (b *Barrier) Waiting() int {
	mustBe(b.b != nil)
	return b.b.waiting()
}

// Broken reports whether the barrier is broken.
func (b *Barrier) Broken() bool {
	mustBe(b.b != nil)
	return b.b.state.Load()&isBroken != 0
}
