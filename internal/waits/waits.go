// Package waits knows which goroutine of this process waits for what, and finds those
// that wait for each other.
//
// Whoever is about to sleep, and may be waited for, says so with Begin. Its target names
// the goroutines of which one has to act before the wait can end. If all of those wait
// as well, and so on, nobody ever will: then Begin returns the circle as an error, and the
// others wait on, as the one that got the error is going to give something up. The last one to
// sleep sees all the others, because the table is one, under one mutex.
//
// A target that other processes have a part in is Foreign: what its holders wait for
// cannot be seen here. For it Begin collects who in this process depends on the wait (the
// one that begins, and whoever waits for it, and so on), and the target looks further.
//
// Where it is not known who can end a wait, somebody can: there are no false alarms, but
// for goroutines that hold something in name only.
package waits

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// Agent is a goroutine that waits.
type Agent struct {
	Goroutine uint64
	Strand    *strand.Strand // nil if it is not known
}

// String names it for a message.
func (a Agent) String() string {
	if a.Strand == nil {
		return fmt.Sprintf("goroutine %d", a.Goroutine)
	}
	return fmt.Sprintf("%s %q (goroutine %d)", a.Strand.Kind, a.Strand.Name, a.Goroutine)
}

// Target is what a goroutine waits for. It can be compared, and is equal for all who wait for
// the same.
type Target interface {
	// Holders are the goroutines of this process of which each could end the wait. If
	// somebody else could as well, or nobody needs to, known is false. It is called with the table
	// locked and must not wait.
	Holders() (goroutines []uint64, known bool)
	// String names it for a message.
	String() string
}

// Foreign is a target that other processes have a part in.
type Foreign interface {
	Target
	// Told reports whether there is anybody abroad to be told.
	Told() bool
	// Extend is told, with the table locked, who depends on a wait for the target. It returns
	// an error if their wait closes a circle through other processes; if not, what it says
	// of them there lasts until withdraw is called. With a *Later nothing was said, and it is
	// told again after a while.
	Extend(dependents []Agent) (withdraw func(), err error)
}

// Later is Extend's error when those abroad can't be told now.
type Later struct{ After time.Duration }

// Error implements error.
func (l *Later) Error() string {
	return fmt.Sprintf("those in other processes can't be told now: try again after %v", l.After)
}

// Wait is one goroutine's wait.
type Wait struct {
	ctx     context.Context
	agent   Agent
	targets []Target
	said    []*said

	// Of a wait that could not be told abroad when it began: what bounds its sleep, what ends
	// that if the wait turns out to be one of a circle, and when it is told next.
	sleep context.Context
	told  context.CancelCauseFunc
	again *time.Timer
}

// said is what was told to a foreign target. It holds as long as each of some waits lasts.
type said struct {
	waits    []*Wait
	withdraw func()
}

// table is who waits, and who waits for each target: there are far fewer targets than
// waits when there are many.
var table = struct {
	sync.Mutex
	waits map[uint64]*Wait
	on    map[Target]map[*Wait]struct{}
}{waits: make(map[uint64]*Wait), on: make(map[Target]map[*Wait]struct{})}

// enter puts a wait into the table.
func (w *Wait) enter() {
	table.waits[w.agent.Goroutine] = w
	for _, t := range w.targets {
		on := table.on[t]
		if on == nil {
			on = make(map[*Wait]struct{})
			table.on[t] = on
		}
		on[w] = struct{}{}
	}
}

// leave takes a wait out of the table, if it is there.
func (w *Wait) leave() {
	if table.waits[w.agent.Goroutine] != w {
		return
	}
	delete(table.waits, w.agent.Goroutine)
	for _, t := range w.targets {
		if delete(table.on[t], w); len(table.on[t]) == 0 {
			delete(table.on, t)
		}
	}
}

// DeadlockError is the error of a wait that nothing but somebody's deadline or cancellation could
// end: everybody on it waits for something that the next one holds, and the last one for
// something of the first's.
type DeadlockError struct {
	Edges []Edge

	guard bool // what is waited for is held by a guard, which may have been handed on
}

// Edge is one step of a deadlock.
type Edge struct {
	Strand string // who waits
	PID    int    // in which process
	Waits  string // for what
}

// Error implements error.
func (e *DeadlockError) Error() string {
	var b strings.Builder
	b.WriteString("deadlock: ")
	for i, edge := range e.Edges {
		if i > 0 {
			b.WriteString(", which is held by ")
		}
		fmt.Fprintf(&b, "%s of process %d, which waits for %s", edge.Strand, edge.PID, edge.Waits)
	}
	b.WriteString(", which is held by the first")
	if len(e.Edges) == 1 && e.guard {
		b.WriteString(" (unless its guard was handed to another goroutine: say so by Guard.Detach)")
	}
	return b.String()
}

// Begin notes that an agent is about to wait until any of the targets lets it go on. The
// error is a *DeadlockError. Without one the agent calls End when it no longer waits.
//
// A wait whose context has ended is over, though its agent may not know it yet. (Of those in other
// processes that is not known here either.)
func Begin(ctx context.Context, a Agent, targets ...Target) (*Wait, error) {
	w := &Wait{ctx: ctx, agent: a, targets: targets}
	table.Lock()
	defer table.Unlock()
	if table.waits[a.Goroutine] != nil {
		return w, nil // it waits within a wait: the outer one is noted
	}
	w.enter()
	if c := circle(w); c != nil {
		w.leave()
		return nil, c
	}
	if err := w.extend(); err != nil && !w.postpone(err) {
		w.end()
		return nil, err
	}
	return w, nil
}

// Context is what bounds the sleep of a wait that began with ctx. It ends with ctx or, with the
// *DeadlockError as its cause, when those abroad could be told late only, and then a circle
// was found. A nil Wait has ctx.
func (w *Wait) Context(ctx context.Context) context.Context {
	if w == nil || w.sleep == nil {
		return ctx
	}
	return w.sleep
}

// postpone sees to it that those abroad are told again, if err is a Later and no more.
func (w *Wait) postpone(err error) bool {
	var l *Later
	if d := (*DeadlockError)(nil); errors.As(err, &d) || !errors.As(err, &l) {
		return false
	}
	if w.sleep == nil {
		w.sleep, w.told = context.WithCancelCause(w.ctx)
	}
	w.again = time.AfterFunc(l.After, w.extendAgain)
	return true
}

// extendAgain is the end of a postponement. The wait may be over.
func (w *Wait) extendAgain() {
	table.Lock()
	defer table.Unlock()
	if table.waits[w.agent.Goroutine] != w {
		return
	}
	err := w.extend()
	if err == nil || w.postpone(err) {
		return
	}
	if d := (*DeadlockError)(nil); errors.As(err, &d) {
		err = d
	}
	w.told(err)
	w.end()
}

// armed says that something is held in this process, or may be.
var armed atomic.Bool

// Arm notes that from now on something may be held, so that everybody may be waited for.
func Arm() {
	if !armed.Load() {
		armed.Store(true)
	}
}

// Armed reports whether Arm was called: if not, nobody but a task can be waited for.
func Armed() bool { return armed.Load() }

// End notes that the wait is over. A nil Wait was none.
func (w *Wait) End() {
	if w == nil {
		return
	}
	table.Lock()
	defer table.Unlock()
	w.end()
}

func (w *Wait) end() {
	w.leave()
	if w.sleep != nil {
		w.again.Stop()
		w.told(nil)
	}
	for _, s := range w.said {
		if s.withdraw != nil {
			s.withdraw()
			s.withdraw = nil
		}
		for _, other := range s.waits {
			if other != w {
				other.said = slices.DeleteFunc(other.said, func(t *said) bool { return t == s })
			}
		}
	}
	w.said = nil
}

// look is one look at who holds what. Each target is asked once: semaphores change
// while somebody looks, and what follows from one answer must not meet another.
type look map[Target]holders

// holders is a target's answer.
type holders struct {
	goroutines []uint64
	known      bool
}

func (l look) holders(t Target) holders {
	h, ok := l[t]
	if !ok {
		h.goroutines, h.known = t.Holders()
		l[t] = h
	}
	return h
}

// stuck is the goroutines that can't go on, of those that are reachable from w, with what
// each of them can't get: a greatest fixed point. All are taken for stuck, and then those
// that can go on are taken out, until no more are.
func (l look) stuck(w *Wait) map[uint64]*Wait {
	set := map[uint64]*Wait{}
	for stack := []*Wait{w}; len(stack) > 0; {
		next := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if set[next.agent.Goroutine] != nil {
			continue
		}
		set[next.agent.Goroutine] = next
		for _, t := range next.targets {
			for _, g := range l.holders(t).goroutines {
				if other := table.waits[g]; other != nil {
					stack = append(stack, other)
				}
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for g, x := range set {
			if l.canGoOn(x, set) {
				delete(set, g)
				changed = true
			}
		}
	}
	return set
}

// canGoOn reports whether a wait can end, given who can't go on.
func (l look) canGoOn(w *Wait, set map[uint64]*Wait) bool {
	return w.ctx.Err() != nil || slices.ContainsFunc(w.targets, func(t Target) bool { return !l.hopeless(t, set) })
}

// hopeless reports whether all who could give a target can't go on. Who waits for more of what
// it seems to hold may have handed it on, if that is usual for the target.
func (l look) hopeless(t Target, set map[uint64]*Wait) bool {
	h := l.holders(t)
	loose, ok := t.(Loose)
	ok = ok && loose.Loose()
	return h.known && len(h.goroutines) > 0 && !slices.ContainsFunc(h.goroutines, func(g uint64) bool {
		other := set[g]
		return other == nil || ok && slices.ContainsFunc(other.targets, func(u Target) bool { return same(t, u) })
	})
}

// same reports whether two targets are the same thing, of which perhaps not the same is wanted.
func same(t, u Target) bool {
	a, ok := t.(Loose)
	b, also := u.(Loose)
	return t == u || ok && also && a.Thing() == b.Thing()
}

// circle is the error if w can't end.
func circle(w *Wait) *DeadlockError {
	l := look{}
	set := l.stuck(w)
	var e DeadlockError
	seen := map[uint64]bool{}
	for x := set[w.agent.Goroutine]; x != nil && !seen[x.agent.Goroutine]; {
		seen[x.agent.Goroutine] = true
		t := x.targets[slices.IndexFunc(x.targets, func(t Target) bool { return l.hopeless(t, set) })]
		e.Edges = append(e.Edges, Edge{x.agent.String(), os.Getpid(), t.String()})
		_, e.guard = t.(Guarded)
		x = set[l.holders(t).goroutines[0]]
	}
	if len(e.Edges) == 0 {
		return nil
	}
	return &e
}

// Guarded is a target that is held by a guard, which may be handed to another goroutine.
type Guarded interface{ Guarded() }

// Loose is a target whose holders, as they are known, need not be those who give it back:
// permits of a semaphore are often handed on. A circle through one loose target alone
// is no alarm.
type Loose interface {
	Loose() bool
	Thing() any // of which the target is a part
}

// extend follows the wait to a foreign target, if it leads to one without a choice, and
// tells it who depends on it.
func (w *Wait) extend() error {
	path := []*Wait{w}
	last := w
	for range len(table.waits) {
		if len(last.targets) != 1 {
			return nil
		}
		holders, known := last.targets[0].Holders()
		if !known {
			break
		}
		if len(holders) != 1 || table.waits[holders[0]] == nil {
			return nil
		}
		last = table.waits[holders[0]]
		path = append(path, last)
	}
	f, ok := last.targets[0].(Foreign)
	if !ok || !f.Told() {
		return nil
	}
	agents, below := w.dependents()
	withdraw, err := f.Extend(agents)
	if err != nil || withdraw == nil {
		return err
	}
	s := &said{waits: append(below, path[1:]...), withdraw: withdraw}
	for _, x := range s.waits {
		x.said = append(x.said, s)
	}
	return nil
}

// dependents are who waits for w's agent without a choice, and so on, with itself.
func (w *Wait) dependents() (agents []Agent, waits []*Wait) {
	waits = []*Wait{w}
	seen := map[*Wait]bool{w: true}
	for i := 0; i < len(waits); i++ {
		agents = append(agents, waits[i].agent)
		for t, on := range table.on {
			if h, known := t.Holders(); !known || len(h) != 1 || h[0] != waits[i].agent.Goroutine {
				continue
			}
			for other := range on {
				if len(other.targets) == 1 && !seen[other] {
					seen[other] = true
					waits = append(waits, other)
				}
			}
		}
	}
	return agents, waits
}

// Waiting is how many goroutines wait.
func Waiting() int {
	table.Lock()
	defer table.Unlock()
	return len(table.waits)
}
