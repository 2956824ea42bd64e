package share

import (
	"context"

	"github.com/brood-go/brood/internal/cell"
)

// gate lets one goroutine of a process at a time contend for what processes share, so
// that at most one thread of each process sleeps in the kernel for one thing, and
// a process takes part in the contest once, however many of its goroutines want to.
// They pass it to each other in the order in which they came.
//
// # Layout
//
// One word on the heap:
//
//	bit 0       held: somebody is in
//	bit 1       passed: whoever was in has left it to one who waits
//	bits 32–63  how many wait, without the one that it was passed to
//
// # Invariants
//
// Passed implies held. Of those who wait, each is counted, or the gate is passed and
// there is one more than are counted.
//
// # Commits
//
// enter takes a gate that is not held, or counts itself; leave, if somebody is
// counted, swaps one of the count for passed; who waits swaps passed for nothing and
// is in. Each is one compare-and-swap.
//
// # Wake argument
//
// A waiter sleeps on the low half while it is held and not passed. Only leave changes
// that, and then wakes one sleeper. A waiter that was about to sleep instead is
// not let sleep, and may take what was passed before the woken one: that one then
// sleeps again, still counted. Who gives up takes what was passed, if it was, and
// passes it on; otherwise it stops being counted. So what was passed is always seen by
// somebody awake.
//
// # Deaths
//
// A gate dies with its process: nobody else can see it.
//
// # Fairness and cost
//
// First come, first served, but for who overtakes between being counted and
// asleep. Free, it costs two compare-and-swaps.
type gate struct {
	word cell.Word
	mem  cell.Memory
}

const (
	gateHeld   = 1 << 0
	gatePassed = 1 << 1
	gateWaiter = 1 << 32
)

// enter waits until the gate is this goroutine's. After an error it is not.
func (g *gate) enter(ctx context.Context) error {
	for {
		w := g.word.Load()
		if w&gateHeld == 0 {
			if g.word.CompareAndSwap(w, w|gateHeld) {
				return nil
			}
		} else if g.word.CompareAndSwap(w, w+gateWaiter) {
			return g.wait(ctx)
		}
	}
}

// wait is for who is counted.
func (g *gate) wait(ctx context.Context) error {
	for {
		deaths := g.mem.Watch()
		w := g.word.Load()
		if w&gatePassed != 0 {
			if g.word.CompareAndSwap(w, w&^gatePassed) {
				return nil
			}
			continue
		}
		if err := g.mem.Wait(ctx, g.word, uint32(w), deaths); err != nil {
			g.giveUp()
			return err
		}
	}
}

// giveUp undoes being counted.
func (g *gate) giveUp() {
	for {
		w := g.word.Load()
		switch {
		case w&gatePassed != 0:
			if g.word.CompareAndSwap(w, w&^gatePassed) {
				g.leave()
				return
			}
		case g.word.CompareAndSwap(w, w-gateWaiter):
			return
		}
	}
}

// leave lets the next one in.
func (g *gate) leave() {
	for {
		w := g.word.Load()
		if w < gateWaiter {
			if g.word.CompareAndSwap(w, w&^gateHeld) {
				return
			}
		} else if g.word.CompareAndSwap(w, w-gateWaiter|gatePassed) {
			g.mem.Wake(g.word, 1)
			return
		}
	}
}
