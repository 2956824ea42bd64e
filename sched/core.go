package sched

import "time"

// core is what all policies have in common: which jobs there are and in which
// state, how many places are taken, and the order of steps at an event. What differs
// is asked of rules.
//
// Invariants, between two calls of decide:
//
//   - running is the number of entries in state onPlace, begun that of entries
//     with the flag begun.
//   - A ready entry is in the ready queue, and no other one is; with a policy that
//     preempts, victims are those onPlace that may be paused.
//   - No place is free while an entry is ready that may run: one that has begun, or
//     any one while begun is below degree.
//   - running exceeds places only after a Resize to fewer, or by jobs that must not be
//     paused and woke up.
type core struct {
	places, degree int
	running, begun int
	fixed          bool // the rules could preempt, and are not to
	jobs           map[Job]*entry
	victims        rankHeap // the first is the next to lose its place; unused without preemption
	seq            uint64
	cost           time.Duration // of a pause and resume, a moving mean
	out, placed    []Decision
	expired        []*entry // whose slices are over at this moment
}

// state is where an entry is.
type state uint8

const (
	ready   state = iota // in the queue
	onPlace              // running
	blocked
)

// entry is a job as a policy sees it.
type entry struct {
	id              Job
	state           state
	begun, noPause  bool
	late            bool // it waited too long, and keeps its place now
	expired         bool // its slice is over: ready, but not paused yet
	expect, used    time.Duration
	priority, level int
	epoch           int           // MLFQ: the boost that level counts from
	atLevel         time.Duration // MLFQ: CPU time used at this level
	readyAt         time.Duration // since when it is ready
	waited          time.Duration // it was ready before that, in all
	placedAt        time.Duration // since when it is on its place
	order           uint64        // of arrivals

	node              // its place in the order of the policy
	patience   node   // and in that of those who lose patience
	prev, next *entry // in a list
}

// rules are what makes a policy. All but charge and slice take O(log n).
type rules interface {
	// enter puts a ready entry into the queue, leave takes it out.
	enter(now time.Duration, e *entry)
	leave(e *entry)
	// next is the ready entry that runs next, nil if there is none; with begunOnly
	// it is one that has begun.
	next(now time.Duration, begunOnly bool) *entry
	// slice is for how long an entry may run now.
	slice(e *entry) time.Duration
	// charge is told what a job has used since the last time.
	charge(now time.Duration, e *entry, used time.Duration)
}

// preemptive rules give a ready entry the place of a running one.
type preemptive interface {
	rules
	// placed gives an entry its rank among the victims: the highest goes first.
	placed(now time.Duration, e *entry)
	// beats reports whether the ready entry e takes the place of v.
	beats(now time.Duration, e, v *entry) bool
}

// decide takes in what has happened at one moment. All of it is noted first, so that
// of jobs which come together the right one is first. Pauses are decided before what
// runs instead.
func (c *core) decide(now time.Duration, events []Event, r rules) []Decision {
	c.out, c.placed, c.expired = c.out[:0], c.placed[:0], c.expired[:0]
	p, _ := r.(preemptive)
	if c.fixed {
		p = nil
	}
	for i := range events {
		c.note(now, &events[i], r, p)
	}
	for c.running < c.places {
		e := r.next(now, c.full())
		if e == nil {
			break
		}
		c.place(now, e, r, p)
	}
	for _, e := range c.expired {
		if e.expired {
			e.expired = false
			c.out = append(c.out, Decision{Action: Pause, Job: e.id})
		}
	}
	c.out = append(c.out, c.placed...)
	if p != nil {
		c.preempt(now, r, p)
	}
	return c.out
}

// full reports whether nothing more may begin.
func (c *core) full() bool { return c.degree > 0 && c.begun >= c.degree }

// note books what happened.
func (c *core) note(now time.Duration, ev *Event, r rules, p preemptive) {
	switch ev.Kind {
	case Resize:
		c.places, c.degree = ev.Places, ev.Degree
		return
	case Arrive:
		c.arrive(now, ev, r)
		return
	case Alarm:
		if b, ok := r.(interface{ boost(time.Duration) }); ok {
			b.boost(now)
		}
		return
	}
	e := c.jobs[ev.Job]
	if e == nil {
		return // an event of a job that has ended meanwhile
	}
	if ev.CPU > e.used {
		c.charge(now, e, ev.CPU-e.used, r)
	}
	switch ev.Kind {
	case Finish:
		c.remove(e, r, p)
		if e.begun {
			c.begun--
		}
		if l, ok := r.(interface{ ended(*entry) }); ok {
			l.ended(e)
		}
		delete(c.jobs, e.id)
		e.expired = false
	case Block:
		c.remove(e, r, p)
		e.state, e.expired = blocked, false
	case Wake:
		switch {
		case e.state != blocked:
		case e.noPause:
			c.place(now, e, r, p)
		default:
			c.enter(now, e, r)
		}
	case Slice:
		c.sliceUp(now, e, r, p)
	case Paused:
		if c.cost == 0 {
			c.cost = ev.Cost
		} else if ev.Cost > 0 {
			c.cost += (ev.Cost - c.cost) / 8
		}
	}
}

func (c *core) arrive(now time.Duration, ev *Event, r rules) {
	if c.jobs == nil {
		c.jobs = make(map[Job]*entry)
	}
	e := &entry{id: ev.Job, expect: ev.Expect, priority: ev.Priority, noPause: ev.NoPause}
	e.node, e.patience = node{e: e, index: -1}, node{e: e, index: -1}
	c.seq++
	e.order = c.seq
	c.jobs[e.id] = e
	c.enter(now, e, r)
}

// charge books CPU time. A ready entry may have to change its place in the queue.
func (c *core) charge(now time.Duration, e *entry, used time.Duration, r rules) {
	queued := e.state == ready
	if queued {
		r.leave(e)
	}
	e.used += used
	r.charge(now, e, used)
	if queued {
		r.enter(now, e)
	}
}

// enter makes an entry ready, behind its equals.
func (c *core) enter(now time.Duration, e *entry, r rules) {
	c.seq++
	e.state, e.seq, e.readyAt, e.late = ready, c.seq, now, false
	r.enter(now, e)
}

// place gives an entry a place.
func (c *core) place(now time.Duration, e *entry, r rules, p preemptive) {
	if e.state == ready {
		r.leave(e)
	}
	d := Decision{Action: Resume, Job: e.id}
	if !e.begun {
		e.begun = true
		c.begun++
		d.Action = Run
	}
	d.Slice = r.slice(e)
	c.placed = append(c.placed, d)
	c.running++
	if e.state == ready {
		e.waited += now - e.readyAt
	}
	e.state, e.placedAt, e.expired = onPlace, now, false
	if p != nil && !e.noPause && !e.late {
		p.placed(now, e)
		c.victims.push(&e.node)
	}
}

// remove takes an entry from where it is.
func (c *core) remove(e *entry, r rules, p preemptive) {
	switch e.state {
	case ready:
		r.leave(e)
	case onPlace:
		c.running--
		if p != nil && e.index >= 0 {
			c.victims.remove(&e.node)
		}
	}
}

// sliceUp puts a running entry whose slice is over behind its equals. If that is the
// front it runs on.
func (c *core) sliceUp(now time.Duration, e *entry, r rules, p preemptive) {
	if e.state != onPlace {
		return
	}
	c.remove(e, r, p)
	c.enter(now, e, r)
	if e.noPause {
		c.place(now, e, r, p)
		return
	}
	e.expired = true
	c.expired = append(c.expired, e)
}

// preempt gives places of victims to ready entries that beat them, and takes back
// what is more than there are places.
func (c *core) preempt(now time.Duration, r rules, p preemptive) {
	for c.victims.len() > 0 {
		v := c.victims.first()
		over := c.running > c.places
		if !over {
			e := r.next(now, c.full())
			if e == nil || !p.beats(now, e, v) {
				return
			}
		}
		c.remove(v, r, p)
		c.out, c.placed = append(c.out, Decision{Action: Pause, Job: v.id}), c.placed[:0]
		if !over { // before v is back in the queue
			c.place(now, r.next(now, c.full()), r, p)
		}
		c.out = append(c.out, c.placed...)
		c.enter(now, v, r)
	}
}

// What bounds a slice where it is not configured.
const (
	leastSlice = 100 * time.Millisecond
	mostSlice  = time.Second
	sliceCosts = 50 // times the cost of a pause and resume
)

// defaultSlice is long enough that pausing costs at most 2 % of it, but not longer than
// mostSlice.
func (c *core) defaultSlice() time.Duration {
	return min(max(leastSlice, sliceCosts*c.cost), mostSlice)
}
