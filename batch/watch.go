package batch

import (
	"slices"
	"sync"
	"time"

	"github.com/brood-go/brood/sched"
)

// The watcher looks at the processes that are not paused: who has used up a slice, who
// waits for something, who could run on. The kernel has no events for these, so they
// are sampled, every lookEvery at most, and more seldom if there are so many processes
// that looking would cost more than one part in lookShare of a CPU, but every lookAtMost.
//
// A job is blocked when in two looks in a row no thread of it wanted the CPU, and it
// used next to none in between; it is not any more when it wanted the CPU in two
// looks in a row, or used much. In between is what mostly waits and now and then
// does a little: its state stays what it was.

const (
	lookEvery  = 10 * time.Millisecond
	lookShare  = 25                     // one part in so many
	idleShare  = 10                     // less than one part in so many of a CPU: it waits
	busyShare  = 3                      // more than one part in so many: it computes
	lookAtMost = 250 * time.Millisecond // between two looks
	memEvery   = 100 * time.Millisecond
	retryPause = 100 * time.Millisecond // first time until a pause is tried again; doubled each time
	retryMost  = 5 * time.Second
)

// looked is what is known of a task's process tree.
type looked struct {
	cpu         time.Duration
	memory      int64 // resident
	most        int64 // of it, so far
	at, memAt   time.Time
	idle, busy  int // looks in a row
	blockedAt   time.Time
	blockedTime time.Duration
}

// pace is how often the watcher looks.
type pace struct {
	last [8]time.Duration // what looks took, in a ring
	n    int
}

// next is the time until the next look, after one that took so long. Time is the clock's:
// on a busy machine a look that costs a tenth of a millisecond takes 20 or 100 when others
// get the CPU in the middle of it. So what counts is the cheapest of the last ones. Else
// the watcher would be away for seconds, and see nothing of what is shorter.
func (p *pace) next(took time.Duration) time.Duration {
	p.last[p.n%len(p.last)] = took
	p.n++
	return min(max(lookEvery, lookShare*slices.Min(p.last[:])), lookAtMost)
}

// anew forgets when the last look was: what lies between does not count, as of a pause.
func (l *looked) anew() { l.at, l.idle, l.busy = time.Time{}, 0, 0 }

// unblock ends the time that the task is blocked, if it is.
func (l *looked) unblock(now time.Time) {
	if !l.blockedAt.IsZero() {
		l.blockedTime += now.Sub(l.blockedAt)
		l.blockedAt = time.Time{}
	}
}

// watchTrees looks until the batch ends.
func (b *Batch) watchTrees() {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	var p pace
	for {
		select {
		case <-timer.C:
		case <-b.watchEnd:
			return
		}
		seen, cost := b.lookAround()
		if seen == 0 {
			// Nothing moves; who starts something rings.
			select {
			case <-b.watchRing:
			case <-b.watchEnd:
				return
			}
		}
		timer.Reset(p.next(cost))
	}
}

// ringWatch makes the watcher look again, now or soon.
func (b *Batch) ringWatch() {
	if b.watchRing == nil {
		return
	}
	select {
	case b.watchRing <- struct{}{}:
	default:
	}
}

// seen is one look at one task.
type seen struct {
	t      *task
	proc   Running
	memory bool // is looked at, too
	a      Activity
	err    error
}

// lookAround looks at all that moves, and tells the policy. It returns how many tasks
// there are to be looked at again, and what looking took, without waiting for others.
func (b *Batch) lookAround() (n int, cost time.Duration) {
	b.mu.Lock()
	var all []seen
	now := time.Now()
	held := b.held
	waits := len(b.short) > 0
	for t := range b.begun {
		waits = waits || t.suspended // until there is memory
		if t.proc != nil && !t.still {
			all = append(all, seen{t: t, proc: t.proc, memory: now.Sub(t.look.memAt) > memEvery})
		}
	}
	b.mu.Unlock()
	if held {
		return len(all) + 1, 0
	}
	for i := range all {
		s := &all[i]
		s.a, s.err = s.proc.Look(s.memory)
	}
	cost = time.Since(now)

	b.policy.Lock()
	defer b.policy.Unlock()
	var events []sched.Event
	var restless []seen
	b.mu.Lock()
	for _, s := range all {
		if s.err != nil || s.t.proc != s.proc || b.tasks[s.t.id] != s.t || b.held {
			continue
		}
		if s.t.paused || s.t.suspended {
			if !s.t.still && now.After(s.t.retryAt) {
				restless = append(restless, s)
			}
			continue
		}
		events = b.judge(s.t, s.a, now, events)
	}
	events = b.machineFreed(events)
	b.mu.Unlock()
	var tries sync.WaitGroup
	for _, s := range restless {
		tries.Go(func() { b.stopStill(s.t, s.proc) })
	}
	tries.Wait()
	b.tell(append(events, b.relieve(now)...))
	if waits {
		return len(all) + 1, cost
	}
	return len(all), cost
}

// judge books a look at a task and adds what the policy must know. Called with policy
// and mu held.
func (b *Batch) judge(t *task, a Activity, now time.Time, events []sched.Event) []sched.Event {
	l := &t.look
	used, since := a.CPU-l.cpu, now.Sub(l.at)
	first := l.at.IsZero()
	l.cpu, l.at = max(l.cpu, a.CPU), now
	if a.Memory > 0 {
		l.memory, l.memAt = a.Memory, now
		l.most = max(l.most, a.Memory)
	}
	switch {
	case first:
		return events
	case !a.Runnable && used < since/idleShare:
		l.idle, l.busy = l.idle+1, 0
	case used > since/busyShare:
		l.idle, l.busy = 0, 2
	case a.Runnable:
		l.idle, l.busy = 0, l.busy+1
	default:
		l.idle, l.busy = 0, 0
	}
	switch {
	case t.onPlace && t.slice > 0 && l.cpu-t.sliceFrom >= t.slice:
		return append(events, sched.Event{Kind: sched.Slice, Job: t.id, CPU: l.cpu})
	case t.onPlace && l.idle >= 2 && b.maxSlots > b.o.Slots:
		t.onPlace, t.blocked, l.blockedAt = false, true, now
		b.trace(t, sched.Blocked, sched.Waits)
		return append(events, sched.Event{Kind: sched.Block, Job: t.id, CPU: l.cpu})
	case t.blocked && !t.short && l.busy >= 2:
		l.unblock(now)
		return append(events, sched.Event{Kind: sched.Wake, Job: t.id, CPU: l.cpu})
	}
	return events
}
