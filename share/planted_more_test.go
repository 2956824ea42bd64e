package share

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/brood-go/brood/internal/explore"
)

var permitsFaults = []plant{
	{"permits: nobody is woken", inMemory(wakesNobody), explore.Options{Preemptions: 2}, permitsCase(1, 2, 1, []int64{1}, false), hangs},
	{"permits: the dead live", inMemory(allLive), kill1, permitsCase(1, 2, 1, []int64{1}, false), either},
	{"permits: others are dead", inMemory(othersDead), explore.Options{Preemptions: 2}, permitsCase(1, 2, 1, []int64{1}, false), either},
	{"permits: a death before the sleep is missed", inMemory(deafToDeaths), kill1, permitsCase(1, 2, 1, []int64{1}, false), hangs},
	{"permits: the sleep compares nothing", inMemory(comparesNothing), explore.Options{Preemptions: 2}, permitsCase(1, 2, 1, []int64{1}, false), hangs},
	{"permits: the latch is not atomic", at(0, notAtomic), explore.Options{Preemptions: 2}, permitsCase(1, 2, 1, []int64{1}, false), either},
	{"permits: posting is lost", at(3, loses(func(_, _ uint64) bool { return true })), explore.Options{Preemptions: 1}, postTwo, either},
	{"permits: who sleeps does not say so", at(4, without(1)), explore.Options{Preemptions: 2}, permitsCase(1, 2, 1, []int64{1}, false), spins},
	{"permits: nobody is woken who waits below a bound", inMemory(wakesNobody), explore.Options{Preemptions: 2}, belowCase(1, 1), hangs},
	{"permits: a death before the sleep below a bound is missed", inMemory(deafToDeaths), kill1, belowCase(1, 1), hangs},
	{"permits: the heir stays the heir", at(5, loses(func(_, new uint64) bool { return new == 0 })), explore.Options{Preemptions: 2, Jumps: 3}, permitsCase(1, 2, 1, []int64{1}, false), either},
	{"permits: a release is lost", at(-1, loses(func(old, new uint64) bool { return owner(old) != 0 && old == new+1 })), explore.Options{Preemptions: 1}, permitsCase(1, 2, 1, []int64{1}, false), either},
	{"permits: a release is not atomic", at(-1, notAtomic), explore.Options{Preemptions: 2}, permitsCase(1, 2, 1, []int64{1}, false), either},
}

var waitlistFaults = []plant{
	{"waitlist: nobody is woken", inMemory(wakesNobody), explore.Options{Preemptions: 2}, notifyCase(1, 2), hangs},
	{"waitlist: the next in the process is not woken", inLocal(wakesNobody), explore.Options{Preemptions: 2}, notifyCase(2, 1), hangs},
	{"waitlist: the dead live", inMemory(allLive), explore.Options{Preemptions: 2, Kills: 1}, swallowCase, either},
	{"waitlist: a death before the sleep is missed", inMemory(deafToDeaths), explore.Options{Preemptions: 2, Kills: 1}, swallowCase, either},
	{"waitlist: the sleep compares nothing", inMemory(comparesNothing), explore.Options{Preemptions: 2}, notifyCase(1, 2), hangs},
	{"waitlist: a notification is lost", at(-1, loses(func(old, new uint64) bool { return new == old+oneNotified })), explore.Options{Preemptions: 1}, notifyCase(1, 2), hangs},
	{"waitlist: counting is not atomic", at(4, notAtomic), explore.Options{Preemptions: 2, Cancels: 1}, notifyCase(2, 1), either},
	{"waitlist: who gives up is still counted", at(-1, loses(func(old, new uint64) bool { return old == new+oneWaits })), explore.Options{Preemptions: 2, Cancels: 1}, notifyCase(1, 2), either},
}

var rendezvousFaults = []plant{
	{"rendezvous: nobody is woken", inMemory(wakesNobody), explore.Options{Preemptions: 2}, meetCase, hangs},
	{"rendezvous: one is woken", inMemory(wakesOne), explore.Options{Preemptions: 2}, meetCase, hangs},
	{"rendezvous: the dead live", inMemory(allLive), explore.Options{Preemptions: 2, Kills: 1}, partyDies(false), hangs},
	{"rendezvous: a death before the sleep is missed", inMemory(deafToDeaths), explore.Options{Preemptions: 3, Kills: 1}, partyDies(false), hangs},
	{"rendezvous: the sleep compares nothing", inMemory(comparesNothing), explore.Options{Preemptions: 2}, meetCase, hangs},
	{"rendezvous: the latch is not atomic", at(0, notAtomic), explore.Options{Preemptions: 2}, meetCase, either},
	{"rendezvous: the end is lost", at(3, losesStores), explore.Options{Preemptions: 1}, meetCase, either},
	{"rendezvous: arrivals are lost", at(6, losesStores), explore.Options{Preemptions: 1}, meetCase, either},
	{"rendezvous: how it ended is lost", at(4, losesStores), explore.Options{Preemptions: 3}, resetCase, either},
}

// meetCase: three meet, once.
func meetCase(w *explore.World) {
	words, come := w.Words("barrier", objectWords), w.Word("come")
	for _, p := range processes(w, 3) {
		r := p.rendezvous(3, words)
		p.Go("s", func() {
			count(come)
			if _, err := r.wait(context.Background(), nil); err != nil {
				w.Fail("%v", err)
			}
			if n := come.Load(); n < 3 {
				w.Fail("left when %d had come", n)
			}
		})
	}
}

// resetCase: one waits and is told of a reset.
func resetCase(w *explore.World) {
	words := w.Words("barrier", objectWords)
	both := processes(w, 2)
	r := both[0].rendezvous(2, words)
	_, state, err := r.arrive(context.Background(), false) // direct: before the schedule
	if err != nil {
		w.Fail("%v", err)
	}
	both[0].Go("s", func() {
		if err := r.await(context.Background(), number(state)); !errors.Is(err, errBroken) {
			w.Fail("%v, nobody came", err)
		}
	})
	both[1].Go("resets", func() {
		if err := both[1].rendezvous(2, words).reset(context.Background()); err != nil {
			w.Fail("%v", err)
		}
	})
}

// wrapping lets strands of several processes lock a mutex around the moment when its turn
// wraps, in which any of them may be killed.
func wrapping(procs, rounds int) func(*explore.World) {
	return func(w *explore.World) {
		words := w.Words("mutex", mutexWords)
		words[0].Store(turnMask - oneTurn)
		words[1].Store(7)
		h := &ownership{w: w, last: 7<<turnBits + (turnMask-oneTurn)>>flagBits}
		for _, p := range processes(w, procs) {
			m := p.mutex(words)
			p.Go("s", func() {
				for range rounds {
					if err := use(w, &m, context.Background(), h); err != nil {
						w.Fail("%v", err)
					}
				}
			})
		}
		survivor := process{w.Participant("survivor").Immortal()}
		w.Finally(func() error {
			m := survivor.mutex(words)
			if g, ok := m.try(); !ok || g.token <= h.last {
				return fmt.Errorf("%v, token %d after %d", ok, g.token, h.last)
			}
			return nil
		})
	}
}

// Tokens grow when the turn wraps, whoever dies on the way.
func TestExploreWrap(t *testing.T) {
	search{
		explore.Options{Preemptions: 3, Kills: 1, Jumps: 1},
		explore.Options{Kills: 2, Jumps: 3, AnyWake: true},
	}.run(t, wrapping(2, 2))
	search{
		explore.Options{Preemptions: 2, Kills: 2, Jumps: 2},
		explore.Options{Kills: 2, Jumps: 3, AnyWake: true},
	}.run(t, wrapping(3, 1))
	exhausted(t, explore.Options{Preemptions: 2, Kills: 1}, wrapping(2, 1))
}
