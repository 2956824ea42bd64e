package explore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// ErrCancelled is the cause with which the explorer cancels a participant's context.
var ErrCancelled = errors.New("cancelled by the explorer")

// World is what a case is about: words, participants and their strands. It belongs to one
// run; the case makes everything afresh.
type World struct {
	opts    Options
	picker  picker
	limit   int  // of preemptions, or -1
	tracing bool // keep a trace
	anyTime bool // offer kills and cancels at every point, also where they make no difference

	all   []*strand // with their coroutines, for use by every run
	pool  []*word   // the same for words
	words map[*atomic.Uint64]*word

	// What follows is of one run.
	strands      []*strand
	primed       int // so many strands were brought to their first operation
	used         int // words of the pool
	participants []*Participant
	contexts     []*scope
	sections     []*section
	shared       arena
	maxExtents   int // 0 is no limit
	finally      []func() error

	cur       *strand // who runs; nil outside of the schedule
	next      *strand // whom the loop lets run next
	last      *Participant
	observed  bool // the last step looked at deaths
	offers    []choice
	log       []choice
	step      footprint
	steps     int
	preempted int
	kills     int
	cancels   int
	jumps     int
	deaths    uint64
	progress  uint64 // counts changes that somebody could see
	clock     time.Duration
	skipped   bool
	failure   *Failure
	trace     []string
}

// scope is a context that the explorer may cancel.
type scope struct {
	p      *Participant
	n      int // among the participant's
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   bool
}

// section is a place in a case where only so many may be.
type section struct {
	name   string
	bit    uint64
	inside []*strand
}

// Participant is a process of the simulated machine: its strands die together.
type Participant struct {
	w        *World
	name     string
	index    int
	id       cell.ID
	dead     bool
	immortal bool
	scopes   int
	own      arena
	memory   memory
	local    memory
}

func newWorld(o Options) *World {
	return &World{opts: o, words: make(map[*atomic.Uint64]*word)}
}

// Word is a word that all participants share. Outside of strands its operations are direct.
func (w *World) Word(name string) cell.Word { return w.newWord(name, -1, nil).cell() }

// Words are n words that all participants share.
func (w *World) Words(name string, n int) []cell.Word {
	words := make([]cell.Word, n)
	for i := range words {
		words[i] = w.newWord(name, i, nil).cell()
	}
	return words
}

// Participant makes a participant. Names are one word each, and different.
func (w *World) Participant(name string) *Participant {
	checkName(name)
	for _, p := range w.participants {
		if p.name == name {
			panic("explore: two participants named " + name)
		}
	}
	p := &Participant{w: w, name: name, index: len(w.participants)}
	p.id = cell.MakeID(p.index, 1)
	p.memory = memory{p: p, arena: &w.shared}
	p.local = memory{p: p, arena: &p.own, local: true}
	w.participants = append(w.participants, p)
	return p
}

// checkName refuses what a schedule could not name.
func checkName(name string) {
	if name == "" || strings.ContainsAny(name, " .*!~?#\n") {
		panic(fmt.Sprintf("explore: %q can't be a name in a schedule", name))
	}
}

// Finally adds a check for the end of a run, when all live strands have ended. It
// runs outside of the schedule; a call of Wait that would sleep fails the run.
func (w *World) Finally(check func() error) { w.finally = append(w.finally, check) }

// Fail makes the run fail. A strand that calls it ends there.
func (w *World) Fail(format string, args ...any) {
	if w.cur != nil && w.cur.over {
		panic(stop{})
	}
	w.fail(Failed, fmt.Sprintf(format, args...))
	if w.cur != nil {
		panic(stop{})
	}
}

func (w *World) fail(kind Kind, message string) {
	if w.failure == nil {
		if w.cur != nil {
			message = w.cur.label() + ": " + message
		}
		w.failure = &Failure{Kind: kind, Message: message, Trace: w.trace}
	}
}

// Step is a point where others may run, or the strand be killed; it does nothing.
func (w *World) Step(what string) {
	w.point()
	if w.tracing {
		w.note("%s", what)
	}
}

// Note adds a line to the trace.
func (w *World) Note(format string, args ...any) {
	if w.tracing {
		w.note(format, args...)
	}
}

func (w *World) note(format string, args ...any) {
	who := "-"
	if w.cur != nil {
		if w.cur.over {
			return
		}
		who = w.cur.label()
	}
	w.trace = append(w.trace, fmt.Sprintf("%4d  %-8s %s", w.steps, who, fmt.Sprintf(format, args...)))
}

// Inside says that the calling strand is in a section where at most limit live strands
// may be, and fails the run if they are more. The strand is inside from its last
// operation until leave, which is a point where others may run; a strand that is
// killed leaves.
func (w *World) Inside(name string, limit int) (leave func()) {
	s := w.cur
	if s == nil {
		panic("explore: Inside outside of a strand")
	}
	if s.over {
		panic(stop{})
	}
	sec := w.section(name)
	sec.inside = append(sec.inside, s)
	w.step.writes |= sec.bit
	if w.tracing {
		w.note("enters %s", name)
	}
	if len(sec.inside) > limit {
		who := make([]string, len(sec.inside))
		for i, s := range sec.inside {
			who[i] = s.label()
		}
		w.Fail("%s are inside %s, at most %d may be", strings.Join(who, " and "), name, limit)
	}
	return func() {
		w.point()
		w.step.writes |= sec.bit
		sec.leave(s)
		if w.tracing {
			w.note("leaves %s", name)
		}
	}
}

func (w *World) section(name string) *section {
	for _, sec := range w.sections {
		if sec.name == name {
			return sec
		}
	}
	sec := &section{name: name, bit: objectBit(1<<16 + len(w.sections))}
	w.sections = append(w.sections, sec)
	return sec
}

// leave takes one visit of s away, the last.
func (sec *section) leave(s *strand) bool {
	for i := len(sec.inside) - 1; i >= 0; i-- {
		if sec.inside[i] == s {
			sec.inside = append(sec.inside[:i], sec.inside[i+1:]...)
			return true
		}
	}
	return false
}

// ID is the participant's ID.
func (p *Participant) ID() cell.ID { return p.id }

// Memory is the shared memory as the participant sees it.
func (p *Participant) Memory() cell.Extender { return &p.memory }

// Local is memory of the participant's own, for what its strands do among themselves.
// Nobody's death wakes who sleeps there.
func (p *Participant) Local() cell.Extender { return &p.local }

// LocalWord is a word of Local. Only the participant's strands may touch it.
func (p *Participant) LocalWord(name string) cell.Word { return p.w.newWord(name, -1, p).cell() }

// Immortal says that the participant is never killed.
func (p *Participant) Immortal() *Participant {
	p.immortal = true
	return p
}

// Context is a context that the explorer may cancel, with ErrCancelled, at any step. It
// is for the participant's strands.
func (p *Participant) Context() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	p.w.contexts = append(p.w.contexts, &scope{p: p, n: p.scopes, ctx: ctx, cancel: cancel})
	p.scopes++
	return ctx
}

// Go starts a strand of the participant. Its names are one word each, and different.
// Until its first operation a strand runs at once, and nobody else does.
func (p *Participant) Go(name string, f func()) { p.w.start(p, name, f, false) }

// Serve starts a strand that may sleep when all others have ended: then the run is over.
func (p *Participant) Serve(name string, f func()) { p.w.start(p, name, f, true) }
