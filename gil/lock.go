package gil

import (
	"context"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// lock is the algorithm of a GIL: mutual exclusion whose owner is asked to give way when
// somebody has waited for an interval.
//
// # Layout
//
//	state  bit 0      waiters: somebody stands in the queue
//	       bit 1      asked: the owner is to give way at its next safe point
//	       bit 2      handed: the owner waited for the lock, and has not noticed that it has it
//	       bit 3      woken: the first of the queue is awake, and will look
//	       bit 4      orphan: the owner before has ended without a release
//	       bits 5–63  the owner's number, 0 if the lock is free
//	due    when the owner is to give way, by mem's clock, if somebody waits
//	latch  guards the queue, timing and counts
//
// Each waiter has a word of its own, on which it alone sleeps:
//
//	0 it does not stand in the queue  1 it waits  2 it has the lock  3 it is to look
//
// # Invariants
//
//   - Waiters is set if and only if the queue is not empty, but for the moments in which
//     somebody is under the latch. Asked and woken imply waiters.
//   - A free lock with waiters has woken set, and then the first one's word is 3.
//   - Orphan is set by an owner that releases at once, and gone when there is the next one.
//   - Under the latch, an owner is replaced by itself alone; flags change under the latch, but for
//     handed, which the owner clears.
//
// # Ownership and commits
//
// Who finds the lock free takes it, and an owner without waiters frees it: one
// compare-and-swap each, without the latch. All that concerns the queue is done under it: to
// join and to leave, to wake, to hand over, to ask. Handing over is committed when state names the
// next owner: from then on that one has the lock, whether it knows or not.
//
// # Fairness
//
// An owner that releases the lock by itself, around a call that may block, frees it and wakes the
// first of the queue. Until that one runs, whoever comes may take the lock, so that it is not
// idle meanwhile, and a call that takes a microsecond does not cost its thread an interval. (The
// lock was handed over here, too, at first. A thread that read a cached file beside one that
// computed was 30 to 60 times slower than CPython's, which lets it overtake.) But if the first one
// has waited for the interval, the release hands the lock over to it; so does whoever comes and
// finds the lock free, but the first one overdue; and so does, always, an
// owner that gives way at a safe point, which could take it back at once otherwise. So the first
// of the queue is overtaken for an interval at most, and others of the queue never overtake it: they
// are served in the order in which they joined. An owner that gives way joins in the same step,
// behind all who wait.
//
// # Wake argument
//
// A waiter sleeps on its own word while that is 1. It is changed, and the sleeper woken, by a
// hand-over, by a release that finds waiters without woken, and by one that was woken and
// gives up, for the next one. Somebody who joins has seen an owner and set waiters in the same
// state, so that this owner's release sees it. One that was woken and finds an owner takes woken away
// in the state that has the owner, so that this one's release wakes again. Who gives up looks at
// its word under the latch: if it was handed the lock it is the owner like any other, and
// releases it. So no hand-over is lost.
//
// That an owner gives way in time has two reasons. Due is an interval after the queue was begun or
// its first one served; it is written under the latch. An owner that sees waiters at a
// safe point looks at the clock, at every 16th, and gives way when due has come: so
// it is exact where safe points are many. Besides there is one timer for the whole lock. It
// runs while timing is set, and calls expire. Whoever writes due sees to it that it runs: expire
// lets it end when it has asked, and the next owner is to be asked as well if anybody is left.
// If due has not come, and anybody waits, expire lets the timer run on until then. So a hand-over
// sets a timer only after one that was asked for by it, and waiters do not wake up to look at a
// clock, as CPython's do. The timer
// alone would do for few safe points only: Go's may be 1 ms late when a processor is idle, since it
// sleeps in epoll_wait, by the millisecond. (Measured: with an interval of 0.1 ms an owner was
// asked after 1.6 ms.)
//
// # Cost
//
// Without waiters: one compare-and-swap to acquire, one to release, one load for a safe point.
//
// # Deaths
//
// The lock is the heap's: nobody dies without it. A goroutine that ends as the owner is to
// release it before; GIL.Do does. If it has not, and stands for a strand, abandon does so when
// the strand ends: orphan is set first, and the next owner finds it in the state that it
// replaces.
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
	recovered  bool   // it has the lock from an owner that ended without a release; written by who hands it over
	looks      uint32 // safe points at which it saw waiters
}

const (
	hasWaiters = 1 << 0
	isAsked    = 1 << 1
	isHanded   = 1 << 2
	isWoken    = 1 << 3
	isOrphan   = 1 << 4
	flagBits   = 5
	flags      = 1<<flagBits - 1

	wordWaits = 1
	wordHas   = 2
	wordLooks = 3
)

// owned is a number as the owner in state.
func owned(number uint64) uint64 { return number << flagBits }

// owner is the number of state's owner.
func owner(state uint64) uint64 { return state >> flagBits }

// try takes a lock that is free, and that nobody waits for.
func (l *lock) try(w *waiter) bool { return l.state.CompareAndSwap(0, w.mine) }

// overtake takes a lock that is free, whoever waits for it, unless that is overdue.
func (l *lock) overtake(w *waiter) bool {
	for {
		s := l.state.Load()
		if owner(s) != 0 || l.overdue(s) {
			return false
		}
		if l.take(w, s) {
			return true
		}
	}
}

// take makes w the owner, if state is still s, which is free.
func (l *lock) take(w *waiter, s uint64) bool {
	if !l.state.CompareAndSwap(s, s&^isOrphan|w.mine) {
		return false
	}
	w.recovered = s&isOrphan != 0
	return true
}

// overdue reports whether the first of the queue has waited for the interval: then it is its turn.
func (l *lock) overdue(s uint64) bool {
	return s&hasWaiters != 0 && (s&isAsked != 0 || l.left() <= 0)
}

// holds reports whether w owns the lock.
func (l *lock) holds(w *waiter) bool { return l.state.Load()&^flags == w.mine }

// join takes the lock if it is free, and puts w into the queue if not. W must not own it. A lock
// that is free although the first of the queue is overdue (it is awake, but does not run yet) is
// handed to that one.
func (l *lock) join(w *waiter) (acquired bool) {
	l.enter()
	defer l.leave()
	for {
		s := l.state.Load()
		switch {
		case owner(s) == 0 && l.overdue(s):
			if first := l.serve(s); first != nil {
				l.mem.Wake(first.word, 1)
			}
		case owner(s) == 0:
			if l.take(w, s) {
				return true
			}
		case s&hasWaiters != 0 || l.state.CompareAndSwap(s, s|hasWaiters):
			l.push(w)
			return false
		}
	}
}

// wait returns when w, which joined, has the lock. Whatever it returns, settle follows.
func (l *lock) wait(ctx context.Context, w *waiter) error {
	for looked := false; ; {
		switch w.word.Load() {
		case wordHas:
			return nil
		case wordLooks:
			if l.look(w) {
				return nil
			}
			continue
		}
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
}

// look takes the lock for w, which was woken, if it is free; if not, w waits on.
func (l *lock) look(w *waiter) bool {
	l.enter()
	defer l.leave()
	for w.word.Load() != wordHas {
		s := l.state.Load()
		if owner(s) == 0 {
			l.serve(s)
		} else if l.state.CompareAndSwap(s, s&^isWoken) {
			w.word.Store(wordWaits)
			return false
		}
	}
	return true
}

// serve makes the first of the queue the owner, if state is still s. The latch is held.
func (l *lock) serve(s uint64) *waiter {
	w := l.first
	next := w.mine | isHanded
	if w.next != nil {
		next |= hasWaiters
	}
	if !l.state.CompareAndSwap(s, next) {
		return nil
	}
	w.recovered = s&isOrphan != 0
	l.remove(w)
	if l.first != nil {
		l.begin()
	}
	l.counts.HandOvers++
	w.word.Store(wordHas)
	return w
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
	word := w.word.Load()
	if word == wordHas {
		l.leave()
		return true
	}
	w.word.Store(0)
	l.remove(w)
	next := l.first
	if next == nil {
		l.change(hasWaiters|isAsked|isWoken, 0)
	} else if word == wordLooks {
		next.word.Store(wordLooks)
	}
	l.leave()
	if next != nil && word == wordLooks {
		l.mem.Wake(next.word, 1)
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
	for {
		s := l.state.Load()
		switch {
		case s&hasWaiters == 0 || s&isWoken != 0 && s&isAsked == 0 && l.left() > 0:
			if l.state.CompareAndSwap(s, s&^w.mine) {
				return
			}
		case l.pass(w):
			return
		}
	}
}

// pass frees the lock and wakes the first of the queue, or hands the lock over to it if that is
// due, if there is anybody.
func (l *lock) pass(w *waiter) bool {
	l.enter()
	next := l.first
	if next == nil { // they have withdrawn
		l.leave()
		return false
	}
	if l.state.Load()&isAsked != 0 || l.left() <= 0 {
		l.handOver()
	} else {
		next.word.Store(wordLooks)
		l.change(w.mine, isWoken)
	}
	l.leave()
	l.mem.Wake(next.word, 1)
	return true
}

// handOver makes the first of the queue, who is to be woken, the owner in place of the one that
// calls. The latch is held.
func (l *lock) handOver() *waiter {
	for {
		if next := l.serve(l.state.Load()); next != nil {
			return next
		}
	}
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
	next := l.giveWayTo(w)
	if next != nil {
		l.mem.Wake(next.word, 1)
	}
	return next != nil
}

func (l *lock) giveWayTo(w *waiter) *waiter {
	l.enter()
	defer l.leave() // also if push panics
	if l.first == nil {
		return nil // they have withdrawn
	}
	l.push(w)
	l.counts.Forced++
	return l.handOver()
}

// abandon releases the lock for an owner that has ended without, and lets the next one know.
func (l *lock) abandon(w *waiter) {
	l.enter()
	l.change(isHanded, isOrphan)
	l.leave()
	l.release(w)
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

// change takes bits out of state and puts others in. The latch is held, so that nobody changes
// these as well.
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
	w.recovered = false
	l.tickets++
	w.ticket = l.tickets
	w.prev, w.next = l.last, nil
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
		l.begin()
	}
	l.last = w
	l.counts.Waiting++
}

// begin gives the first of the queue its interval, and sees to it that somebody looks when that is
// over. The latch is held.
func (l *lock) begin() {
	l.due.Store(uint64(l.mem.Now() + l.interval))
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
