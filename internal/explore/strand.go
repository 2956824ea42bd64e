package explore

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
)

// strand is a goroutine of a participant. It is a coroutine: it runs when it is resumed,
// until its next operation at which another strand is chosen. The coroutine
// outlives the run and serves a strand of the next one.
type strand struct {
	w       *World
	p       *Participant
	name    string
	index   int
	f       func()
	service bool

	state   state
	started bool // f was called
	over    bool // the run is: every operation ends the strand

	word   *word           // where it sleeps
	queued bool            // it stands in the word's queue
	woken  bool            // somebody took it from there
	ctx    context.Context // what it sleeps with, if that can end

	polite  bool   // its last operation was a Spin in vain
	spins   int    // in vain, in a row, without progress
	spinsAt uint64 // the progress at the last one

	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
}

type state uint8

const (
	fresh  state = iota // has not come to its first operation
	ready               // is about to do an operation
	asleep              // sleeps, or was woken and did not run yet
	ended
)

// maxSpins is how many Spins in vain, while nothing changes, a strand does before it lets
// others run first.
const maxSpins = 5

// stop is what unwinds a strand that has no more to do in its run.
type stop struct{}

func (s *strand) label() string { return s.p.name + "." + s.name }

// runnable reports whether the strand can be chosen.
func (s *strand) runnable() bool {
	if s.p.dead {
		return false
	}
	switch s.state {
	case ready:
		return true
	case asleep:
		return s.woken || s.ctx != nil && s.ctx.Err() != nil
	}
	return false
}

// idle reports whether the strand spins while nothing changes.
func (s *strand) idle() bool { return s.spins >= maxSpins && s.spinsAt == s.w.progress }

func (w *World) start(p *Participant, name string, f func(), service bool) {
	if w.cur != nil && w.cur.over {
		panic(stop{})
	}
	checkName(name)
	for _, s := range w.strands {
		if s.p == p && s.name == name {
			panic("explore: two strands named " + s.label())
		}
	}
	i := len(w.strands)
	if i == len(w.all) {
		s := &strand{w: w, index: i}
		s.resume, s.stop = iter.Pull(s.lives)
		w.all = append(w.all, s)
	}
	s := w.all[i]
	*s = strand{w: w, p: p, name: name, index: i, f: f, service: service, resume: s.resume, stop: s.stop, yield: s.yield}
	w.strands = append(w.strands, s)
	w.step.writes |= spawnBit
}

// lives is the coroutine: one strand after the other.
func (s *strand) lives(yield func(struct{}) bool) {
	s.yield = yield
	for {
		s.live()
		if !yield(struct{}{}) {
			return
		}
	}
}

// live runs the strand, from its first operation on as a part of the schedule.
func (s *strand) live() {
	w, returned := s.w, false
	defer func() {
		v := recover()
		scheduled := s.state != fresh && !s.over
		s.state = ended
		if v != nil && v != (stop{}) && !s.over {
			w.fail(Panic, fmt.Sprint(v))
			w.failure.Stack = string(debug.Stack())
			if w.tracing {
				w.note("panics: %v", v)
			}
		}
		if scheduled && (returned || v != nil) && w.failure == nil {
			w.progress++
			w.next = w.decide(nil)
		}
	}()
	s.f()
	returned = true
}

// switchTo lets a strand run until it hands over.
func (w *World) switchTo(s *strand) {
	before := w.cur
	w.cur = s
	s.resume()
	w.cur = before
}

// prime brings new strands to their first operation.
func (w *World) prime() {
	for w.primed < len(w.strands) {
		s := w.strands[w.primed]
		w.primed++
		s.started = true
		w.switchTo(s)
	}
}

// point is the place in front of an operation where others may run. It returns when it
// is the strand's turn.
func (w *World) point() {
	s := w.cur
	if s == nil {
		return
	}
	if s.over {
		panic(stop{})
	}
	if s.state == fresh {
		s.state = ready
		s.yield(struct{}{})
	} else if next := w.decide(s); next != s {
		w.next = next
		s.yield(struct{}{})
	}
	s.polite = false
	if s.over {
		panic(stop{})
	}
}

// unwind ends the strands that have not ended, among them the killed ones. What their
// deferred functions do has no effect.
func (w *World) unwind() {
	for _, s := range w.strands {
		s.over = true
		if s.started && s.state != ended {
			w.switchTo(s)
		}
	}
}

// close ends the coroutines.
func (w *World) close() {
	w.unwind()
	for _, s := range w.all {
		s.stop()
	}
}
