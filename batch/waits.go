package batch

import (
	"cmp"
	"time"
)

// Wait says what a job waits for.
type Wait string

// What a job can wait for.
const (
	WaitCPU     Wait = "cpu"      // all places are taken
	WaitPolicy  Wait = "policy"   // an earlier one under the policy has its place, or must end first
	WaitMemory  Wait = "memory"   // there is not enough for one more
	WaitLoad    Wait = "load"     // the machine has too much to do, or swaps
	WaitLimit   Wait = "limit"    // the command of Options.Limit says so
	WaitJobs    Wait = "jobs"     // others that must end well before
	WaitDelay   Wait = "delay"    // the least time between two starts
	WaitBackOff Wait = "back-off" // it failed, and is tried again later
	WaitHalt    Wait = "halt"     // the batch is being stopped: it will not run
)

// Waits are the times that a job waited, by what for.
type Waits struct {
	CPU, Policy, Memory, Load, Limit, Jobs, Delay, BackOff time.Duration
}

// All is their sum.
func (w Waits) All() time.Duration {
	return w.CPU + w.Policy + w.Memory + w.Load + w.Limit + w.Jobs + w.Delay + w.BackOff
}

// of is the sum of one kind, nil for WaitHalt, which nobody adds up.
func (w *Waits) of(what Wait) *time.Duration {
	switch what {
	case WaitCPU:
		return &w.CPU
	case WaitPolicy:
		return &w.Policy
	case WaitMemory:
		return &w.Memory
	case WaitLoad:
		return &w.Load
	case WaitLimit:
		return &w.Limit
	case WaitJobs:
		return &w.Jobs
	case WaitDelay:
		return &w.Delay
	case WaitBackOff:
		return &w.BackOff
	}
	return nil
}

// waiter adds up what a task waits for. Guarded by Batch.mu.
//
// Of a job that has not begun, what it waits for may change many times while it
// does nothing, and that of thousands at once. So it is not told: it takes down
// how long the gates had been shut when it came, and looks again when it begins.
type waiter struct {
	sum   Waits
	since time.Time                 // zero: it does not wait
	what  Wait                      // empty: it has not begun, and the gates know
	shut  [len(gated)]time.Duration // of the gates, at since
}

// gated are the reasons for which nothing can begin.
var gated = [...]Wait{WaitPolicy, WaitMemory, WaitLoad, WaitLimit}

// gates add up for how long nothing could begin, and why. At most one of them is shut at a
// time: when the first that is to begin waits for memory, it does not matter for what else
// those behind it would wait.
type gates [len(gated)]stopwatch

// set shuts the gate of one reason, and opens the others; none opens all.
func (g *gates) set(now time.Time, why Wait) {
	for i := range g {
		if on := gated[i] == why; on || g[i].on {
			g[i].set(now, on)
		}
	}
}

// shut is the reason for which nothing can begin now, empty if there is none.
func (g *gates) shut() Wait {
	for i := range g {
		if g[i].on {
			return gated[i]
		}
	}
	return ""
}

// stopwatch adds up the time in which it is on.
type stopwatch struct {
	on    bool
	since time.Time
	sum   time.Duration
}

func (s *stopwatch) set(now time.Time, on bool) {
	if s.on {
		s.sum += now.Sub(s.since)
	}
	s.on, s.since = on, now
}

func (s *stopwatch) at(now time.Time) time.Duration {
	if s.on {
		return s.sum + now.Sub(s.since)
	}
	return s.sum
}

// arrive begins the wait of a task that has not begun.
func (w *waiter) arrive(now time.Time, b *Batch) {
	w.begin(now, "")
	for i := range b.gates {
		w.shut[i] = b.gates[i].at(now)
	}
}

func (w *waiter) begin(now time.Time, what Wait) { w.since, w.what = now, what }

// waits reports whether it waits for that.
func (w *waiter) waits(what Wait) bool { return w.what == what && !w.since.IsZero() }

// until ends the wait that is under way, if there is one.
func (w *waiter) until(now time.Time, b *Batch) {
	if w.since.IsZero() {
		return
	}
	d := now.Sub(w.since)
	w.since = time.Time{}
	if w.what != "" {
		*w.sum.of(w.what) += d
		return
	}
	for i := range b.gates {
		shut := b.gates[i].at(now) - w.shut[i]
		*w.sum.of(gated[i]) += shut
		d -= shut
	}
	w.sum.CPU += max(d, 0)
}

// setGates is for when something has begun or ended, or what the first that is to begin
// waits for has changed. Called with mu held.
func (b *Batch) setGates(now time.Time) {
	why := Wait("")
	switch {
	case len(b.short) > 0 && b.lacking != WaitDelay:
		why = b.lacking
	case len(b.short) > 0, b.crowded():
		why = WaitPolicy
	}
	b.gates.set(now, why)
}

// crowded reports whether nothing more may begin until something has ended, although it
// need not run. Called with mu held.
func (b *Batch) crowded() bool { return len(b.begun) >= b.maxSlots && b.maxSlots > b.o.Slots }

// waitsFor is what a task waits for now, empty if it runs or is blocked. Called with
// mu held.
func (b *Batch) waitsFor(t *task) Wait {
	switch {
	case b.level > running && t.proc == nil && t.slot == 0:
		return WaitHalt
	case t.granted:
		return WaitPolicy
	case t.waits.waits(WaitDelay):
		return WaitDelay
	case t.short:
		return b.lacking
	case t.suspended:
		return WaitMemory
	case t.paused:
		return WaitPolicy
	case !b.begun[t]:
		return cmp.Or(b.gates.shut(), WaitCPU)
	}
	return ""
}
