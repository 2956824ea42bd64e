package batch

import "time"

// Wait says what a job waits for.
type Wait string

// What a job can wait for.
const (
	WaitCPU     Wait = "cpu"      // all places are taken
	WaitPolicy  Wait = "policy"   // an earlier one under the policy has its place, or must end first
	WaitMemory  Wait = "memory"   // there is not enough for one more
	WaitDelay   Wait = "delay"    // the least time between two starts
	WaitBackOff Wait = "back-off" // it failed, and is tried again later
	WaitHalt    Wait = "halt"     // the batch is being stopped: it will not run
)

// Waits are the times that a job waited, by what for.
type Waits struct{ CPU, Policy, Memory, Delay, BackOff time.Duration }

// All is their sum.
func (w Waits) All() time.Duration { return w.CPU + w.Policy + w.Memory + w.Delay + w.BackOff }

// waiter adds up what a task waits for. Guarded by Batch.mu.
//
// Of a job that has not begun, what it waits for may change many times while it
// does nothing, and that of thousands at once. So it is not told: it takes down
// how long the gates had been shut when it came, and looks again when it begins.
type waiter struct {
	sum         Waits
	since       time.Time // zero: it does not wait
	what        waitKind
	full, short time.Duration // of the gates, at since
}

type waitKind int

const (
	waitStart waitKind = iota // it has not begun: the gates know
	waitPolicy
	waitMemory
	waitDelay
	waitBackOff
)

// gates add up for how long nothing could begin, and why. One of them is shut at a time: when
// memory is short it does not matter who else is there.
type gates struct{ full, short stopwatch }

func (g *gates) set(now time.Time, full, short bool) {
	g.full.set(now, full && !short)
	g.short.set(now, short)
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
	w.begin(now, waitStart)
	w.full, w.short = b.gates.full.at(now), b.gates.short.at(now)
}

func (w *waiter) begin(now time.Time, what waitKind) { w.since, w.what = now, what }

// until ends the wait that is under way, if there is one.
func (w *waiter) until(now time.Time, b *Batch) {
	if w.since.IsZero() {
		return
	}
	d := now.Sub(w.since)
	w.since = time.Time{}
	switch w.what {
	case waitPolicy:
		w.sum.Policy += d
	case waitMemory:
		w.sum.Memory += d
	case waitDelay:
		w.sum.Delay += d
	case waitBackOff:
		w.sum.BackOff += d
	case waitStart:
		short := b.gates.short.at(now) - w.short
		full := b.gates.full.at(now) - w.full
		w.sum.Memory += short
		w.sum.Policy += full
		w.sum.CPU += max(d-short-full, 0)
	}
}

// setGates is for when something has begun or ended, or need not wait for memory any more.
// Called with mu held.
func (b *Batch) setGates(now time.Time) {
	b.gates.set(now, b.crowded() || len(b.short) > 0, len(b.short) > 0 && b.due(now))
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
	case t.waits.what == waitDelay && !t.waits.since.IsZero():
		return WaitDelay
	case t.memory || !b.begun[t] && b.gates.short.on:
		return WaitMemory
	case t.paused || !b.begun[t] && (b.crowded() || len(b.short) > 0):
		return WaitPolicy
	case !b.begun[t]:
		return WaitCPU
	}
	return ""
}
