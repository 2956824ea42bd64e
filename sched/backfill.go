package sched

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Demand is what a job takes of the machine from its start to its end.
type Demand struct {
	Places int     // of Event.Places; 0: one
	CPUs   float64 // of Room.CPUs, in thousandths
	Memory int64   // of Room.Memory, in bytes
}

// Backfill is for jobs that take different amounts of places, CPUs and memory (Event.Need). They
// begin in the order of their priority and, of equal ones, of their arrival, as many at once as
// there is room for. While the first of those that wait, the head, does not fit, others that do fit
// are moved ahead of it, but so that they never delay it:
//
//   - By what is expected (Event.Length) it is known when enough of the running jobs will have ended
//     for the head. A job that will have ended by then is moved ahead, and so is one that fits
//     beside the head. A running job of unknown length, or that has run for longer, may end at any
//     moment. This is EASY backfilling (Lifka, The ANL/IBM SP Scheduling System, 1995).
//   - If that was wrong, and the head would fit but for jobs that were moved ahead of it, those are
//     paused, the last ones first, until it has begun. Memory is not given back by a pause: a job is
//     moved ahead only if its memory and the head's fit beside all that run. A paused job goes on
//     as soon as there is room for it that the head can't use.
//
// A job that must not be paused overtakes nobody. One that wants more than there is runs alone. It is
// the head alone that is never delayed; what is behind it may be, by jobs whose memory was free
// when they were moved ahead, or that count against the degree while they are paused. Where no
// memory is asked for, nothing bounds the degree, all have one priority and may be paused, no job
// ends later than if none were moved ahead, however wrong the expectations are. Nothing starves: a
// job begins at the latest when all that are before it, and those that were moved ahead, have
// ended. The zero value has no places until a Resize.
type Backfill struct {
	places, degree int
	room           Demand
	free           vector // of what is there, without what running jobs take
	begun          int
	seq            uint64
	jobs           map[Job]*packed
	waiting        []*packed // in their order
	running        []*packed // in no order
	held           []*packed // begun and paused; they are waiting as well
	strict         bool      // nothing is moved ahead; tests
	out, starts    []Decision
}

// backfillDepth is how many waiting jobs are looked at for one that fits.
const backfillDepth = 256

// vector is a Demand in whole numbers, so that what was taken is given back exactly.
type vector [3]int64

const (
	places = iota
	milliCPUs
	memory
)

func (v vector) plus(w vector) vector  { return vector{v[0] + w[0], v[1] + w[1], v[2] + w[2]} }
func (v vector) minus(w vector) vector { return vector{v[0] - w[0], v[1] - w[1], v[2] - w[2]} }

// within reports whether v fits into w.
func (v vector) within(w vector) bool { return v[0] <= w[0] && v[1] <= w[1] && v[2] <= w[2] }

// packed is a job as Backfill sees it.
type packed struct {
	id       Job
	seq      uint64
	priority int
	need     vector
	length   time.Duration // 0: unknown
	noPause  bool
	begun    bool
	ahead    bool // it was moved ahead of others
	paused   bool
	blocked  bool          // it waits for something, and keeps what it takes
	since    time.Duration // when it began, later by the time that it was paused
	pausedAt time.Duration
}

// end is when a running job is expected to end, now if that is not known.
func (e *packed) end(now time.Duration) time.Duration {
	if e.length == 0 {
		return now
	}
	if e.length > math.MaxInt64-e.since {
		return math.MaxInt64
	}
	return max(now, e.since+e.length)
}

// String implements Policy.
func (b *Backfill) String() string { return "backfill" }

func (b *Backfill) chooses() {}

// Decide implements Policy.
func (b *Backfill) Decide(now time.Duration, events ...Event) []Decision {
	b.out, b.starts = b.out[:0], b.starts[:0]
	for i := range events {
		b.note(&events[i])
	}
	if b.places == 0 {
		return nil // what wants more than there is would want nothing
	}
	b.recount()
	for len(b.waiting) > 0 && (b.startHead(now) || b.makeRoom(now)) {
	}
	if !b.strict {
		b.backfill(now)
	}
	return append(b.out, b.starts...)
}

// note books what happened.
func (b *Backfill) note(ev *Event) {
	switch ev.Kind {
	case Resize:
		b.places, b.degree, b.room = ev.Places, ev.Degree, ev.Room
		return
	case Arrive:
		b.arrive(ev)
		return
	}
	e := b.jobs[ev.Job]
	if e == nil {
		return // it has ended meanwhile
	}
	switch ev.Kind {
	case Finish:
		b.remove(e)
	case Block:
		e.blocked = true
	case Wake:
		e.blocked = false
		if e.begun && !e.paused {
			b.starts = append(b.starts, Decision{Action: Resume, Job: e.id})
		}
	}
}

func (b *Backfill) arrive(ev *Event) {
	if b.jobs == nil {
		b.jobs = make(map[Job]*packed)
	}
	b.seq++
	e := &packed{id: ev.Job, seq: b.seq, priority: ev.Priority, length: ev.Length, noPause: ev.NoPause}
	e.need = vector{int64(max(ev.Need.Places, 1)), int64(math.Round(1000 * ev.Need.CPUs)), ev.Need.Memory}
	b.jobs[e.id] = e
	b.enqueue(e)
}

// order is that in which jobs begin.
func order(x, y *packed) int {
	return cmp.Or(cmp.Compare(y.priority, x.priority), cmp.Compare(x.seq, y.seq))
}

func (b *Backfill) enqueue(e *packed) {
	i, _ := slices.BinarySearchFunc(b.waiting, e, order)
	b.waiting = slices.Insert(b.waiting, i, e)
}

// dequeue takes out a waiting job, which is near the front.
func (b *Backfill) dequeue(i int) {
	copy(b.waiting[1:i+1], b.waiting[:i])
	b.waiting[0] = nil
	b.waiting = b.waiting[1:]
}

// remove forgets a job that has ended.
func (b *Backfill) remove(e *packed) {
	delete(b.jobs, e.id)
	if e.begun {
		b.begun--
	}
	if i := slices.Index(b.running, e); i >= 0 {
		b.running = slices.Delete(b.running, i, i+1)
		return
	}
	if e.paused {
		b.letGo(e)
	}
	if i, ok := slices.BinarySearchFunc(b.waiting, e, order); ok {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
}

// all is the size of the machine.
func (b *Backfill) all() vector {
	v := vector{int64(b.places), math.MaxInt64 / 4, math.MaxInt64 / 4}
	if b.room.CPUs > 0 {
		v[milliCPUs] = int64(math.Round(1000 * b.room.CPUs))
	}
	if b.room.Memory > 0 {
		v[memory] = b.room.Memory
	}
	return v
}

// recount finds what is free. What runs takes no more than there is, so that a job that wants more
// than there is, now that there are fewer places, gives back what it took.
func (b *Backfill) recount() {
	b.free = b.all()
	for _, e := range b.running {
		b.free = b.free.minus(b.takes(e))
	}
	for _, e := range b.held {
		b.free[memory] -= b.takes(e)[memory]
	}
}

// takes is what a job takes while it runs: no more than there is.
func (b *Backfill) takes(e *packed) vector {
	all := b.all()
	return vector{min(e.need[places], all[places]), min(e.need[milliCPUs], all[milliCPUs]), min(e.need[memory], all[memory])}
}

// wants is what must be free for a waiting job to begin or go on.
func (b *Backfill) wants(e *packed) vector {
	v := b.takes(e)
	if e.paused {
		v[memory] = 0 // it has it
	}
	return v
}

// returns is what a pause gives back.
func (b *Backfill) returns(e *packed) vector {
	v := b.takes(e)
	v[memory] = 0
	return v
}

// letGo takes a job from those that are paused.
func (b *Backfill) letGo(e *packed) {
	b.held = slices.DeleteFunc(b.held, func(o *packed) bool { return o == e })
}

// startHead starts the first waiting job if it fits.
func (b *Backfill) startHead(now time.Duration) bool {
	head := b.waiting[0]
	if !b.wants(head).within(b.free) || !head.begun && b.degree > 0 && b.begun >= b.degree {
		return false
	}
	b.start(now, 0)
	return true
}

// start starts a waiting job, or lets it go on.
func (b *Backfill) start(now time.Duration, i int) {
	e := b.waiting[i]
	b.dequeue(i)
	b.free = b.free.minus(b.wants(e))
	e.ahead = i > 0
	d := Decision{Action: Resume, Job: e.id}
	if !e.begun {
		e.begun, e.since, d.Action = true, now, Run
		b.begun++
	} else {
		e.since += now - e.pausedAt
		e.paused = false
		b.letGo(e)
	}
	b.running = append(b.running, e)
	if !e.blocked { // else when it wakes up
		b.starts = append(b.starts, d)
	}
}

// makeRoom pauses jobs that were moved ahead of the head, if it fits then.
func (b *Backfill) makeRoom(now time.Duration) bool {
	head := b.waiting[0]
	if !head.begun && b.degree > 0 && b.begun >= b.degree {
		return false
	}
	need := b.wants(head)
	var ahead []*packed
	for _, e := range b.running {
		if e.ahead && order(head, e) < 0 {
			ahead = append(ahead, e)
		}
	}
	slices.SortFunc(ahead, func(x, y *packed) int { return order(y, x) })
	free := b.free
	n := 0
	for ; n < len(ahead) && !need.within(free); n++ {
		free = free.plus(b.returns(ahead[n]))
	}
	if !need.within(free) {
		return false
	}
	for _, e := range ahead[:n] {
		b.pause(now, e)
	}
	return n > 0
}

// pause takes a running job from its place. One that is blocked, or that woke up at this moment,
// just does not go on.
func (b *Backfill) pause(now time.Duration, e *packed) {
	b.free = b.free.plus(b.returns(e))
	e.paused, e.pausedAt = true, now
	b.running = slices.DeleteFunc(b.running, func(o *packed) bool { return o == e })
	b.held = append(b.held, e)
	b.enqueue(e)
	n := len(b.starts)
	b.starts = slices.DeleteFunc(b.starts, func(d Decision) bool { return d.Job == e.id })
	if !e.blocked && len(b.starts) == n {
		b.out = append(b.out, Decision{Action: Pause, Job: e.id})
	}
}

// backfill moves jobs ahead of the head, which does not fit.
func (b *Backfill) backfill(now time.Duration) {
	if len(b.waiting) < 2 {
		return
	}
	head := b.wants(b.waiting[0])
	begins, beside := b.reservation(now, head)
	for i := 1; i < len(b.waiting) && i <= backfillDepth; i++ {
		e := b.waiting[i]
		need := b.wants(e)
		switch {
		case e.noPause, !need.within(b.free):
			continue
		case e.begun: // it is paused again as soon as the head fits without it, which may wait for its memory
		case b.degree > 0 && b.begun+1 >= b.degree: // one is kept for the head
			continue
		case need[memory] > 0 && need[memory]+head[memory] > b.free[memory]:
			continue
		case e.length > 0 && e.length <= begins-now:
		case need.within(beside):
			beside = beside.minus(need)
		default:
			continue
		}
		b.start(now, i)
	}
}

// reservation is when the head is expected to fit, and what will then be left beside it.
func (b *Backfill) reservation(now time.Duration, head vector) (begins time.Duration, beside vector) {
	ends := slices.Clone(b.running)
	slices.SortFunc(ends, func(x, y *packed) int {
		return cmp.Or(cmp.Compare(x.end(now), y.end(now)), order(x, y))
	})
	free := b.free
	begins = now
	for _, e := range ends {
		if head.within(free) {
			break
		}
		free = free.plus(b.takes(e))
		begins = e.end(now)
	}
	return begins, free.minus(head)
}
