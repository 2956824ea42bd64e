package share

import (
	"context"
	"fmt"
)

// Condition lets who has a lock wait until another one says that something has changed.
//
// The holder of the lock's guard waits; whoever changes what it waits for notifies. A
// notification is for those who wait when it is given. One that a waiter can't use,
// because it died or its context ended, goes to another; so after a death a waiter
// may wake for nothing, and WaitFor, which looks again, is to be preferred.
type Condition struct{ c *condition }

// condition is a Condition in this process.
type condition struct {
	object
	*waitlist
	nothingHeld
	lock *lock
}

// Condition opens the condition of that name, or makes it. It belongs to the given lock,
// which must be of the same space, or, if that is nil, to one of its own. In a space that this
// process has closed Notify does nothing.
func (s *Space) Condition(name string, lock *Lock) (*Condition, error) {
	var l *lockOf
	switch {
	case lock == nil || lock.l != nil && lock.l.space == s.space && lock.l.kind == kindConditionLock && lock.l.name == reserved+name:
		own, err := s.space.conditionLock(name)
		if err != nil {
			return nil, err
		}
		l = &lockOf{own, params{}}
	case lock.l == nil:
		return nil, fmt.Errorf("share: condition %q: its lock is a Lock of nothing: open it in the space first", name)
	case lock.l.space != s.space:
		return nil, fmt.Errorf("share: condition %q: its lock is of another space", name)
	default:
		l = &lockOf{lock.l, params{1, fingerprint(lock.l.name)}}
	}
	c, err := open(s.space, kindCondition, name, l.params, sure(l.makeCondition))
	if err != nil {
		return nil, err
	}
	return &Condition{c}, nil
}

// conditionLock opens the lock that the condition of that name has of its own.
func (s *space) conditionLock(name string) (*lock, error) {
	if err := s.check(kindCondition, name); err != nil {
		return nil, err
	}
	l, err := find(s, kindConditionLock, reserved+name, none, sure(makeLock))
	if err != nil {
		return nil, fmt.Errorf("share: open the lock of condition %q of %v: %w", name, s, err)
	}
	return l, nil
}

// lockOf is the lock of a condition, and what a condition's parameters say of it.
type lockOf struct {
	lock   *lock
	params params
}

func (l *lockOf) makeCondition(o object) *condition {
	own := [3]cellWord{o.space.gateWord(), o.space.gateWord(), o.space.gateWord()}
	return &condition{object: o, lock: l.lock, waitlist: newWaitlist(o.space.mem, o.words, &o.space.gates, own)}
}

// Lock is the lock that the condition belongs to.
func (c *Condition) Lock() *Lock {
	mustBe(c.c != nil)
	return &Lock{c.c.lock}
}

// Acquire acquires the condition's lock.
func (c *Condition) Acquire(ctx context.Context) (Guard, error) {
	if c.c == nil {
		return Guard{}, errNothing
	}
	return c.c.lock.acquire(ctx)
}

// Wait gives up the lock, waits until it is notified, and acquires the lock again. It
// returns the new guard. After an error, which is ctx's or ErrClosed, the lock is given
// up. The guard must be one of the condition's lock: another panics.
func (c *Condition) Wait(ctx context.Context, g Guard) (Guard, error) {
	if c.c == nil {
		return Guard{}, errNothing
	}
	if g.of != releaser(c.c.lock) {
		panic(fmt.Sprintf("share: Wait with a guard that is not of the lock of %v", &c.c.object))
	}
	if l := c.c.lock; !l.holds(g.Token()) && l.wasReleased(g.Token()) && !c.c.space.closed.Load() {
		panic(fmt.Sprintf("share: Wait for %v with a guard that was released before, or lost its lock", &c.c.object))
	}
	if ctx.Err() != nil {
		g.Release()
		return Guard{}, c.c.failed("wait for", context.Cause(ctx))
	}
	w, err := c.c.join(ctx)
	g.Release()
	if err != nil {
		return Guard{}, c.c.failed("wait for", err)
	}
	if err := c.c.wait(ctx, w); err != nil {
		return Guard{}, c.c.failed("wait for", err)
	}
	again, err := c.c.lock.acquire(ctx)
	if err != nil {
		c.c.notify(1) // somebody else may be able to use it
		return Guard{}, err
	}
	return again, nil
}

// WaitFor waits until what holds reports true; it is called with the lock held, at first
// and after each notification. As with Wait the lock is given up after an error.
func (c *Condition) WaitFor(ctx context.Context, g Guard, holds func() bool) (Guard, error) {
	if c.c == nil {
		return Guard{}, errNothing
	}
	for {
		ok, err := c.holds(g, holds)
		if ok || err != nil {
			return g, err
		}
		if g, err = c.Wait(ctx, g); err != nil {
			return Guard{}, err
		}
	}
}

// holds calls what says whether to wait on. If it panics, the lock is given up.
func (c *Condition) holds(g Guard, holds func() bool) (ok bool, err error) {
	returned := false
	defer func() {
		if !returned {
			g.Release()
		}
	}()
	ok = holds()
	returned = true
	return ok, nil
}

// Notify wakes up to n of those who wait, and returns how many. The caller should have the
// lock, as otherwise what they wait for may change between their look and their wait.
func (c *Condition) Notify(n int) int {
	mustBe(c.c != nil)
	if n < 0 {
		panic(fmt.Sprintf("share: Notify of %d", n))
	}
	return c.c.notify(n)
}

// NotifyAll wakes all who wait, and returns how many.
func (c *Condition) NotifyAll() int {
	mustBe(c.c != nil)
	return c.c.notify(1<<31 - 1)
}
