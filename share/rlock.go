package share

import (
	"context"
	"errors"

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

	// Of this process's acquisition; guarded by the keeper's mutex.
	current uint64 // its token
	depth   int    // guards that are not released
}

// ErrNoStrand is returned by an RLock for a context that says nothing of who acquires.
var ErrNoStrand = errors.New("the context carries no strand: use the one that Main, a Func or a task was given")

// RLock opens the re-entrant lock of that name, or makes it.
func (s *Space) RLock(name string) (*RLock, error) {
	l, err := open(s.space, kindRLock, name, none, sure(makeRLock))
	if err != nil {
		return nil, err
	}
	return &RLock{l}, nil
}

func makeRLock(o object) *rlock {
	r := &rlock{lock: lock{object: o, mutex: newMutex(o.space.mem, o.words, &o.space.gates, o.space.gateWord())}}
	r.lock.target = r
	return r
}

// Holders implements waits.Target. Who has released the last guard is about to release the lock.
func (r *rlock) Holders() (goroutines []uint64, known bool) {
	r.keeper.mu.Lock()
	defer r.keeper.mu.Unlock()
	if r.depth == 0 {
		return nil, false
	}
	return r.lock.Holders()
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
	g, ok := r.tryAcquire(ctx)
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
	h := newHold(ctx, r, 1)
	r.keeper.mu.Lock()
	defer r.keeper.mu.Unlock()
	if r.depth == 0 || turnOf(r.current) != turnOf(token) {
		return Guard{}, false // another goroutine has just released it
	}
	r.depth++
	r.list(h)
	return Guard{h, r.current}, true
}

// entered makes the first guard of a lock that was acquired.
func (r *rlock) entered(ctx context.Context, g Guard) Guard {
	h := newHold(ctx, r, 1)
	r.keeper.mu.Lock()
	defer r.keeper.mu.Unlock()
	r.depth, r.current = 1, g.token&^hasRecovered
	r.list(h)
	return Guard{h, g.token}
}

// releaseHold implements holdable.
func (r *rlock) releaseHold(h *hold, token uint64) {
	r.keeper.mu.Lock()
	first := r.drop(h)
	last := first && r.current == token && r.depth == 1
	if first && r.current == token && r.depth > 0 {
		r.depth--
	}
	if first && !last && r.current == token && r.keeper.first == nil {
		r.lock.detach(token) // what is left was detached
	}
	r.keeper.mu.Unlock()
	switch {
	case !first:
		h.refuse("Release")
	case last:
		r.lock.release(token)
	}
}

// detachHold implements holdable. As long as there is a guard that is not detached, the lock
// belongs to who acquired it.
func (r *rlock) detachHold(h *hold, token uint64) {
	r.keeper.mu.Lock()
	defer r.keeper.mu.Unlock()
	r.unlist(h)
	if r.keeper.first == nil && r.current == token {
		r.lock.detach(token)
	}
}

// abandon implements thing. Guards that were detached stay.
func (r *rlock) abandon(s *strand.Strand) bool {
	_, by, token, ok := r.heldBy()
	if !ok || by != s {
		return false
	}
	r.keeper.mu.Lock()
	defer r.keeper.mu.Unlock()
	if r.depth == 0 || turnOf(r.current) != turnOf(token) {
		return false
	}
	before := r.depth
	for h := r.keeper.first; h != nil; {
		next := h.next
		if h.strand == s {
			h.lost.Store(true)
			r.drop(h)
			r.depth--
		}
		h = next
	}
	if r.depth > 0 {
		r.lock.detach(token)
		return r.depth < before
	}
	r.shadow.Release()
	return r.unlock(token, true)
}
