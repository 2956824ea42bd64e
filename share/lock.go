package share

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/brood-go/brood/internal/race"
	"github.com/brood-go/brood/internal/strand"
)

// Lock is mutual exclusion: one at a time has it. Unlike Python's it is not left locked by
// a process that dies: the next owner gets it, and its guard says Recovered. Who waits for
// a lock in a circle gets a [DeadlockError].
//
// Its owner is the goroutine that acquired it. A guard may be handed to another one, and released
// there; but who then acquires the lock again seems to wait for itself, unless the guard
// was detached.
//
// The one who finds the lock free takes it, also when others wait; but one that has
// waited for 1 ms is handed the lock. All methods may be called from any goroutine.
type Lock struct{ l *lock }

// lock is a Lock in this process.
type lock struct {
	object
	mutex
	holder
	lost   atomic.Uint64 // the last token that was taken back from an ended strand
	target target        // the lock, or the RLock that it is of
	shadow race.Shadow
}

// Lock opens the lock of that name, or makes it.
func (s *Space) Lock(name string) (*Lock, error) {
	l, err := open(s.space, kindLock, name, none, sure(makeLock))
	if err != nil {
		return nil, err
	}
	return &Lock{l}, nil
}

func makeLock(o object) *lock {
	l := &lock{object: o, mutex: newMutex(o.space.mem, o.words, &o.space.gates, o.space.gateWord())}
	l.target = l
	return l
}

// Acquire waits for the lock. The error is ctx's, or a *DeadlockError, or ErrClosed.
func (l *Lock) Acquire(ctx context.Context) (Guard, error) { return l.l.acquire(ctx) }

// TryAcquire takes the lock if nobody has it. It does not wait: ctx says for whom it is.
func (l *Lock) TryAcquire(ctx context.Context) (Guard, bool) {
	mustBe(l.l != nil)
	return l.l.tryAcquire(ctx)
}

func (l *lock) acquire(ctx context.Context) (Guard, error) {
	if l == nil {
		return Guard{}, errNothing
	}
	if ctx.Err() == nil {
		if s := l.state.Load(); s&^turnMask == 0 && !l.space.closed.Load() && l.state.CompareAndSwap(s, s|l.mine) && !l.space.closed.Load() {
			token := tokenOf(l.epoch.Load(), s)
			if by := strand.From(ctx); by != nil || l.holder.strand.Load() != nil {
				l.holder.setStrand(by, l.space)
			}
			l.holder.who.Store(strand.Goroutine()<<tokenBits | token&tokenMask)
			if l.holder.strand.Load() != nil {
				l.holder.recheck(ctx)
			}
			l.shadow.Acquire()
			return Guard{l, token}, nil
		}
	}
	return l.acquireSlow(ctx)
}

func (l *lock) acquireSlow(ctx context.Context) (Guard, error) {
	if ctx.Err() != nil {
		return Guard{}, l.failed("acquire", context.Cause(ctx))
	}
	if l.space.closed.Load() {
		return Guard{}, l.failed("acquire", ErrClosed)
	}
	g, ok := l.try()
	if !ok {
		var err error
		if g, err = l.wait(ctx); err != nil {
			return Guard{}, l.failed("acquire", err)
		}
	}
	return l.acquired(ctx, g)
}

// wait waits for the lock, and says so to those who look for deadlocks.
func (l *lock) wait(ctx context.Context) (grant, error) {
	ctx, end, err := l.space.block(ctx, l.target)
	if err != nil {
		return grant{}, err
	}
	defer end()
	return l.lockSlow(ctx)
}

// acquired makes the guard.
func (l *lock) acquired(ctx context.Context, g grant) (Guard, error) {
	if l.space.closed.Load() {
		return Guard{}, l.failed("acquire", ErrClosed)
	}
	l.holder.set(strand.From(ctx), g.token, l.space)
	l.holder.recheck(ctx)
	l.shadow.Acquire()
	token := g.token
	if g.recovered {
		token |= hasRecovered
	}
	return Guard{l, token}, nil
}

func (l *lock) tryAcquire(ctx context.Context) (Guard, bool) {
	g, ok := l.try()
	if !ok {
		return Guard{}, false
	}
	guard, err := l.acquired(ctx, g)
	return guard, err == nil
}

// release implements releaser.
func (l *lock) release(token uint64) {
	l.shadow.Release()
	if !l.unlock(token, false) && l.wasReleased(token) && token > l.lost.Load() && !l.space.closed.Load() {
		panic(fmt.Sprintf("share: Release of %v by a guard that was released before", &l.object))
	}
}

// wasReleased reports whether the lock has been released since it was acquired with a token
// that it no longer has. If not, a peer has overwritten it: that is not the caller's fault.
// More releases than there are turns are not believed.
func (l *lock) wasReleased(token uint64) bool {
	s := l.state.Load()
	since := l.token(s) - token
	return since > 0 && since < 1<<turnBits && (owner(s) == 0 || l.mem.Alive(owner(s)))
}

// detach implements releaser.
func (l *lock) detach(token uint64) {
	if l.holds(token) {
		l.holder.who.Store(0)
	}
}

// heldBy is the token of the lock's owner, if this process has it and knows who.
func (l *lock) heldBy() (goroutine uint64, s *strand.Strand, token uint64, ok bool) {
	state := l.state.Load()
	if owner(state) != l.me || state&isHanded != 0 {
		return 0, nil, 0, false
	}
	token = l.token(state)
	goroutine, s, ok = l.holder.get(token)
	return goroutine, s, token, ok
}

// abandon implements thing.
func (l *lock) abandon(s *strand.Strand) bool {
	_, by, token, ok := l.heldBy()
	if !ok || by != s {
		return false
	}
	l.lost.Store(token)
	l.shadow.Release()
	return l.unlock(token, true)
}
