package gil

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/explore"
)

// simulated is a lock on the simulated machine, with what is known of who had it.
type simulated struct {
	*lock
	w       *explore.World
	p       *explore.Participant
	pending int    // calls of expire that are due
	last    uint64 // the ticket of who was handed it last
}

// plant spoils the memory or the words of the simulated locks; nil is none.
type plant struct {
	memory func(cell.Memory) cell.Memory
	state  func(old, new uint64) (written uint64)
}

func simulate(w *explore.World, planted plant) *simulated {
	s := &simulated{w: w, p: w.Participant("p")}
	var mem cell.Memory = s.p.Local()
	if planted.memory != nil {
		mem = planted.memory(mem)
	}
	state := s.p.LocalWord("state")
	if planted.state != nil {
		state = cell.Simulated(state.Pointer(), spoilt{state, planted.state})
	}
	s.lock = &lock{
		state: state, due: s.p.LocalWord("due"), latch: s.p.LocalWord("latch"), mem: mem,
		interval: time.Millisecond, start: func(time.Duration) { s.pending++ },
	}
	w.Finally(func() error {
		if st, la := s.state.Load(), s.latch.Load(); st != 0 || la != 0 || s.first != nil || s.counts.Waiting != 0 {
			return fmt.Errorf("left: state %x, latch %x, first %v, %d waiting", st, la, s.first, s.counts.Waiting)
		}
		return nil
	})
	return s
}

// spoilt is a word that writes something else.
type spoilt struct {
	cell.Word
	write func(old, new uint64) uint64
}

func (s spoilt) Load(p *atomic.Uint64) uint64 { return s.Word.Load() }
func (s spoilt) Store(p *atomic.Uint64, v uint64) {
	s.Word.Store(s.write(s.Pointer().Load(), v))
}
func (s spoilt) CompareAndSwap(p *atomic.Uint64, old, new uint64) bool {
	return s.Word.CompareAndSwap(old, s.write(old, new))
}

// thread is a strand with its place in the queue.
type thread struct {
	*simulated
	waiter
}

// thread starts a strand that is a thread of the lock.
func (s *simulated) thread(number int, f func(t *thread)) {
	name := fmt.Sprintf("t%d", number)
	t := &thread{s, waiter{mine: owned(uint64(number)), word: s.p.LocalWord(name)}}
	s.p.Go(name, func() { f(t) })
}

// acquire is Thread.Acquire.
func (t *thread) acquire(ctx context.Context) error {
	if t.try(&t.waiter) {
		// Still in the same step: whoever stands in the queue was overtaken.
		if t.first != nil {
			t.w.Fail("it overtook who waits")
		}
		return nil
	}
	if t.overtake(&t.waiter) || t.join(&t.waiter) {
		return nil
	}
	return t.await(ctx)
}

func (t *thread) await(ctx context.Context) error {
	err := t.settle(&t.waiter, t.wait(ctx, &t.waiter), false)
	if err == nil && t.ticket <= t.last {
		t.w.Fail("ticket %d was served after %d", t.ticket, t.last)
	}
	if err == nil {
		t.last = t.ticket
	}
	return err
}

// inside is what the lock protects.
func (t *thread) inside() {
	leave := t.w.Inside("the lock", 1)
	if !t.holds(&t.waiter) {
		t.w.Fail("inside, and the owner is another one")
	}
	leave()
}

// check is Thread.Check.
func (t *thread) check(ctx context.Context) error {
	s := t.state.Load()
	t.looks = looksAtClock - 1 // it looks at every one
	if s == t.mine || t.patient(&t.waiter, s) || !t.giveWay(&t.waiter) {
		return nil
	}
	return t.await(ctx)
}

// clock is the timer: it calls expire when that is pending, at most so often.
func (s *simulated) clock(times int) {
	s.p.Go("clock", func() {
		for range times {
			s.w.Step("tick")
			if s.pending > 0 {
				s.pending--
				s.expire()
			}
		}
	})
}

// turns: threads take it, some with a context that may end.
func turns(threads, rounds, cancelled int) func(*explore.World, plant) {
	return func(w *explore.World, f plant) {
		s := simulate(w, f)
		for i := range threads {
			s.thread(i+1, func(t *thread) {
				for range rounds {
					ctx := context.Background()
					if i < cancelled {
						ctx = s.p.Context()
					}
					if t.acquire(ctx) == nil {
						t.inside()
						t.release(&t.waiter)
					}
				}
			})
		}
	}
}

// safePoints: threads take it and come to safe points, beside a clock.
func safePoints(threads, checks, ticks, cancelled int) func(*explore.World, plant) {
	return func(w *explore.World, f plant) {
		s := simulate(w, f)
		for i := range threads {
			s.thread(i+1, func(t *thread) {
				ctx := context.Background()
				if i < cancelled {
					ctx = s.p.Context()
				}
				if t.acquire(ctx) != nil {
					return
				}
				for range checks {
					t.inside()
					if t.check(ctx) != nil {
						return
					}
				}
				t.inside()
				t.release(&t.waiter)
			})
		}
		s.clock(ticks)
	}
}

// explored runs a case in all ways with few preemptions, then by chance.
func explored(t *testing.T, exhaust, random explore.Options, body func(*explore.World, plant)) {
	t.Helper()
	exhaust.MaxRuns, random.Runs = 20_000, 5_000
	if long {
		exhaust.Preemptions++
		exhaust.MaxRuns, random.Runs = 2_000_000, 300_000
	}
	if raceDetector { // one strand runs at a time: there is little for it to see
		exhaust.MaxRuns, random.Runs = exhaust.MaxRuns/20, random.Runs/10
	}
	sound := func(w *explore.World) { body(w, plant{}) }
	for _, res := range []explore.Result{explore.Exhaust(exhaust, sound), explore.Random(random, sound)} {
		if err := res.Err(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%v", res)
	}
}

func TestExplore(t *testing.T) {
	for _, c := range []struct {
		name            string
		exhaust, random explore.Options
		body            func(*explore.World, plant)
	}{
		{"two take it", explore.Options{Preemptions: 3}, explore.Options{}, turns(2, 2, 0)},
		{"three take it", explore.Options{Preemptions: 2}, explore.Options{}, turns(3, 1, 0)},
		{"one of two gives up", explore.Options{Preemptions: 3, Cancels: 1}, explore.Options{Cancels: 1}, turns(2, 1, 1)},
		{"two of three give up", explore.Options{Preemptions: 2, Cancels: 2}, explore.Options{Cancels: 2}, turns(3, 1, 2)},
		{"three give up and come again", explore.Options{Preemptions: 1, Cancels: 3}, explore.Options{Cancels: 4}, turns(3, 2, 3)},
		{"two come to safe points", explore.Options{Preemptions: 2, Jumps: 2}, explore.Options{Jumps: 3}, safePoints(2, 2, 2, 0)},
		{"three come to safe points", explore.Options{Preemptions: 1, Jumps: 2}, explore.Options{Jumps: 4}, safePoints(3, 2, 3, 0)},
		{"one gives up at a safe point", explore.Options{Preemptions: 2, Jumps: 1, Cancels: 1}, explore.Options{Jumps: 3, Cancels: 2}, safePoints(2, 1, 2, 2)},
		{"three give up at safe points", explore.Options{Preemptions: 1, Jumps: 2, Cancels: 2}, explore.Options{Jumps: 4, Cancels: 3}, safePoints(3, 2, 3, 3)},
	} {
		t.Run(c.name, func(t *testing.T) { explored(t, c.exhaust, c.random, c.body) })
	}
}

// forgets is a memory that wakes nobody.
type forgets struct{ cell.Memory }

func (forgets) Wake(cell.Word, int) {}

// hasty is a memory that sleeps without looking.
type hasty struct{ cell.Memory }

func (m hasty) Wait(ctx context.Context, w cell.Word, _ uint32, deaths uint64) error {
	return m.Memory.Wait(ctx, w, uint32(w.Pointer().Load()), deaths)
}

// What the algorithm needs of its ground is needed: without it the explorer finds a failure.
func TestExplorePlanted(t *testing.T) {
	for _, c := range []struct {
		name string
		f    plant
		o    explore.Options
		body func(*explore.World, plant)
		want []explore.Kind
	}{
		{"nobody is woken", plant{memory: func(m cell.Memory) cell.Memory { return forgets{m} }},
			explore.Options{Preemptions: 2}, turns(2, 1, 0), []explore.Kind{explore.Hang}},
		{"the sleep compares nothing", plant{memory: func(m cell.Memory) cell.Memory { return hasty{m} }},
			explore.Options{Preemptions: 2}, turns(2, 1, 0), []explore.Kind{explore.Hang}},
		{"waiters are not noted", plant{state: func(_, new uint64) uint64 { return new &^ hasWaiters }},
			explore.Options{Preemptions: 2}, turns(2, 1, 0), []explore.Kind{explore.Hang}},
		{"who is awake stays so", plant{state: func(old, new uint64) uint64 { return new | old&isWoken }},
			explore.Options{Preemptions: 3}, turns(3, 2, 0), []explore.Kind{explore.Failed, explore.Final, explore.Hang}},
		{"who is asked keeps it", plant{state: func(old, new uint64) uint64 {
			if old&isAsked != 0 && owner(old) != owner(new) {
				return old
			}
			return new
		}}, explore.Options{Preemptions: 2, Jumps: 2}, safePoints(2, 2, 2, 0), []explore.Kind{explore.Failed, explore.Hang}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.MaxRuns = 100_000
			res := explore.Exhaust(c.o, func(w *explore.World) { c.body(w, c.f) })
			if res.Failure == nil {
				t.Fatalf("not found in %v", res)
			}
			if !slices.Contains(c.want, res.Failure.Kind) {
				t.Errorf("it shows as a %s, not as a %v:\n%v", res.Failure.Kind, c.want, res.Failure)
			}
		})
	}
}
