package batch

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/brood-go/brood/sched"
)

// The policy orders jobs, the dispatcher admits them: what the policy lets run begins once the
// machine has what it takes. While one waits for that, nothing that comes after it begins
// (Batch.short, of which the first is asked again with every look of the watcher): it would take
// away what the first one waits for.
//
// When the machine runs short although nothing more was begun, the youngest running jobs make
// room, those with the highest numbers: they stand still for MemSuspend, and are ended and put back
// into the queue for MemKill. The oldest one always runs on, so that every batch makes progress.

const (
	machineEvery = 100 * time.Millisecond // the load, and memory for MemSuspend and MemKill
	swapEvery    = time.Second
	diskEvery    = time.Second
)

// machine is what is known of the machine. Guarded by Batch.mu.
type machine struct {
	memoryFree int64 // as it was at memoryAt
	memoryAt   time.Time
	load       int // as it was at loadAt, and what was started since
	loadAt     time.Time
	in, out    int64 // pages swapped until swapAt
	swapAt     time.Time
	swaps      bool                     // both increased before that
	disks      map[string]time.Duration // how long each was at work until disksAt
	disksAt    time.Time
	busy       bool // one was for too long before that
	relievedAt time.Time
}

// lacks says what a task waits for that is to begin, nothing if it may: it is due, with
// Options.Delay, and the machine has what it takes. Called with mu held.
func (b *Batch) lacks(t *task, now time.Time) Wait {
	switch {
	case !b.due(now):
		return WaitDelay
	case !b.fits(t, now):
		return WaitMemory
	case b.machineBusy(now):
		return WaitLoad
	case b.o.Limit != "" && !b.limit.permits():
		return WaitLimit
	}
	b.machine.load++ // until it is looked at again
	return ""
}

// machineBusy reports whether the machine has too much to do. Everything is asked, so that what takes
// a second until it is known takes it at the same time. Called with mu held.
func (b *Batch) machineBusy(now time.Time) bool {
	swaps := b.o.NoSwap && b.swapping(now)
	disks := b.o.DiskBusy > 0 && b.disksBusy(now)
	load := b.o.Load > 0 && b.loaded(now)
	return swaps || disks || load
}

// usualMemory is how much memory a task takes of which nothing is known: what those that
// have ended took, else what those that run have. Called with mu held.
func (b *Batch) usualMemory() int64 {
	if b.peaks.n > 0 {
		return b.peaks.sum / int64(b.peaks.n)
	}
	var sum, n int64
	for o := range b.begun {
		if o.look.memory > 0 {
			sum, n = sum+o.look.memory, n+1
		}
	}
	return sum / max(n, 1)
}

// fits reports whether a task fits into memory beside all that have begun, when those have
// grown to what they are expected to take. One alone always fits. Called with mu held.
func (b *Batch) fits(t *task, now time.Time) bool {
	spare := b.o.MemFree + b.o.MemSuspend
	if spare == 0 || !b.others(t) {
		return true
	}
	free, ok := b.free(now, lookEvery)
	if !ok {
		return true // nobody knows
	}
	usual := b.usualMemory()
	need := func(t *task) int64 { return cmp.Or(t.job.Expect.Memory, usual) }
	room := free - spare
	for o := range b.begun {
		if o != t && (!o.short || o.granted) {
			room -= max(need(o)-o.look.memory, 0)
		}
	}
	return room >= need(t)
}

// free is how much memory is available, as it was not longer ago than that. Called with mu held.
func (b *Batch) free(now time.Time, age time.Duration) (int64, bool) {
	if m := &b.machine; now.Sub(m.memoryAt) > age {
		free, err := b.o.available()
		if err != nil {
			return 0, false
		}
		m.memoryAt, m.memoryFree = now, free
	}
	return b.machine.memoryFree, true
}

// due reports whether the least time between two starts is over. Called with mu held.
func (b *Batch) due(now time.Time) bool { return b.o.Delay == 0 || !now.Before(b.nextStart) }

// others reports whether anything but t takes memory, or is about to. Called with mu held.
func (b *Batch) others(t *task) bool {
	for o := range b.begun {
		if o != t && (!o.short || o.granted) {
			return true
		}
	}
	return false
}

// loaded reports whether the machine has that much to do or more. What was started since the
// last look counts one each: it may not show yet. What can't be known is no load. Called with mu
// held.
func (b *Batch) loaded(now time.Time) bool {
	m := &b.machine
	if now.Sub(m.loadAt) >= machineEvery {
		n, err := b.o.load()
		if err != nil {
			return false
		}
		m.load, m.loadAt = n, now
	}
	return float64(m.load) >= b.o.Load
}

// swapping reports whether the machine both reads from its swap space and writes to it: either
// alone does no harm. It takes a second until it is known for the first time. Called with mu held.
func (b *Batch) swapping(now time.Time) bool {
	m := &b.machine
	if now.Sub(m.swapAt) < swapEvery {
		return m.swaps
	}
	in, out, err := b.o.swapped()
	if err != nil {
		return false
	}
	m.swaps = m.swapAt.IsZero() || in > m.in && out > m.out
	m.in, m.out, m.swapAt = in, out, now
	return m.swaps
}

// disksBusy reports whether a disk had too much to do in the last second. It takes a second until
// it is known for the first time. Called with mu held.
func (b *Batch) disksBusy(now time.Time) bool {
	m := &b.machine
	since := now.Sub(m.disksAt)
	if since < diskEvery {
		return m.busy
	}
	disks, err := b.o.disks()
	if err != nil {
		return false
	}
	m.busy = m.disksAt.IsZero()
	for name, worked := range disks {
		if was, ok := m.disks[name]; ok && float64(worked-was) > b.o.DiskBusy*float64(since) {
			m.busy = true
		}
	}
	m.disks, m.disksAt = disks, now
	return m.busy
}

// machineFreed lets tasks begin that the machine had no room for, one after the other, once
// there is. Called with policy and mu held.
func (b *Batch) machineFreed(events []sched.Event) []sched.Event {
	n := len(b.short)
	now := time.Now()
	for len(b.short) > 0 {
		t := b.short[0]
		why := b.lacks(t, now)
		if why != "" {
			b.shortOf(t, why, now)
			break
		}
		b.short = b.short[1:]
		b.nextStart = now.Add(b.o.Delay)
		t.granted, t.due = true, b.nextStart
		t.waits.until(now, b)
		t.waits.begin(now, WaitPolicy)
		events = append(events, sched.Event{Kind: sched.Wake, Job: t.id})
	}
	if n > 0 && len(b.short) == 0 {
		b.setGates(now)
		events = append(events, b.size())
	}
	return events
}

// shortOf notes what the first task that is to begin waits for. Called with policy and mu held.
func (b *Batch) shortOf(t *task, why Wait, now time.Time) {
	if b.lacking == why {
		return
	}
	b.lacking = why
	b.setGates(now)
	for _, t := range b.short { // those behind wait for the same
		t.waits.until(now, b)
		t.waits.begin(now, why)
	}
}

// relieve lets the youngest jobs make room if the machine has run short, and returns what the
// policy must know. Called with policy held.
func (b *Batch) relieve(now time.Time) (events []sched.Event) {
	if b.o.MemSuspend == 0 && b.o.MemKill == 0 {
		return nil
	}
	b.mu.Lock()
	if b.held || b.level > draining || now.Sub(b.machine.relievedAt) < machineEvery {
		b.mu.Unlock()
		return nil
	}
	b.machine.relievedAt = now
	free, ok := b.free(now, machineEvery)
	if !ok {
		free = math.MaxInt64 // nobody knows: all go on
	}
	if free < b.o.MemKill && b.level == running {
		b.evict(true)
	}
	var stop []*task
	var resume []Running
	if b.o.MemSuspend > 0 {
		stop, resume = b.suspend(free, now)
		for _, t := range stop {
			events = b.giveUpPlace(t, events)
		}
	}
	b.mu.Unlock()
	var all sync.WaitGroup
	for _, t := range stop {
		all.Go(func() { b.stopStill(t, t.proc) })
	}
	for _, p := range resume {
		p.Resume()
	}
	all.Wait()
	return events
}

// giveUpPlace is for a task that has a place and stands still for memory: where the policy pauses
// others for their turn, it counts as blocked. When it goes on the watcher finds that it wants the
// CPU. Called with policy and mu held.
func (b *Batch) giveUpPlace(t *task, events []sched.Event) []sched.Event {
	if !t.onPlace || b.maxSlots <= b.o.Slots {
		return events
	}
	t.onPlace, t.blocked = false, true
	return append(events, sched.Event{Kind: sched.Block, Job: t.id, CPU: t.look.cpu})
}

// suspend decides who stands still, as GNU parallel's suspend_young_if_not_enough_mem does: with
// less than MemSuspend free one job runs, and up to twice as much the more the nearer it is to that.
// Above, one is let go on at a time: what it takes shows before the next one. The end of the starts
// changes nothing of that: what stands still must go on one day. Called with policy
// and mu held.
func (b *Batch) suspend(free int64, now time.Time) (stop []*task, resume []Running) {
	jobs := b.byAge(false)
	run := len(jobs)
	if free/2 < b.o.MemSuspend {
		run = min(run, 1+int(1/(2-float64(free)/float64(b.o.MemSuspend))))
	}
	for i, t := range jobs {
		switch {
		case i >= run && !t.suspended:
			t.suspended = true
			if t.waits.since.IsZero() {
				t.waits.begin(now, WaitMemory)
			}
			if !t.paused {
				b.trace(t, sched.Held, sched.Preempted)
				stop = append(stop, t)
			}
		case i < run && t.suspended:
			t.suspended = false
			if t.waits.waits(WaitMemory) {
				t.waits.until(now, b)
			}
			t.look.anew()
			if !t.paused {
				t.still = false
				b.trace(t, sched.Running, sched.Dispatched)
				resume = append(resume, t.proc)
			}
			if run == len(jobs) {
				return stop, resume
			}
		}
	}
	return stop, resume
}

// byAge are the tasks that have a process, or with starting are about to, the oldest first: by their
// numbers, so that one that was put back is as old as before. Called with mu held.
func (b *Batch) byAge(starting bool) []*task {
	var list []*task
	for t := range b.begun {
		if (t.proc != nil || starting && t.starting) && !t.evicted {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(x, y *task) int { return x.seq - y.seq })
	return list
}

// evict ends the youngest job, to be run again later; with spare not if it is the only one.
// Called with mu held.
func (b *Batch) evict(spare bool) {
	jobs := b.byAge(true)
	if len(jobs) == 0 || spare && len(jobs) == 1 {
		return
	}
	t := jobs[len(jobs)-1]
	t.evicted = true
	if t.proc != nil { // else nowRuns does it
		t.proc.Stop()
	}
}
