package share

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/brood-go/brood/internal/cell"
)

// waitlist is the algorithm of Condition: who waits for a notification, and who has one
// and does not know it yet.
//
// # Layout
//
//	0–2  latch
//	3    roster's head
//	4–   roster; an entry's low half is
//	     bits 0–15   how many goroutines of the participant wait
//	     bits 16–31  how many of them were notified
//
// # Invariants
//
// At most as many are notified as wait. An entry of the dead has no effect but that
// what was notified in it has to be notified to others.
//
// # Ownership
//
// A participant adds those who wait to its entry and takes out those who leave, notified
// or not. Anybody adds notifications. Entries of the dead are cleared under the latch, or taken
// over if no notification is in them.
//
// # Commits
//
// Joining, notifying, leaving: each one compare-and-swap of one entry. A notification
// in an entry of the dead, or of one that gives up, is first given to another, then taken out:
// who is killed or overtaken between leaves it to be given twice. So after a death or a
// cancellation a waiter may wake that nobody notified, but none is lost while anybody waits.
//
// # Wake argument
//
// Each process has one head at a time (see gate), which sleeps on the process's own entry
// while nobody in it is notified. Notifying changes the entry and wakes that one. It takes
// the notification, leaves the gate, and the next head finds the next one.
// Who joined before the lock was given up is in the entry before any notifier that
// took the lock afterwards looks.
//
// A notification is for who waited when it was given, and any head takes it. So who
// comes later, and could be first in the gate, does not join before all in its process's entry
// are taken: it sleeps on drained, a word of this process, which whoever takes the last
// one changes afterwards. They need nothing that it has.
//
// Before it sleeps, a head clears the entries of the dead, if any has died since it last
// did; and a death wakes it. So what is given to a participant that is dead, or dies
// before it acts, is given to another, if there is one.
//
// # Deaths
//
//	killed while                          the others find
//	waiting                               an entry of the dead without notifications: cleared
//	notified                              one with notifications: they are given to others
//	having notified, before waking        all are awake by that death
//	giving away what a dead one had       the same entry, and perhaps one waiter too many awake
//
// # Fairness and cost
//
// First come, first served in a process. Among processes notifications go round.
//
// # Trust
//
// Counts are bounded by their 16 bits. A made-up notification wakes somebody for nothing.
type waitlist struct {
	latch   mutex
	roster  roster
	mem     cell.Extender
	gate    gate
	drained cell.Word     // counts, in this process, how often the last notification was taken
	round   atomic.Uint32 // where this process notifies next
	buried  atomic.Uint64 // 1 + the count of deaths when the dead were last looked for
}

const (
	oneWaits    = 1 << 0
	oneNotified = 1 << 16
	maxWaiting  = 1<<16 - 1
)

func waiting(entry uint64) uint64  { return entry & maxWaiting }
func notified(entry uint64) uint64 { return entry >> 16 & maxWaiting }

// pending is how many were notified and do not know it.
func pending(entry uint64) uint64 { return min(waiting(entry), notified(entry)) }

var errTooManyWait = errors.New("65535 goroutines of this process wait already")

// newWaitlist is the condition in the words of an object, with two words for gates and one
// for drained.
func newWaitlist(mem cell.Extender, words []cell.Word, local cell.Memory, own [3]cell.Word) *waitlist {
	l := &waitlist{latch: newMutex(mem, words, local, own[0]), mem: mem, gate: gate{own[1], local}, drained: own[2]}
	l.roster.init(mem, words[3], words[4:])
	l.roster.keeps = func(e uint64) bool { return pending(e) > 0 } // until bury has given it on
	return l
}

// join counts a goroutine as waiting. It must then wait, or leave.
func (l *waitlist) join(ctx context.Context) (cell.Word, error) {
	w, ok := l.roster.hasMine()
	if !ok {
		g, err := l.latch.lock(ctx)
		if err != nil {
			return w, err
		}
		w, err = l.roster.mine()
		l.latch.unlock(g.token, false)
		if err != nil {
			return w, err
		}
	}
	for {
		d := l.drained.Load()
		e := w.Load()
		switch {
		case pending(e) > 0:
			if err := l.gate.mem.Wait(ctx, l.drained, uint32(d), l.gate.mem.Watch()); err != nil {
				return w, err
			}
		case waiting(e) == maxWaiting:
			return w, errTooManyWait
		case w.CompareAndSwap(e, e+oneWaits):
			return w, nil
		}
	}
}

// left is called after an entry was changed by one that no longer waits.
func (l *waitlist) left(before, after uint64) {
	if pending(before) == 0 || pending(after) > 0 {
		return
	}
	for {
		d := l.drained.Load()
		if l.drained.CompareAndSwap(d, d+1) {
			l.gate.mem.Wake(l.drained, cell.All)
			return
		}
	}
}

// wait returns nil when this goroutine was notified.
func (l *waitlist) wait(ctx context.Context, w cell.Word) error {
	err := l.gate.enter(ctx)
	if err == nil {
		err = l.waitAsHead(ctx, w)
		l.gate.leave()
	}
	if err != nil {
		l.leave(w)
	}
	return err
}

func (l *waitlist) waitAsHead(ctx context.Context, w cell.Word) error {
	for looked := false; ; {
		deaths := l.mem.Watch()
		if err := l.bury(ctx, deaths); err != nil {
			return err
		}
		e := w.Load()
		if notified(e) > 0 {
			next := e - oneNotified - oneWaits
			if w.CompareAndSwap(e, next) {
				l.left(e, next)
				return nil
			}
			continue
		}
		if !looked {
			looked = true
			if l.mem.Spin(w, uint32(e)) {
				continue
			}
		}
		if err := l.mem.Wait(ctx, w, uint32(e), deaths); err != nil {
			return err
		}
	}
}

// leave is for who gives up waiting. If a notification is there for each that waits, one
// was this goroutine's, and goes to another: it is given before it is taken out, so that
// it can't be lost between.
func (l *waitlist) leave(w cell.Word) {
	for given := false; ; {
		e := w.Load()
		next := e - oneWaits
		switch {
		case waiting(e) == 0:
			return // a peer has overwritten it
		case notified(e) >= waiting(e):
			next -= oneNotified
			if !given {
				l.notify(1)
				given = true
			}
		}
		if w.CompareAndSwap(e, next) {
			l.left(e, next)
			return
		}
	}
}

// notify notifies up to n waiters and returns how many it did.
func (l *waitlist) notify(n int) (done int) {
	entries := l.roster.entries()
	first := int(l.round.Add(1))
	for i := range entries {
		w := entries[(first+i)%len(entries)]
		for done < n {
			e := w.Load()
			if owner(e) == 0 || notified(e) >= waiting(e) {
				break
			}
			k := min(waiting(e)-notified(e), uint64(n-done))
			if w.CompareAndSwap(e, e+k*oneNotified) {
				l.mem.Wake(w, 1)
				done += int(k)
			}
		}
	}
	return done
}

// bury gives what the dead were notified of to others and clears their entries, if
// somebody has died since this process last did.
func (l *waitlist) bury(ctx context.Context, deaths uint64) error {
	if l.buried.Load() == deaths+1 {
		return nil
	}
	g, err := l.latch.lock(ctx)
	if err != nil {
		return err
	}
	defer l.latch.unlock(g.token, false)
	for _, w := range l.roster.entries() {
		e := w.Load()
		for e != 0 && !l.mem.Alive(owner(e)) {
			next := uint64(0)
			if k := min(notified(e), waiting(e)); k > 0 && l.notifyLiving(owner(e)) {
				next = e - oneNotified - oneWaits
			}
			if w.CompareAndSwap(e, next) {
				e = next
			} else {
				e = w.Load()
			}
		}
	}
	l.buried.Store(deaths + 1)
	return nil
}

// notifyLiving notifies one waiter of a living participant, if there is one.
func (l *waitlist) notifyLiving(dead cell.ID) bool {
	for _, w := range l.roster.entries() {
		e := w.Load()
		for id := owner(e); id != 0 && id != dead && waiting(e) > notified(e) && l.mem.Alive(id); id = owner(e) {
			if w.CompareAndSwap(e, e+oneNotified) {
				l.mem.Wake(w, 1)
				return true
			}
			e = w.Load()
		}
	}
	return false
}
