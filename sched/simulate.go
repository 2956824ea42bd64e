package sched

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Machine is what a workload is simulated on.
type Machine struct {
	CPUs   int           // 0: 1
	Degree int           // how many jobs may be in memory at once; 0: any number
	Switch time.Duration // what it costs to put another job on a CPU
	Room   Demand        // what jobs share beside the CPUs, which are the places; 0: any amount
	// Expect says what the policy is told of a job's length.
	Expect Expectations
	// NoTrace leaves the trace out: of a million jobs it is large.
	NoTrace bool
}

// Expectations say what a policy is told of a job's CPU time when it arrives.
type Expectations int

// What a policy can be told.
const (
	Exact   Expectations = iota // its CPU time
	Given                       // the field Expect of Work
	Nothing                     // nothing
)

// Simulate runs a workload under a policy, which must be new, on a simulated machine.
// It is a discrete event simulation, exact and repeatable, in O(log n) for each event.
// Job number i, from 1, is w[i-1].
//
// Of what happens at the same moment, arrivals come first, then waits that are over,
// then bursts that end, then slices that are used up: a job that comes when another
// one's slice ends is in front of it, as in most textbooks. A policy that decides what
// can't be done is an error. A job that must not be paused runs on when its wait is over,
// also beside as many others as there are CPUs; they are not slowed down by it.
func Simulate(w Workload, p Policy, m Machine) (*Result, error) {
	if err := w.validate(); err != nil {
		return nil, err
	}
	if m.CPUs < 0 || m.Degree < 0 || m.Switch < 0 {
		return nil, errors.New("sched: a Machine's numbers can't be negative")
	}
	if m.CPUs == 0 {
		m.CPUs = 1
	}
	s := &simulation{w: w, m: m, policy: p, order: w.byArrival(), jobs: make([]simulated, len(w)), cpus: make([]cpu, m.CPUs)}
	s.leveler, _ = p.(Leveler)
	s.result = &Result{Policy: p.String(), Machine: m, Jobs: make([]Outcome, len(w))}
	for i := m.CPUs; i > 0; i-- {
		s.free = append(s.free, i)
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	s.result.Summary = Summarise(s.result.Jobs, m.CPUs)
	s.result.Summary.Switches = s.switches
	return s.result, nil
}

// Result is what came of a simulation.
type Result struct {
	Policy  string
	Machine Machine
	Jobs    []Outcome // in the order of the workload
	Trace   []Change
	Summary Summary
}

// simulation is a run of Simulate.
type simulation struct {
	w       Workload
	m       Machine
	policy  Policy
	leveler Leveler
	order   []int // jobs by arrival
	arrived int   // of order
	jobs    []simulated
	cpus    []cpu
	free    []int // numbers of CPUs
	events  eventQueue
	reports []Event // that the policy is still to be told
	told    []Event // that it was told last
	pushed  uint64
	now     time.Duration
	alarm   uint64 // the number of the event that counts
	done    int

	switches int
	result   *Result
}

// simulated is a job of a simulation.
type simulated struct {
	state   State
	begun   bool
	burst   int           // the index of the present one
	left    time.Duration // of it
	used    time.Duration // CPU time
	place   int
	startAt time.Duration // from when it uses the CPU, after the switch
	since   time.Duration // in this state
	level   int
}

// cpu is a place.
type cpu struct {
	last  int    // the job that it ran last, from 1
	event uint64 // the number of the event that ends what it does
}

// occurrence is something that will happen.
type occurrence struct {
	at   time.Duration
	kind EventKind // Wake, Finish for the end of a burst, Slice, Alarm
	n    uint64
	job  int // index
}

// rankOf orders kinds at the same moment.
var rankOf = [...]int{Arrive: 0, Wake: 1, Finish: 2, Slice: 3, Alarm: 4}

// eventQueue implements heap.Interface.
type eventQueue []occurrence

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	a, b := &q[i], &q[j]
	if a.at != b.at {
		return a.at < b.at
	}
	if x, y := rankOf[a.kind], rankOf[b.kind]; x != y {
		return x < y
	}
	return a.n < b.n
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(occurrence)) }
func (q *eventQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// push adds something that will happen and returns its number.
func (s *simulation) push(at time.Duration, kind EventKind, job int) uint64 {
	s.pushed++
	heap.Push(&s.events, occurrence{at, kind, s.pushed, job})
	return s.pushed
}

// run goes from event to event until all jobs are done.
func (s *simulation) run() error {
	s.report(Event{Kind: Resize, Places: s.m.CPUs, Degree: s.m.Degree, Room: s.m.Room})
	for {
		if err := s.settle(); err != nil || s.done == len(s.w) {
			return err
		}
		if len(s.events) == 0 && s.arrived == len(s.order) {
			return fmt.Errorf("sched: policy %s lets %d jobs wait for ever", s.policy, len(s.w)-s.done)
		}
		s.now = math.MaxInt64
		if s.arrived < len(s.order) {
			s.now = s.w[s.order[s.arrived]].Arrive
		}
		if len(s.events) > 0 {
			s.now = min(s.now, s.events[0].at)
		}
		for ; s.arrived < len(s.order) && s.w[s.order[s.arrived]].Arrive == s.now; s.arrived++ {
			s.arrive(s.order[s.arrived])
		}
		for len(s.events) > 0 && s.events[0].at == s.now {
			s.happen(heap.Pop(&s.events).(occurrence))
		}
	}
}

// happen handles one occurrence. Those of a CPU that was given away are stale.
func (s *simulation) happen(o occurrence) {
	j := &s.jobs[o.job]
	switch o.kind {
	case Alarm:
		if o.n == s.alarm {
			s.report(Event{Kind: Alarm})
		}
	case Wake:
		if j.burst++; j.burst >= len(s.w[o.job].Bursts) {
			s.exit(o.job)
			return
		}
		s.nextBurst(o.job)
		s.enter(o.job, Held, WaitOver)
		s.report(Event{Kind: Wake, Job: Job(o.job + 1), CPU: j.used})
	case Finish, Slice:
		if j.state != Running || s.cpus[j.place-1].event != o.n {
			return
		}
		s.use(j)
		if o.kind == Slice {
			s.report(Event{Kind: Slice, Job: Job(o.job + 1), CPU: j.used})
			return
		}
		s.vacate(j)
		s.burstOver(o.job)
	}
}

// arrive is a job's arrival.
func (s *simulation) arrive(i int) {
	w := &s.w[i]
	s.result.Jobs[i] = Outcome{Name: w.label(i), Arrive: w.Arrive, First: -1, CPU: w.CPU(), Blocked: w.Waits()}
	s.jobs[i] = simulated{burst: 0, since: s.now}
	s.nextBurst(i)
	s.enter(i, New, Arrives)
	if s.m.Degree == 0 {
		s.enter(i, Ready, Admitted)
	}
	e := Event{Kind: Arrive, Job: Job(i + 1), Priority: w.Priority, NoPause: w.NoPause, Need: w.Need}
	switch s.m.Expect {
	case Exact:
		e.Expect, e.Length = max(w.CPU(), 1), max(w.Alone(), 1) // 0 would say that nothing is known
	case Given:
		e.Expect, e.Length = w.Expect, w.Expect
	}
	s.report(e)
}

// nextBurst readies the present burst of a job, together with those that follow with
// nothing between.
func (s *simulation) nextBurst(i int) {
	j, bursts := &s.jobs[i], s.w[i].Bursts
	j.left = 0
	if j.burst < len(bursts) {
		j.left = bursts[j.burst]
	}
	for j.burst+2 < len(bursts) && bursts[j.burst+1] == 0 {
		j.burst += 2
		j.left += bursts[j.burst]
	}
}

// burstOver is the end of a CPU burst: the job ends, or waits.
func (s *simulation) burstOver(i int) {
	j, bursts := &s.jobs[i], s.w[i].Bursts
	if j.burst+1 >= len(bursts) || bursts[j.burst+1] == 0 {
		s.exit(i)
		return
	}
	j.burst++
	s.nextBurst(i)
	s.enter(i, Blocked, Waits)
	s.push(s.now+j.left, Wake, i)
	s.report(Event{Kind: Block, Job: Job(i + 1), CPU: j.used})
}

// exit is a job's end.
func (s *simulation) exit(i int) {
	s.enter(i, Done, Exits)
	s.done++
	s.result.Jobs[i].End = s.now
	s.report(Event{Kind: Finish, Job: Job(i + 1), CPU: s.jobs[i].used})
}

// use books what a running job has used of its CPU until now.
func (s *simulation) use(j *simulated) {
	if d := s.now - j.startAt; d > 0 {
		j.used += d
		j.left -= d
		j.startAt = s.now
	}
}

// vacate frees the CPU of a job.
func (s *simulation) vacate(j *simulated) {
	s.cpus[j.place-1].event = 0
	s.free = append(s.free, j.place)
	j.place = 0
}

// enter changes a job's state.
func (s *simulation) enter(i int, state State, why Cause) {
	j, out := &s.jobs[i], &s.result.Jobs[i]
	if j.state == New || j.state == Ready || j.state == Held {
		out.Waiting += s.now - j.since
	}
	j.state, j.since = state, s.now
	s.trace(i, state, why)
}

// trace adds a change.
func (s *simulation) trace(i int, state State, why Cause) {
	if s.m.NoTrace {
		return
	}
	j := &s.jobs[i]
	s.result.Trace = append(s.result.Trace, Change{At: s.now, Job: Job(i + 1), State: state, Cause: why, Place: j.place, Level: j.level})
}

// report queues an event for the policy: what is decided at one event is obeyed before
// the next one is told.
func (s *simulation) report(e Event) { s.reports = append(s.reports, e) }

// settle tells the policy what is queued, and obeys.
func (s *simulation) settle() error {
	for len(s.reports) > 0 {
		s.told, s.reports = s.reports, s.told[:0]
		decisions := s.policy.Decide(s.now, s.told...)
		s.noteLevels()
		for _, d := range decisions {
			if err := s.obey(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteLevels looks at the levels of the jobs that the policy was told of, and after a
// boost of those that run.
func (s *simulation) noteLevels() {
	if s.leveler == nil {
		return
	}
	for _, e := range s.told {
		switch e.Kind {
		case Resize:
		case Alarm:
			for i := range s.cpus {
				if c := &s.cpus[i]; c.last > 0 && s.jobs[c.last-1].state == Running {
					s.noteLevel(c.last - 1)
				}
			}
		default:
			s.noteLevel(int(e.Job) - 1)
		}
	}
}

func (s *simulation) noteLevel(i int) {
	j := &s.jobs[i]
	was := j.level
	j.level = s.leveler.Level(Job(i + 1))
	switch {
	case j.state != Running || j.level == was:
	case j.level > was:
		s.trace(i, Running, MovedDown)
	default:
		s.trace(i, Running, Boosted)
	}
}

// obey does what was decided.
func (s *simulation) obey(d Decision) error {
	if d.Action == SetAlarm {
		s.alarm = s.push(max(d.At, s.now), Alarm, 0)
		return nil
	}
	i := int(d.Job) - 1
	if i < 0 || i >= len(s.jobs) {
		return fmt.Errorf("sched: policy %s decided to %v job %d, which there is not", s.policy, d.Action, d.Job)
	}
	j := &s.jobs[i]
	if j.state == Done {
		return nil // it ended at this very moment, after the decision
	}
	if s.leveler != nil && j.state != Running {
		j.level = s.leveler.Level(d.Job)
	}
	if d.Action == Pause {
		return s.pause(i)
	}
	return s.dispatch(i, d)
}

// pause takes a job from its CPU. One that has just come to the end of its burst was
// not paused: it ends, or waits.
func (s *simulation) pause(i int) error {
	j := &s.jobs[i]
	if j.state != Running {
		return fmt.Errorf("sched: policy %s decided to pause job %d, which is %v", s.policy, i+1, j.state)
	}
	if s.w[i].NoPause {
		return fmt.Errorf("sched: policy %s decided to pause job %d, which must not be paused", s.policy, i+1)
	}
	s.use(j)
	s.vacate(j)
	if j.left == 0 {
		s.burstOver(i)
		return nil
	}
	why := Preempted
	if slices.ContainsFunc(s.told, func(e Event) bool { return e.Kind == Slice && int(e.Job) == i+1 }) {
		why = SliceUsedUp
	}
	s.result.Jobs[i].Preemptions++
	s.enter(i, Held, why)
	s.report(Event{Kind: Paused, Job: Job(i + 1), CPU: j.used})
	return nil
}

// dispatch puts a job on a CPU, or lets it run on there.
func (s *simulation) dispatch(i int, d Decision) error {
	j := &s.jobs[i]
	if (d.Action == Run) == j.begun || j.state == Blocked {
		return fmt.Errorf("sched: policy %s decided to %v job %d, which is %v", s.policy, d.Action, i+1, j.state)
	}
	if j.state != Running {
		if len(s.free) == 0 && s.w[i].NoPause {
			s.cpus = append(s.cpus, cpu{})
			s.free = append(s.free, len(s.cpus))
		}
		if len(s.free) == 0 {
			return fmt.Errorf("sched: policy %s decided to %v job %d, and no CPU is free", s.policy, d.Action, i+1)
		}
		j.place = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
		j.startAt = s.now
		if c := &s.cpus[j.place-1]; c.last != i+1 {
			if c.last != 0 {
				s.switches++
			}
			c.last = i + 1
			j.startAt += s.m.Switch
		}
		if !j.begun {
			j.begun = true
			s.result.Jobs[i].First = s.now
			if s.m.Degree > 0 {
				s.enter(i, Ready, Admitted)
			}
		}
		s.enter(i, Running, Dispatched)
	}
	if d.Slice > 0 && d.Slice < j.left {
		s.cpus[j.place-1].event = s.push(j.startAt+d.Slice, Slice, i)
	} else {
		s.cpus[j.place-1].event = s.push(j.startAt+j.left, Finish, i)
	}
	return nil
}
