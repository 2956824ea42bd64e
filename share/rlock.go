package share

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/brood-go/brood/internal/strand"
)

// RLock is a Lock that its owner may acquire again, and that is free for others when it
// was released as often. The owner is a strand and its goroutine: a context that several
// goroutines share does not let two of them in.
type RLock struct{ l *rlock }

// rlock is an RLock in this process.
type rlock struct {
	lock
	keeper
	depth atomic.Int32 // guards that are not released, if this process has the lock
}

// ErrNoStrand is returned by an RLock for a context that says nothing of who acquires.
var ErrNoStrand = errors.New("the context carries no strand: use the one that Main, a Func or a task was given")

// RLock opens the re-entrant lock of that name, or makes it.
func (s *Space) RLock(name string) (*RLock, error) {
	l, err := open(s.space, kindRLock, name, none, makeRLock)
	if err != nil {
		return nil, err
	}
	return &RLock{l}, nil
}

func makeRLock(o object) *rlock {
	return &rlock{lock: lock{object: o, mutex: newMutex(o.space.mem, o.words, &o.space.gates, o.space.gateWord())}}
}

// Acquire waits for the lock, or takes it once more if the strand and goroutine have it.
// The error is ctx's, ErrNoStrand, a *DeadlockError, or ErrClosed.
func (l *RLock) Acquire(ctx context.Context) (Guard, error) {
	r := l.l
	if r == nil {
		return Guard{}, errNothing
	}
	s := strand.From(ctx)
	if s == nil {
		return Guard{}, r.failed("acquire", ErrNoStrand)
	}
	if g, ok := r.again(ctx, s); ok {
		return g, nil
	}
	g, err := r.acquire(ctx)
	if err != nil {
		return Guard{}, err
	}
	return r.entered(ctx, g), nil
}

// TryAcquire takes the lock if nobody else has it. Without a strand in ctx it does not.
func (l *RLock) TryAcquire(ctx context.Context) (Guard, bool) {
	r := l.l
	mustBe(r != nil)
	s := strand.From(ctx)
	if s == nil {
		return Guard{}, false
	}
	if g, ok := r.again(ctx, s); ok {
		return g, true
	}
	g, ok := r.tryAcquire(s)
	if !ok {
		return Guard{}, false
	}
	return r.entered(ctx, g), true
}

// again enters a lock that the strand and this goroutine have.
func (r *rlock) again(ctx context.Context, s *strand.Strand) (Guard, bool) {
	goroutine, by, token, ok := r.heldBy()
	if !ok || by != s || goroutine != strand.Goroutine() || r.space.closed.Load() {
		return Guard{}, false
	}
	return r.entered(ctx, Guard{token: token}), true
}

// entered makes a guard of one more level.
func (r *rlock) entered(ctx context.Context, g Guard) Guard {
	r.depth.Add(1)
	return Guard{r.keeper.add(ctx, r, 1), g.token}
}

// releaseHold implements holdable.
func (r *rlock) releaseHold(h *hold, token uint64) {
	if !r.keeper.remove(h) {
		h.refuse()
		return
	}
	if r.depth.Add(-1) == 0 {
		r.lock.release(token)
	}
}

// detachHold implements holdable.
func (r *rlock) detachHold(h *hold, token uint64) {
	r.keeper.detach(h)
	r.lock.detach(token)
}

// abandon implements thing.
func (r *rlock) abandon(s *strand.Strand) bool {
	_, by, token, ok := r.heldBy()
	if !ok || by != s {
		return false
	}
	for _, h := range r.keeper.of(s) {
		r.keeper.takeBack(h)
	}
	r.depth.Store(0)
	r.shadow.Release()
	return r.unlock(token, true)
}
