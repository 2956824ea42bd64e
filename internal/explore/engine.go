package explore

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// jump is by how much the clock jumps ahead.
const jump = 2 * time.Millisecond

// run runs the case once, as the picker says.
func (w *World) run(body func(*World)) {
	w.reset()
	body(w)
	w.next = w.decide(nil)
	for w.next != nil {
		s := w.next
		w.next = nil
		w.switchTo(s)
	}
	w.picker.finish(w)
	if w.failure == nil && !w.skipped {
		w.check()
	}
	if w.failure != nil {
		w.failure.Trace = w.trace
	}
	w.unwind()
	for _, c := range w.contexts {
		c.cancel(nil)
	}
}

func (w *World) reset() {
	w.strands, w.participants, w.contexts, w.sections = w.strands[:0], w.participants[:0], w.contexts[:0], w.sections[:0]
	w.finally, w.log, w.trace = w.finally[:0], w.log[:0], nil
	w.shared.extents = w.shared.extents[:0]
	w.primed, w.used, w.maxExtents, w.steps, w.preempted = 0, 0, 0, 0, 0
	w.kills, w.cancels, w.jumps, w.deaths, w.progress = 0, 0, 0, 0, 0
	w.clock = time.Second
	w.cur, w.next, w.last, w.observed = nil, nil, nil, true
	w.step = footprint{}
	w.skipped, w.failure = false, nil
}

// check calls what Finally was given.
func (w *World) check() {
	for _, check := range w.finally {
		err := w.sleepless(check)
		if err != nil && w.failure == nil {
			w.failure = &Failure{Kind: Final, Message: err.Error()}
		}
	}
}

// sleepless calls check; a Wait in it that would sleep is an error.
func (w *World) sleepless(check func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if e, ok := v.(wouldSleep); ok {
				err = e
				return
			}
			panic(v)
		}
	}()
	return check()
}

// wouldSleep is a Wait outside of the schedule that would have to sleep.
type wouldSleep struct{ word string }

func (e wouldSleep) Error() string { return "outside of the schedule, Wait would sleep on " + e.word }

// decide says who does the next operation, nil for nobody: then the run is over. cur is
// the strand that did the last one, nil if it ended.
func (w *World) decide(cur *strand) *strand {
	w.prime()
	if w.failure != nil {
		return nil
	}
	if w.steps >= w.opts.MaxSteps {
		w.cur = nil
		w.fail(Livelock, fmt.Sprintf("no end after %d steps", w.steps))
		return nil
	}
	for floor := 0; ; {
		free := w.offer(cur, floor)
		if len(w.offers) == 0 {
			w.rest()
			return nil
		}
		i := w.picker.pick(w, free)
		if i < 0 {
			w.skipped = w.failure == nil
			return nil
		}
		if w.failure != nil {
			return nil
		}
		c := w.offers[i]
		w.log = append(w.log, c)
		w.step = footprint{}
		switch c.kind() {
		case runs:
			if !free && i > 0 {
				w.preempted++
			}
			s := w.strands[c.index()]
			w.steps++
			w.last, w.observed = s.p, false
			w.step.reads = participantBit(s.p)
			return s
		case kills:
			floor = c.index() + 1
			w.kill(w.participants[c.index()])
		case cancels:
			floor = len(w.participants) + c.index() + 1
			w.cancel(w.contexts[c.index()])
		case ends:
			w.step = footprint{^uint64(0), ^uint64(0)}
			return nil
		}
	}
}

// offer collects what can be chosen: the strand that ran last comes first, if it can go
// on. It reports whether it costs nothing to choose another.
func (w *World) offer(cur *strand, floor int) (free bool) {
	w.offers = w.offers[:0]
	busy := w.offerStrands(cur, false)
	if !busy && w.offerStrands(cur, true) {
		w.clock += jump // all spin: only time can change something
	}
	free = !busy || cur == nil || len(w.offers) == 0 || w.offers[0] != choice(cur.index) || cur.state == asleep || cur.polite
	if !free && w.limit >= 0 && w.preempted >= w.limit {
		w.offers = w.offers[:1]
	}
	rest := len(w.offers) == 0
	if rest {
		for _, s := range w.strands {
			if s.state != ended && !s.p.dead && !s.service {
				return free // a hang
			}
		}
	}
	w.offerKills(floor)
	w.offerCancels(floor)
	if rest && len(w.offers) > 0 {
		w.offers = append(w.offers, w.offers[0])
		w.offers[0] = choice(ends) << kindShift
	}
	return free
}

func (w *World) offerStrands(cur *strand, idle bool) bool {
	if cur != nil && cur.runnable() && cur.idle() == idle {
		w.offers = append(w.offers, choice(cur.index))
	}
	for _, s := range w.strands {
		if s != cur && s.runnable() && s.idle() == idle {
			w.offers = append(w.offers, choice(s.index))
		}
	}
	return len(w.offers) > 0
}

// offerKills offers deaths. A death is as good right after the participant's own
// operation, or after one that looks at deaths, as it is after an operation of another
// strand that came in between; so without Reduce, which finds that out by itself, it
// is offered nowhere else. Of several events in a row there is one order.
func (w *World) offerKills(floor int) {
	if w.kills >= w.opts.Kills {
		return
	}
	alive, working := 0, false
	for _, p := range w.participants {
		if !p.dead {
			alive++
		}
	}
	for _, s := range w.strands {
		working = working || s.state != ended && !s.p.dead
	}
	if alive < 2 || !working {
		return
	}
	for i, p := range w.participants {
		if p.dead || p.immortal || !w.always() && (i < floor || p != w.last && !w.observed) {
			continue
		}
		w.offers = append(w.offers, kills<<kindShift|choice(i))
	}
}

// offerCancels offers to cancel contexts, by the same rule: nobody but the participant's
// strands look at it.
func (w *World) offerCancels(floor int) {
	if w.cancels >= w.opts.Cancels {
		return
	}
	for i, c := range w.contexts {
		if c.done || c.p.dead || !w.always() && (len(w.participants)+i < floor || c.p != w.last && w.steps > 0) {
			continue
		}
		if w.working(c.p) {
			w.offers = append(w.offers, cancels<<kindShift|choice(i))
		}
	}
}

func (w *World) always() bool { return w.anyTime || w.opts.Reduce }

// working reports whether the participant has a strand that has not ended.
func (w *World) working(p *Participant) bool {
	for _, s := range w.strands {
		if s.p == p && s.state != ended {
			return true
		}
	}
	return false
}

// kill stops all strands of the participant and wakes who sleeps in the shared memory.
func (w *World) kill(p *Participant) {
	p.dead = true
	w.kills++
	w.deaths++
	w.progress++
	w.step.reads |= killBit
	w.step.writes |= killBit | deathsBit | participantBit(p)
	for _, s := range w.strands {
		switch {
		case s.p == p:
			for _, sec := range w.sections {
				for sec.leave(s) {
					w.step.writes |= sec.bit
				}
			}
			if s.queued {
				s.word.dequeue(s)
			}
		case s.queued && s.word.owner == nil:
			s.word.dequeue(s)
			s.woken = true
		}
	}
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%4d  %-8s is killed", w.steps, p.name))
	}
}

func (w *World) cancel(c *scope) {
	c.done = true
	w.cancels++
	w.progress++
	w.step.writes |= cancelBit | participantBit(c.p)
	c.cancel(ErrCancelled)
	if w.tracing {
		w.trace = append(w.trace, fmt.Sprintf("%4d  %-8s context is cancelled", w.steps, c.label()))
	}
}

// rest is called when nobody can go on: that is the end, or a wake-up was lost.
func (w *World) rest() {
	var hang []string
	for _, s := range w.strands {
		if s.state == asleep && !s.p.dead && !s.service {
			hang = append(hang, s.label()+" on "+s.word.name())
		}
	}
	if hang != nil {
		w.cur = nil
		w.fail(Hang, "asleep, and nobody is left to wake them: "+strings.Join(hang, ", "))
	}
}

// sleep is the operation Wait after its look at the word. The strand stands in the queue.
func (w *World) sleep(ctx context.Context, x *word) error {
	s := w.cur
	s.state, s.word, s.woken, s.ctx = asleep, x, false, nil
	if ctx.Done() != nil {
		s.ctx = ctx
	}
	x.queue = append(x.queue, s)
	s.queued = true
	if next := w.decide(s); next != s {
		w.next = next
		s.yield(struct{}{})
	}
	if s.over {
		panic(stop{})
	}
	s.state = ready
	w.step.writes |= x.queueBit
	var err error
	if s.queued {
		x.dequeue(s)
		err = context.Cause(ctx)
	} else if ctx.Err() != nil && w.outcome(2) == 0 {
		err = context.Cause(ctx) // both had happened: either may be what it learns
	}
	if w.tracing {
		if err != nil {
			w.note("wait %s: %v", x.name(), err)
		} else {
			w.note("wait %s: woken", x.name())
		}
	}
	return err
}
