package gil

import (
	"context"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// lock is the algorithm of a GIL: mutual exclusion, first come, first served, whose owner is
// asked to give way when somebody has waited for an interval.
//
// # Layout
//
//	state  bit 0      waiters: somebody stands in the queue
//	       bit 1      asked: the owner is to give way at its next safe point
//	       bit 2      handed: the owner was given the lock, and has not noticed
//	       bits 3–63  the owner's number, 0 if the lock is free
//	due    when the owner is to give way, by mem's clock, if somebody waits
//	latch  guards the queue, timing and counts
//
// Each waiter has a word of its own, on which it alone sleeps:
//
//	0 it does not stand in the queue  1 it waits  2 it was handed the lock
//
// # Invariants
//
//   - A free word has no other bit.
//   - Waiters is set if and only if the queue is not empty, but for the moments in which
//     somebody is under the latch. Asked implies waiters.
//   - While waiters is set only who is under the latch changes the owner.
//
// # Ownership and commits
//
// Who finds state at 0 takes it, and an owner without waiters frees it: one
// compare-and-swap each, without the latch. All else is done under the latch: to join the
// queue, to leave it, to hand over, to ask. The owner alone clears handed. Handing over is
// committed when state names the next owner: from then on that one has the lock, whether it
// knows or not.
//
// # Wake argument
//
// A waiter sleeps on its own word while that is 1. Only a hand-over changes it, and
// wakes the one who sleeps there. Somebody who joins has seen an owner and set waiters in
// the same state, so that this owner's release comes by the latch and finds it in the queue.
// Who gives up looks at its word under the latch: either it is still in the queue and leaves
// it, or it was handed the lock, and is the owner like any other: it passes the lock on. So no
// hand-over is lost.
//
// That an owner gives way in time has two reasons. Due is an interval after the queue was begun or
// the lock last changed hands; it is written under the latch. An owner that sees waiters at a
// safe point looks at the clock, at every 16th, and gives way when due has come: so
// it is exact where safe points are many. Besides there is one timer for the whole lock. It
// runs while timing is set, which every one who joins sees to, and calls expire. Expire asks if
// due has come; otherwise, if anybody waits, it lets the timer run on until then. So a hand-over
// sets no timer, and waiters do not wake up to look at a clock, as CPython's do. The timer
// alone would do for few safe points only: Go's may be 1 ms late when a processor is idle, since it
// sleeps in epoll_wait, by the millisecond. (Measured: with an interval of 0.1 ms an owner was
// asked after 1.6 ms.)
//
// # Fairness and cost
//
// First come, first served, in the order of the latch; nobody overtakes, because the lock is
// never free while somebody waits. An owner that gives way joins the queue in the same
// step, behind all who wait. Without waiters: one compare-and-swap to acquire, one to release,
// one load for a safe point.
//
// # Deaths
//
// The lock is the heap's: nobody dies without it. A goroutine that ends as the owner is to
// release it before; GIL.Do does.
type lock struct {
	state, due, latch cell.Word
	mem               cell.Memory
	interval          time.Duration
	start             func(time.Duration) // lets expire be called after that time

	// The latch guards what follows.
	first, last *waiter
	timing      bool // expire will be called
	tickets     uint64
	counts      Stats
}

// waiter is who may own a lock, with its place in the queue.
type waiter struct {
	mine       uint64 // its number as the owner in state
	word       cell.Word
	prev, next *waiter
	ticket     uint64 // which one to join it was, when it last did
	looks      uint   // safe points at which it saw waiters
}

const (
	hasWaiters = 1 << 0
	isAsked    = 1 << 1
	isHanded   = 1 << 2
	flagBits   = 3
	flags      = 1<<flagBits - 1

	wordWaits  = 1
	wordHanded = 2
)

// owned is a number as the owner in state.
func owned(number uint64) uint64 { return number << flagBits }

// owner is the number of state's owner.
func owner(state uint64) uint64 { return state >> flagBits }

// try takes a lock that is free.
func (l *lock) try(w *waiter) bool { return l.state.CompareAndSwap(0, w.mine) }

// holds reports whether w owns the lock.
func (l *lock) holds(w *waiter) bool { return l.state.Load()&^flags == w.mine }

// join takes the lock if it is free, and puts w into the queue if not. W must not own it.
func (l *lock) join(w *waiter) (acquired bool) {
	l.enter()
	defer l.leave()
	for {
		s := l.state.Load()
		if s == 0 {
			if l.try(w) {
				return true
			}
		} else if s&hasWaiters != 0 || l.state.CompareAndSwap(s, s|hasWaiters) {
			l.push(w)
			return false
		}
	}
}

// wait returns when w, which joined, was handed the lock. Whatever it returns, settle follows.
func (l *lock) wait(ctx context.Context, w *waiter) error {
	for looked := false; w.word.Load() == wordWaits; {
		if !looked {
			looked = true
			if l.mem.Spin(w.word, wordWaits) {
				continue
			}
		}
		if err := l.mem.Wait(ctx, w.word, wordWaits, l.mem.Watch()); err != nil {
			return err
		}
	}
	return nil
}

// accept notes that w knows of what it was handed.
func (l *lock) accept(w *waiter) {
	w.word.Store(0)
	for {
		if s := l.state.Load(); l.state.CompareAndSwap(s, s&^isHanded) {
			return
		}
	}
}

// withdraw takes w out of the queue. If it was handed the lock it is no longer in it: then it
// is to accept, and go on or release.
func (l *lock) withdraw(w *waiter) (handed bool) {
	l.enter()
	defer l.leave()
	if w.word.Load() == wordHanded {
		return true
	}
	w.word.Store(0)
	l.remove(w)
	if l.first == nil {
		l.change(hasWaiters|isAsked, 0)
	}
	return false
}

// settle ends what join has begun, after wait, or instead of it: err is why the wait is over,
// nil if w was handed the lock. Who was handed it all the same passes it on, unless it is to
// keep it.
func (l *lock) settle(w *waiter, err error, keep bool) error {
	if err != nil && !l.withdraw(w) {
		return err
	}
	l.accept(w)
	if err == nil || keep {
		return nil
	}
	l.release(w)
	return err
}

// release gives up the lock, which w owns and has accepted.
func (l *lock) release(w *waiter) {
	if l.state.CompareAndSwap(w.mine, 0) {
		return
	}
	l.enter()
	if l.first == nil { // those who waited have withdrawn
		l.state.Store(0)
		l.leave()
		return
	}
	next := l.handOver()
	l.leave()
	l.mem.Wake(next.word, 1)
}

// left is how long the owner may go on although others wait.
func (l *lock) left() time.Duration { return time.Duration(l.due.Load()) - l.mem.Now() }

// patient is a safe point of w, which owns the lock in state s and sees waiters: it reports
// whether w may go on.
func (l *lock) patient(w *waiter, s uint64) bool {
	if s&isAsked != 0 {
		return false
	}
	w.looks++
	return w.looks%looksAtClock != 0 || l.left() > 0
}

// looksAtClock says at which of the safe points with waiters the clock is looked at. It is a
// constant of the fast path: the clock costs 40 ns.
const looksAtClock = 16

// giveWay hands the lock to who has waited longest, and puts w, which owns it, at the end of
// the queue.
func (l *lock) giveWay(w *waiter) bool {
	l.enter()
	if l.first == nil { // they have withdrawn
		l.leave()
		return false
	}
	l.push(w)
	l.counts.Forced++
	next := l.handOver()
	l.leave()
	l.mem.Wake(next.word, 1)
	return true
}

// handOver makes the first of the queue the owner, who is to be woken. The latch is held.
func (l *lock) handOver() *waiter {
	next := l.first
	l.remove(next)
	s := next.mine | isHanded
	if l.first != nil {
		s |= hasWaiters
		l.due.Store(uint64(l.mem.Now() + l.interval))
	}
	l.counts.HandOvers++
	l.state.Store(s)
	next.word.Store(wordHanded)
	return next
}

// expire is called by the timer: it asks the owner to give way, if it is time.
func (l *lock) expire() {
	l.enter()
	defer l.leave()
	l.timing = false
	if l.first == nil || l.state.Load()&isAsked != 0 {
		return
	}
	if left := l.left(); left > 0 {
		l.timing = true
		l.start(left)
		return
	}
	l.counts.Requests++
	l.change(0, isAsked)
}

// change takes bits out of state and puts others in. The latch is held, so that nobody but an
// owner that accepts changes it as well.
func (l *lock) change(out, in uint64) {
	for {
		if s := l.state.Load(); l.state.CompareAndSwap(s, s&^out|in) {
			return
		}
	}
}

// push puts w at the end of the queue. The latch is held, and waiters is set or about to be.
func (l *lock) push(w *waiter) {
	if w.word.Load() != 0 {
		panic("gil: a Thread is used by two goroutines at once")
	}
	w.word.Store(wordWaits)
	l.tickets++
	w.ticket = l.tickets
	w.prev, w.next = l.last, nil
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
		l.due.Store(uint64(l.mem.Now() + l.interval))
	}
	l.last = w
	l.counts.Waiting++
	if !l.timing {
		l.timing = true
		l.start(l.interval)
	}
}

// remove takes w out of the queue. The latch is held.
func (l *lock) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
	w.prev, w.next = nil, nil
	l.counts.Waiting--
}

// stats is what was counted.
func (l *lock) stats() Stats {
	l.enter()
	defer l.leave()
	s := l.counts
	s.Waits = l.tickets
	return s
}

// The latch is 0 if it is free, and held otherwise. It is held for less than a microsecond.
const (
	latchHeld  = 1 << 0
	latchSlept = 1 << 1 // somebody may sleep on it
)

// enter takes the latch. A sleeper that was woken takes it as slept on, since it can't know
// whether it was the only one.
func (l *lock) enter() {
	for held := uint64(latchHeld); !l.latch.CompareAndSwap(0, held); {
		w := l.latch.Load()
		if w == 0 || held == latchHeld && l.mem.Spin(l.latch, uint32(w)) {
			continue
		}
		held = latchHeld | latchSlept
		if w == latchHeld && !l.latch.CompareAndSwap(latchHeld, held) {
			continue
		}
		// Without a context there is no error, but for a closed memory, and nobody closes it.
		_ = l.mem.Wait(context.Background(), l.latch, uint32(held), l.mem.Watch())
	}
}

// leave releases the latch.
func (l *lock) leave() {
	if l.latch.CompareAndSwap(latchHeld, 0) {
		return
	}
	l.latch.Store(0)
	l.mem.Wake(l.latch, 1)
}
