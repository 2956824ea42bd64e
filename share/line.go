package share

import (
	"context"

	"github.com/brood-go/brood/internal/cell"
)

// line is who waits for something of an object that is given out under the object's latch:
// permits of a semaphore, items or room of a queue.
//
// # Layout
//
//	change  low half: bit 0: somebody may sleep on it; bits 1–31 count what may have
//	        made something available
//	heir    high half: the participant that is next, 0 if none
//
// Each process has a gate for each line; the head is the goroutine that is in it.
//
// # Ownership
//
// Change is everybody's. heir is claimed under the latch by a head, if there is none that
// lives, and cleared by a head of that process.
//
// # Wake argument
//
// A head sets the flag, then looks under the latch, then sleeps on that value of change.
// Who makes something available changes the facts, and then looks at the flag; if it is
// set, that one takes it away, counts, and wakes: all if there is an heir, or if what is there
// may do for some and not for others, otherwise as many as can be served. In the one order of
// all this either the head looks after the facts changed, or the other sees the flag after
// it was set.
//
// Whoever is woken alone owes the others that sleep a look: they may have been passed over
// while the flag was away. So a head that has slept and leaves, served or not, sets the flag and
// then, if there is more, wakes the next one. Who stops being heir wakes all, since they
// were refused because of it. A death wakes all, and they look again: so who was killed
// between changing the facts and waking, or between being woken and acting, leaves nobody
// asleep.
//
// All who wait in a line wait for the same: whoever is woken could be served if any could. Those
// who may go when others must still wait have a line of their own, and a gate of their own, so
// that nobody stands behind one for whom it is not time.
//
// # Deaths
//
//	killed while          the others find
//	waiting               nothing, or a flag too many
//	being heir            an heir that is dead, and may be replaced
//	about to wake         all are awake by that death
//
// # Fairness and cost
//
// Who finds what it wants takes it, also when others wait: but a head that has waited for
// patience becomes the heir, and then nobody else gets anything until it has. (One that is
// stopped then holds the others up.) While nobody waits a line costs one load.
type line struct {
	change, heir cell.Word
	mem          cell.Memory
	me           cell.ID
	gate         gate // none: all who wait sleep, and nobody is heir

	// twin is another line for the same thing, of those who wait on another condition. The two have
	// one heir.
	twin *line

	// more reports, without the latch, whether the next one may have something to do, too. nil: all
	// are always woken.
	more func() bool
}

const (
	lineAsleep = 1 << 0
	lineTurn   = 1 << 1
)

// wait calls attempt until it is done or fails. Attempt looks under the latch; long says that
// this process may claim to be next.
func (l *line) wait(ctx context.Context, attempt func(long bool) (done bool, err error)) error {
	began := l.mem.Now()
	if l.gate.mem != nil {
		if err := l.gate.enter(ctx); err != nil {
			return err
		}
		defer l.gate.leave()
	}
	slept := false
	for {
		deaths := l.mem.Watch()
		c := l.change.Load()
		if c&lineAsleep == 0 {
			if !l.change.CompareAndSwap(c, c|lineAsleep) {
				continue
			}
			c |= lineAsleep
		}
		done, err := attempt(l.mem.Now()-began >= patience)
		if !done && err == nil {
			err = l.mem.Wait(ctx, l.change, uint32(c), deaths)
			slept = true
		}
		if done || err != nil {
			l.leave(slept)
			return err
		}
	}
}

// leave is for a head that goes.
func (l *line) leave(slept bool) {
	if l.heir.CompareAndSwap(owned(l.me), 0) {
		l.flag()
		l.signal(cell.All)
		if l.twin != nil {
			l.twin.signal(cell.All)
		}
	} else if slept && l.more != nil {
		l.flag()
		if l.more() {
			l.signal(1)
		}
	}
}

// flag says that somebody may sleep.
func (l *line) flag() {
	for {
		c := l.change.Load()
		if c&lineAsleep != 0 || l.change.CompareAndSwap(c, c|lineAsleep) {
			return
		}
	}
}

// turn reports whether a participant may be served now. The latch is held.
func (l *line) turn(head bool) bool {
	h := owner(l.heir.Load())
	return h == 0 || h == l.me && head || !l.mem.Alive(h)
}

// claim makes this process the next one, if there is none that lives. The latch is held.
func (l *line) claim() {
	if h := owner(l.heir.Load()); h == 0 || !l.mem.Alive(h) {
		l.heir.Store(owned(l.me))
	}
}

// signal wakes n of those who sleep. It is called after what they wait for has changed.
func (l *line) signal(n int) {
	for {
		c := l.change.Load()
		if c&lineAsleep == 0 {
			return
		}
		if !l.change.CompareAndSwap(c, (c+lineTurn)&^lineAsleep&(1<<32-1)) {
			continue
		}
		if l.more == nil || owner(l.heir.Load()) != 0 {
			n = cell.All
		}
		l.mem.Wake(l.change, n)
		return
	}
}
