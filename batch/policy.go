package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/brood-go/brood/sched"
)

// How the policy's picture of the jobs and the processes are kept the same.
//
// # Ownership
//
// The policy is told and obeyed by one goroutine at a time, that which holds
// Batch.policy. All that a process does because of the policy (start, pause, resume),
// or because of Pause and Resume of the whole batch, happens while it is held, so
// that no two can act on one process in the wrong order. The fields of a task that
// say what the policy decided are written with both locks held, and read with either.
//
// # Invariants, whenever policy is free
//
//   - begun tasks are those that the policy has let run and that have not ended: they
//     count against the degree. One of them may have no process yet: no slot has
//     taken it so far, or it waits for memory.
//   - A begun task is onPlace, blocked, or paused. One that waits for memory is blocked, also
//     when there is enough by now (granted) and it only waits for a place.
//   - A paused task has a process that stands still, or its stopping is under way:
//     who starts the process looks at the flag after it has made the process known
//     (nowRuns), and a pause that did not come about in time is tried again (watch).
//   - While the batch is held (Ctrl-Z) every process stands still; which of them go
//     on afterwards is in the flags, and decisions change only those.
//
// # What the kernel does not say
//
// Nobody is told when a process tree begins to wait for something, or has used up a
// slice. So a watcher looks at the trees that are not paused, every 10 ms at most
// (watch.go). Between two looks the policy's picture is out of date by that much.
//
// # Death
//
// A job may end at any moment. Its slot reports Finish; what was decided for it
// meanwhile finds no task, or a process that says that it has ended, and is dropped.
// When this process is killed, the warden kills all trees, those that stand still too.

// wanted are a task's fields that the policy decides.
type wanted struct {
	onPlace bool
	blocked bool      // it waits for something, as was seen
	paused  bool      // it is to stand still
	still   bool      // and does
	short   bool      // it was let run and has no process: the machine lacks what it takes, or it is not due
	granted bool      // now the machine has it: it begins once the policy has a place for it
	due     time.Time // nextStart as it was when it was granted

	suspended bool // it is to stand still, whatever the policy says: memory is short
	evicted   bool // it is being ended, to be run again later

	retryAt          time.Time     // of a pause that did not come about
	retry            time.Duration // since the last try
	slice, sliceFrom time.Duration // of CPU time; 0: unlimited
	level            int
	pauses           int
}

// report tells the policy what happened and does what it decides.
func (b *Batch) report(events ...sched.Event) {
	b.policy.Lock()
	defer b.policy.Unlock()
	b.tell(events)
}

// tell is report with policy held. What follows from obeying (a job stands still, there is
// no memory for another one) is told next, until nothing follows.
func (b *Batch) tell(events []sched.Event) {
	for len(events) > 0 && !b.closed {
		now := time.Since(b.begin)
		decisions := b.o.Policy.Decide(now, events...)
		if b.o.Observe != nil {
			b.o.Observe(now, events, decisions)
		}
		b.noteLevels(events)
		var follow []sched.Event
		for _, d := range decisions {
			follow = b.obey(d, follow)
		}
		events = b.holdBack(events, follow)
	}
}

// noteLevels keeps the levels of jobs for the trace.
func (b *Batch) noteLevels(events []sched.Event) {
	l, ok := b.o.Policy.(sched.Leveler)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		if e.Kind == sched.Alarm {
			for t := range b.begun {
				b.noteLevel(t, l)
			}
		} else if t := b.tasks[e.Job]; t != nil {
			b.noteLevel(t, l)
		}
	}
}

func (b *Batch) noteLevel(t *task, l sched.Leveler) {
	was := t.level
	t.level = l.Level(t.id)
	switch {
	case !t.onPlace || t.proc == nil || t.level == was:
	case t.level > was:
		b.trace(t, sched.Running, sched.MovedDown)
	default:
		b.trace(t, sched.Running, sched.Boosted)
	}
}

// obey does what the policy decided, and adds what follows. A pause is over when the
// process tree stands still, so that what is decided next finds the CPU free. Called
// with policy held.
func (b *Batch) obey(d sched.Decision, follow []sched.Event) []sched.Event {
	if d.Action == sched.SetAlarm {
		b.setAlarm(d.At)
		return follow
	}
	b.mu.Lock()
	t := b.tasks[d.Job]
	b.mu.Unlock()
	switch {
	case t == nil: // it has ended since
	case d.Action == sched.Pause:
		follow = b.pause(t, sched.Preempted, follow)
	case !b.begun[t]:
		follow = b.admit(t, d, follow)
	default:
		follow = b.place(t, d, follow)
	}
	return follow
}

// withdraw takes back what was let run and no slot has taken, once no more jobs are
// started: the places are for those that have begun and stand still. What the policy lets
// run instead is taken back by admit.
func (b *Batch) withdraw() {
	b.policy.Lock()
	defer b.policy.Unlock()
	var events []sched.Event
	b.mu.Lock()
	for _, t := range append(b.runnable, b.short...) {
		events = append(events, b.takeBack(t))
	}
	b.runnable, b.short = nil, nil
	b.mu.Unlock()
	b.tell(events)
}

// takeBack is for a task that was let run and will not. Called with policy and mu held.
func (b *Batch) takeBack(t *task) sched.Event {
	delete(b.begun, t)
	t.wanted = wanted{}
	now := time.Now()
	t.waits.until(now, b)
	t.waits.arrive(now, b)
	return sched.Event{Kind: sched.Finish, Job: t.id}
}

// again lets tasks that were let run wait anew, the last ones first, until no more have begun
// than there are slots: one of those could not be opened. For the policy they are new jobs, behind
// those that wait. Called with policy and mu held.
func (b *Batch) again(events []sched.Event) []sched.Event {
	for len(b.begun) > b.maxSlots {
		list := &b.runnable
		if len(*list) == 0 {
			list = &b.short
		}
		var t *task
		if last := len(*list) - 1; last >= 0 {
			t, *list = (*list)[last], (*list)[:last]
		} else if t = b.grantedOne(); t == nil {
			break // the others have slots
		}
		events = append(events, b.takeBack(t))
		delete(b.tasks, t.id)
		b.nextID++
		t.id = b.nextID
		b.tasks[t.id] = t
		events = append(events, b.arrival(t))
	}
	b.setGates(time.Now())
	return events
}

// grantedOne is a task that has memory and no place yet, nil if there is none.
func (b *Batch) grantedOne() *task {
	for t := range b.begun {
		if t.granted {
			return t
		}
	}
	return nil
}

// setAlarm wakes the policy at a time.
func (b *Batch) setAlarm(at time.Duration) {
	if b.alarm != nil {
		b.alarm.Stop()
	}
	if b.closed {
		return
	}
	b.alarm = time.AfterFunc(at-time.Since(b.begin), func() { b.report(sched.Event{Kind: sched.Alarm}) })
}

// admit lets a task begin, or wait for memory. Called with policy held.
func (b *Batch) admit(t *task, d sched.Decision, follow []sched.Event) []sched.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.level > running {
		return append(follow, sched.Event{Kind: sched.Finish, Job: t.id})
	}
	now := time.Now()
	t.waits.until(now, b)
	b.begun[t] = true
	if b.watching {
		why := b.lacking
		if len(b.short) == 0 {
			why = b.lacks(t, now)
		}
		if why != "" {
			return b.putOff(t, why, now, follow)
		}
	}
	b.setGates(now)
	b.run(t, d)
	return follow
}

// putOff lets a task wait until the machine has what it takes, or until it is due. Called with
// policy and mu held.
func (b *Batch) putOff(t *task, why Wait, now time.Time, follow []sched.Event) []sched.Event {
	b.short = append(b.short, t)
	if len(b.short) == 1 {
		b.lacking = why
	}
	b.setGates(now)
	t.short, t.granted, t.onPlace, t.blocked = true, false, false, true
	t.waits.begin(now, b.lacking)
	b.ringWatch()
	return append(follow, sched.Event{Kind: sched.Block, Job: t.id}, b.size())
}

// run gives a task to the slots. Called with policy and mu held.
func (b *Batch) run(t *task, d sched.Decision) {
	if b.o.Delay > 0 && !b.watching {
		t.waits.begin(time.Now(), WaitDelay) // until next
	}
	if b.watching {
		b.nextStart = time.Now().Add(b.o.Delay)
	}
	t.onPlace, t.slice, t.sliceFrom = true, d.Slice, 0
	b.runnable = append(b.runnable, t)
	b.wakeSlot()
}

// place lets a task that has begun run on. Called with policy held.
func (b *Batch) place(t *task, d sched.Decision, follow []sched.Event) []sched.Event {
	b.mu.Lock()
	now := time.Now()
	t.waits.until(now, b)
	if t.short {
		switch {
		case b.level > running:
			follow = append(follow, b.takeBack(t))
		case !b.due(now) && b.nextStart != t.due: // another one began since it was granted
			follow = b.putOff(t, WaitDelay, now, follow)
		default:
			t.short, t.granted, t.blocked = false, false, false
			b.run(t, d)
		}
		b.mu.Unlock()
		return follow
	}
	if l, ok := b.o.Policy.(sched.Leveler); ok {
		b.noteLevel(t, l)
	}
	was := t.wanted
	t.onPlace, t.blocked, t.paused, t.still = true, false, false, t.suspended && was.still
	t.slice, t.sliceFrom = d.Slice, t.look.cpu
	proc, held := t.proc, b.held
	if was.paused {
		t.look.anew()
	}
	if proc != nil && !was.onPlace {
		b.trace(t, sched.Running, sched.Dispatched)
	}
	b.mu.Unlock()
	if proc != nil && was.paused && !held && !was.suspended {
		proc.Resume()
	}
	b.ringWatch() // it may have looked while nothing moved
	if was.suspended {
		b.mu.Lock()
		defer b.mu.Unlock()
		t.waits.begin(now, WaitMemory)
		follow = b.giveUpPlace(t, follow)
	}
	return follow
}

// pause takes a task from its place. Called with policy held.
func (b *Batch) pause(t *task, why sched.Cause, follow []sched.Event) []sched.Event {
	b.mu.Lock()
	if t.onPlace && t.slice > 0 && t.look.cpu-t.sliceFrom >= t.slice {
		why = sched.SliceUsedUp
	}
	t.onPlace, t.paused, t.still = false, true, false
	t.waits.until(time.Now(), b) // for memory, if it is suspended
	t.waits.begin(time.Now(), WaitPolicy)
	t.pauses++
	proc, held := t.proc, b.held
	if proc != nil && held { // it should stand still, as everything does: the watcher makes sure afterwards
		b.trace(t, sched.Held, why)
	}
	b.mu.Unlock()
	if proc == nil || held {
		return follow // without a process: nowRuns looks at the flag
	}
	cost, cpu := b.stopStill(t, proc)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trace(t, sched.Held, why)
	return append(follow, sched.Event{Kind: sched.Paused, Job: t.id, CPU: cpu, Cost: cost})
}

// stopStill pauses a process and reads the CPU time that it has used. The cost is that of
// pausing and resuming it, which nobody waits for and is taken to be the same; it is 0 if
// the tree runs on, to be paused by a later look, or has ended. Called with policy held.
func (b *Batch) stopStill(t *task, p Running) (cost, cpu time.Duration) {
	begin := time.Now()
	err := hold(p, true)
	took := time.Since(begin)
	a, lerr := p.Look(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.still = err == nil; t.still {
		t.retry, cost = 0, 2*took
	} else {
		t.retry = min(max(2*t.retry, retryPause), retryMost)
		t.retryAt = time.Now().Add(t.retry)
	}
	if lerr == nil {
		t.look.cpu, t.look.memory = max(t.look.cpu, a.CPU), a.Memory
		t.look.most = max(t.look.most, a.Memory)
	}
	return cost, t.look.cpu
}

// holdBack pauses those that woke up and were given no place, and adds what follows. Called
// with policy held.
func (b *Batch) holdBack(events, follow []sched.Event) []sched.Event {
	for _, e := range events {
		if e.Kind != sched.Wake {
			continue
		}
		b.mu.Lock()
		t := b.tasks[e.Job]
		b.mu.Unlock()
		if t == nil || t.onPlace || t.short || t.paused {
			continue
		}
		b.mu.Lock()
		t.blocked = false
		b.mu.Unlock()
		follow = b.pause(t, sched.WaitOver, follow)
	}
	return follow
}

// hold pauses or resumes. An error means that the tree runs on, or has ended.
func hold(p Running, pause bool) error {
	if pause {
		return p.Pause(context.Background())
	}
	return p.Resume()
}

// size is the event that says how much may run. While a job waits for memory nothing
// more may begin: what begins later would take the memory first. Called with mu held.
func (b *Batch) size() sched.Event {
	degree := b.maxSlots
	if len(b.short) > 0 {
		degree = 1
	}
	return sched.Event{Kind: sched.Resize, Places: min(b.o.Slots, b.maxSlots), Degree: degree, Room: b.o.Room}
}

// open lets the policy begin, if it was held back to see more of the input.
func (b *Batch) open() {
	b.policy.Lock()
	defer b.policy.Unlock()
	b.mu.Lock()
	again := b.opened
	b.opened = true
	e := b.size()
	b.mu.Unlock()
	if !again {
		b.tell([]sched.Event{e})
	}
}

// lookAhead is how long a policy that chooses waits at the start for the input: that of a
// file is there by then, and one that comes slowly is run as it comes.
const lookAhead = 100 * time.Millisecond

// begins tells the policy what there is to run on: at once, or, if it chooses among the
// jobs that wait, when the reader has filled the window or the input has ended.
func (b *Batch) begins() {
	if _, ok := b.o.Policy.(sched.Chooser); !ok {
		b.open()
		return
	}
	b.openLater = time.AfterFunc(lookAhead, b.open)
}

// needsWatcher reports whether the watcher must run.
func (o *Options) needsWatcher() bool {
	return o.Degree > o.Slots || o.MemFree+o.MemSuspend+o.MemKill > 0 || o.Load+o.DiskBusy > 0 || o.NoSwap || o.Limit != ""
}

// SetSlots changes how many jobs run at once, Options.Slots. If they are fewer, no other is started
// until as many have ended; those that run go on, but for a policy that pauses jobs: it may pause
// some. Any goroutine may call it at any time; after the end it has no effect.
func (b *Batch) SetSlots(n int) error {
	if n < 1 || n > Unlimited {
		return fmt.Errorf("batch: %d slots: use 1 to %d", n, Unlimited)
	}
	if b.o.Terminal != nil {
		return errors.New("batch: jobs have the terminal one at a time")
	}
	b.policy.Lock()
	defer b.policy.Unlock()
	b.mu.Lock()
	b.o.Slots = n
	switch _, packs := b.o.Policy.(*sched.Backfill); {
	case packs: // what it has paused needs slots beside those
		b.maxSlots = max(b.o.Degree, min(n+pausedMost, Unlimited))
	case b.watching:
		b.maxSlots = max(b.o.Degree, n)
	default:
		b.maxSlots = n
	}
	if b.noSlot != nil { // there can't be more than there are
		b.maxSlots = min(b.maxSlots, b.slots)
	}
	opened := b.opened
	b.setGates(time.Now())
	e := b.size()
	b.mu.Unlock()
	if opened {
		b.tell([]sched.Event{e})
	}
	return nil
}

// Slots is how many jobs run at once at most.
func (b *Batch) Slots() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.o.Slots
}

// Pause stops all running jobs, and returns when they stand still; until Resume
// no job is started.
func (b *Batch) Pause() { b.holdAll(true) }

// Resume ends a Pause.
func (b *Batch) Resume() { b.holdAll(false) }

func (b *Batch) holdAll(pause bool) {
	b.policy.Lock()
	defer b.policy.Unlock()
	b.mu.Lock()
	b.held = pause
	if !pause {
		b.work.Broadcast()
	}
	for b.held && b.starting > 0 { // a moment: until they are forked
		b.over.Wait()
	}
	var procs []Running
	for t := range b.begun {
		t.look.anew()
		if t.proc != nil && (!t.paused && !t.suspended || pause && !t.still) { // what else was paused stays so
			procs = append(procs, t.proc)
		}
	}
	b.mu.Unlock()
	var all sync.WaitGroup
	for _, p := range procs {
		all.Go(func() {
			for end := time.Now().Add(pauseFor); errors.Is(hold(p, pause), ErrNotPaused) && time.Now().Before(end); {
			}
		})
	}
	all.Wait()
}

// pauseFor bounds how long Pause tries: on a busy machine a tree may not stand
// still within the time that one try gives it.
const pauseFor = 2 * time.Second
