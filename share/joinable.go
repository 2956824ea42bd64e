package share

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/brood-go/brood/internal/strand"
)

// JoinableQueue is a Queue that knows when all that was put is done. Get hands out a Delivery, and
// an item is done when its Delivery is. If the process that has it dies, or the task of a pool that
// got it ends, before that, the item is given back: it is delivered again, in its old place. So
// an item is worked on at least once, and by one consumer at a time.
//
// An item that was delivered Attempts times and never done has failed. It waits, apart, for whoever
// calls Failed. When 4,096 have failed and are not done, nothing more can be put.
type JoinableQueue[T any] struct{ t *typed[T] }

// JoinableOptions say how a JoinableQueue works. All who open it give the same.
type JoinableOptions struct {
	Capacity int // how many items may wait: 1 to MaxCapacity. There is no default
	Attempts int // how often an item is delivered before it has failed. Default: 3
	InHand   int // how many items may be in the hands of consumers; Get waits meanwhile. Default: 1024
}

func (o JoinableOptions) withDefaults() JoinableOptions {
	if o.Attempts == 0 {
		o.Attempts = 3
	}
	if o.InHand == 0 {
		o.InHand = defaultHands
	}
	return o
}

// maxAttempts is what fits in a slot's state.
const maxAttempts = 1<<24 - 2

func (o JoinableOptions) validate() error {
	switch {
	case o.Capacity < 1 || o.Capacity > MaxCapacity:
		return fmt.Errorf("a capacity of %d: give a number from 1 to %d", o.Capacity, MaxCapacity)
	case o.Attempts < 1 || o.Attempts > maxAttempts:
		return fmt.Errorf("%d attempts: give a number from 1 to %d, or 0 for the default", o.Attempts, maxAttempts)
	case o.InHand < 1 || o.InHand > MaxCapacity:
		return fmt.Errorf("%d items in hand: give a number from 1 to %d, or 0 for the default", o.InHand, MaxCapacity)
	}
	return nil
}

// NewJoinableQueue opens the joinable queue of that name in a space, or makes it.
func NewJoinableQueue[T any](s *Space, name string, o JoinableOptions) (*JoinableQueue[T], error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("share: joinable queue %q: %w", name, err)
	}
	t, err := openTyped[T](s.space, kindJoinableQueue, name, params{uint64(o.Capacity), uint64(o.Attempts)<<32 | uint64(o.InHand)})
	if err != nil {
		return nil, err
	}
	return &JoinableQueue[T]{t}, nil
}

// Delivery is an item in a consumer's hands. It belongs to the task that called Get, if it was a
// task, otherwise to the process. One of Done, Return and Fail ends it.
type Delivery[T any] struct {
	// Value is the item.
	Value T

	t   *typed[T]
	h   *hold
	err error
}

// errEnded is what comes of ending a delivery twice.
var errEnded = errors.New("it was done, or given back, before")

// Attempt says the how manieth delivery of the item this is, from 1.
func (d *Delivery[T]) Attempt() int {
	mustBe(d.h != nil)
	return d.h.item.attempt()
}

// Err says why an item that Failed returned has failed; nil for what Get returned. It is a
// *DecodeError if the item can't be decoded here; then Value is nothing.
func (d *Delivery[T]) Err() error { return d.err }

// Done says that the item has been worked on. More often than once it is an error, and so it is
// if the item was given back meanwhile, as its task has ended.
func (d *Delivery[T]) Done() error {
	return d.end("be done with an item of", func(c *catch) {
		if d.t.shelf != nil {
			d.t.shelf.take(c.n)
		}
		d.t.letGo(c.n, c.slot)
	})
}

// Return gives the item back at once: it is delivered again, in its old place, or has failed if
// this was the last attempt.
func (d *Delivery[T]) Return() error {
	return d.end("give an item back to", func(c *catch) { d.t.giveBack(c.n, c.slot, c.state, 0) })
}

// Fail gives the item to those that have failed, whatever attempts there are left.
func (d *Delivery[T]) Fail() error {
	return d.end("fail an item of", func(c *catch) { d.t.giveBack(c.n, c.slot, c.state, slotGivenUp) })
}

// Detach makes the delivery the process's: it is not given back when the task that got the item
// ends.
func (d *Delivery[T]) Detach() *Delivery[T] {
	if d.h != nil {
		d.t.disown(d.h)
	}
	return d
}

func (d *Delivery[T]) end(what string, how func(c *catch)) error {
	if d.h == nil {
		return errors.New("share: a Delivery of nothing is used: get it from a JoinableQueue")
	}
	q := d.t.queue
	if !q.keeper.beginEnd(d.h) {
		err := errEnded
		if d.h.lost.Load() {
			err = errTakenBackItem
		}
		return q.fail(what, err)
	}
	err := q.settle(d.h.item, how)
	q.keeper.finishEnd(d.h, !errors.Is(err, ErrStuck)) // otherwise it can be ended later
	if errors.Is(err, errNotInHand) && d.h.lost.Load() {
		err = errTakenBackItem
	}
	return q.outcome(what, err)
}

var errTakenBackItem = errors.New("it was given back when the task that had it ended")

// settle ends a delivery.
func (q *queue) settle(c *catch, how func(c *catch)) error {
	token, err := q.enterNow(latchPatience)
	if err != nil {
		return err
	}
	mine := c.slot.state.Load() == c.state && c.slot.seq.Load() == c.seq
	if mine {
		how(c)
	}
	switch {
	case !q.leave(token):
		return ErrClosed
	case !mine:
		return errNotInHand
	}
	return nil
}

// returnLater gives an item back, at once or as soon as the latch is to be had.
func (q *queue) returnLater(c *catch, why uint64) {
	q.owe(func() {
		if c.slot.state.Load() == c.state && c.slot.seq.Load() == c.seq {
			q.giveBack(c.n, c.slot, c.state, why)
		}
	})
}

// disown makes a hold no strand's.
func (q *queue) disown(h *hold) {
	q.keeper.mu.Lock()
	defer q.keeper.mu.Unlock()
	h.strand, h.goroutine = nil, 0
}

// abandon implements thing: what an ended strand had is given back.
func (q *queue) abandon(by *strand.Strand) (any bool) {
	for _, h := range q.keeper.of(by) {
		if q.takeBack(h) {
			q.returnLater(h.item, 0)
			any = true
		}
	}
	return any
}

// releaseHold and detachHold implement holdable. There are no guards of queues.
func (q *queue) releaseHold(*hold, uint64) {}
func (q *queue) detachHold(*hold, uint64)  {}

// Put puts an item, and waits for room as long as ctx lets it. See Queue.
func (q *JoinableQueue[T]) Put(ctx context.Context, v T) error { return q.t.put(ctx, v, 0, how{}) }

// TryPut puts an item if there is room, and nobody's turn before. Otherwise the error matches ErrFull,
// ErrClosed or, seldom, ErrStuck.
func (q *JoinableQueue[T]) TryPut(v T) error {
	return q.t.put(context.Background(), v, 0, how{now: true})
}

// PutAll puts items one after the other. It returns how many it has put.
func (q *JoinableQueue[T]) PutAll(ctx context.Context, items ...T) (n int, err error) {
	return q.t.putAll(ctx, items, 0)
}

// Get gets the next item, and waits for one as long as ctx lets it. The error matches ErrClosed when the
// queue is closed and empty and no other consumer has an item in hand that might be given back. (One that
// has items in hand itself does not wait for that.) An item that can't be decoded is a
// *DecodeError, and has failed.
func (q *JoinableQueue[T]) Get(ctx context.Context) (*Delivery[T], error) {
	return q.t.accept(ctx, how{})
}

// TryGet gets an item if there is one, and nobody's turn before. Otherwise the error matches ErrEmpty,
// ErrClosed or, seldom, ErrStuck. It waits for no item: ctx says for whom it is.
func (q *JoinableQueue[T]) TryGet(ctx context.Context) (*Delivery[T], error) {
	return q.t.accept(context.WithoutCancel(ctx), how{now: true})
}

// GetUpTo waits for an item, and gets up to n of those that are there.
func (q *JoinableQueue[T]) GetUpTo(ctx context.Context, n int) ([]*Delivery[T], error) {
	if n < 1 {
		return nil, nil
	}
	return q.t.acceptUpTo(ctx, n)
}

// All gets items until the queue is closed and empty. An error is the last thing that it yields,
// unless it is a *DecodeError.
func (q *JoinableQueue[T]) All(ctx context.Context) iter.Seq2[*Delivery[T], error] {
	return untilEnd(ctx, q.Get)
}

// accept gets an item and notes in whose hands it is.
func (h *typed[T]) accept(ctx context.Context, w how) (*Delivery[T], error) {
	if h == nil {
		return nil, errNothing
	}
	if h.status.Load()&isClosed != 0 {
		w.own = h.hasInHand(false)
	}
	c := new(catch)
	v, err := h.get(ctx, c, w)
	if err != nil {
		return nil, err
	}
	return h.handOut(ctx, v, c), nil
}

func (h *typed[T]) handOut(ctx context.Context, v T, c *catch) *Delivery[T] {
	c.data = nil
	held := newHold(ctx, h.queue, 1)
	held.item = c
	h.keeper.note(ctx, held)
	return &Delivery[T]{Value: v, t: h, h: held}
}

func (h *typed[T]) acceptUpTo(ctx context.Context, n int) ([]*Delivery[T], error) {
	var all []*Delivery[T]
	returned := false
	defer func() {
		if !returned { // the user's code ends the goroutine: nobody will have them
			for _, d := range all {
				_ = d.Return()
			}
		}
	}()
	first, err := h.accept(ctx, how{})
	if err == nil {
		all = append(all, first)
	} else if !isUndecodable(err) {
		returned = true
		return nil, err
	}
	e := h.getSome(ctx, n-1, true, func(v T, c *catch) {
		held := *c
		all = append(all, h.handOut(ctx, v, &held))
	})
	if e != nil {
		err = errors.Join(err, h.fail("get from", e))
	}
	returned = true
	return all, err
}

// FailedItemsError is what Join returns when all is done but for items that have failed and
// that nobody has taken: see JoinableQueue.Failed.
type FailedItemsError struct{ Count int }

// Error implements error.
func (e *FailedItemsError) Error() string {
	return fmt.Sprintf("%d items have failed and were not taken: get them by Failed", e.Count)
}

// Join waits until every item that was put is done. If nothing is left but items that have failed,
// the error is a *FailedItemsError.
func (q *JoinableQueue[T]) Join(ctx context.Context) error {
	if q.t == nil {
		return errNothing
	}
	return q.t.watch(ctx, "join", &q.t.joiners, how{}, q.t.joined)
}

// watch waits in a line until look, which is called with the latch held, says that it is time.
func (q *queue) watch(ctx context.Context, what string, l *line, w how, look func() (bool, error)) error {
	step := func(long bool) (bool, error) {
		token, err := q.begin(ctx, w)
		if err != nil {
			return false, err
		}
		done, err := look()
		if !q.leave(token) {
			return false, ErrClosed
		}
		return done, err
	}
	if ctx.Err() != nil {
		return q.fail(what, context.Cause(ctx))
	}
	done, err := step(false)
	if !done && err == nil && w.now {
		err = ErrEmpty
	} else if !done && err == nil {
		var sleep context.Context
		var end func()
		if sleep, end, err = q.space.block(ctx, q); err == nil {
			err = l.wait(sleep, step)
			end()
		}
	}
	return q.outcome(what, err)
}

// Failed waits for an item that has failed, and hands it out. Who gets it has to end the Delivery: Done
// makes it count as done, Return gives it to the next caller of Failed. The error matches
// ErrClosed when the queue is closed and everything is done.
func (q *JoinableQueue[T]) Failed(ctx context.Context) (*Delivery[T], error) {
	t := q.t
	if t == nil {
		return nil, errNothing
	}
	return t.failed(ctx, how{})
}

// TryFailed hands out an item that has failed, if there is one. Otherwise the error matches ErrEmpty, or
// ErrClosed. It waits for no item: ctx says for whom it is.
func (q *JoinableQueue[T]) TryFailed(ctx context.Context) (*Delivery[T], error) {
	if q.t == nil {
		return nil, errNothing
	}
	return q.t.failed(context.WithoutCancel(ctx), how{now: true})
}

func (t *typed[T]) failed(ctx context.Context, w how) (*Delivery[T], error) {
	c := new(catch)
	var v T
	own := t.hasInHand(true)
	number := uint64(0)
	if t.shelf == nil {
		var err error
		if number, err = t.typeNumber(ctx, w); err != nil {
			return nil, t.fail("get what failed of", err)
		}
	}
	err := t.watch(ctx, "get what failed of", &t.failers, w, func() (bool, error) {
		ok, err := t.takeFailed(c, own)
		if ok && t.shelf != nil {
			v = t.shelf.get(c.n)
		}
		return ok, err
	})
	if err != nil {
		return nil, err
	}
	reason := fmt.Errorf("it was handed out %d times and never done", c.attempt())
	if c.state&slotGivenUp != 0 {
		reason = errors.New("a consumer said that it failed")
	}
	if c.state&slotUnreadable != 0 {
		reason = errors.New("a consumer could not decode it")
	}
	if t.shelf == nil {
		v, err = t.openFailed(ctx, c, number, w)
		if isUndecodable(err) || err != nil && t.bulk.IsCorrupt(err) {
			reason = err
		} else if err != nil {
			t.returnLater(c, 0)
			return nil, t.fail("get what failed of", err)
		}
	}
	d := t.handOut(ctx, v, c)
	d.err = reason
	return d, nil
}

// openFailed decodes a failed item.
func (h *typed[T]) openFailed(ctx context.Context, c *catch, number uint64, w how) (v T, err error) {
	if c.apart() {
		if err := h.fetch(ctx, c, h.entering(w)); err != nil {
			return v, err
		}
	}
	return h.unpack(c, number, true)
}

// Len is how many items wait. When others put and get, it may have changed before it is read.
func (q *JoinableQueue[T]) Len() int { return q.t.length() }

// Cap is how many items may wait.
func (q *JoinableQueue[T]) Cap() int {
	mustBe(q.t != nil)
	return int(q.t.rules.capacity)
}

// Full reports whether there is no room: items on their way count.
func (q *JoinableQueue[T]) Full() bool {
	mustBe(q.t != nil)
	return !q.t.hasRoom()
}

// Empty reports whether no item waits.
func (q *JoinableQueue[T]) Empty() bool { return q.t.length() == 0 }

// Unfinished is how many items were put and are not done: those that wait, those in the hands
// of consumers, and those that have failed.
func (q *JoinableQueue[T]) Unfinished() int {
	mustBe(q.t != nil)
	token, err := q.t.enterNow(latchPatience)
	n := q.t.unfinished()
	if err == nil {
		q.t.leave(token)
	}
	return int(n)
}

// Close ends the stream, for all processes: nothing can be put any more. See Queue.Close.
func (q *JoinableQueue[T]) Close() error { return q.t.end("close", nil) }

// Abort stops the stream at once, for all processes. See Queue.Abort.
func (q *JoinableQueue[T]) Abort(err error) error { return q.t.abortWith(err) }
