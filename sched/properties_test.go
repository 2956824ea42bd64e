package sched

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// policies makes one of each kind, with settings that random workloads of some
// milliseconds put to use.
var policies = map[string]func() Policy{
	"fcfs":          func() Policy { return &FCFS{} },
	"sjf":           func() Policy { return &SJF{} },
	"sjf patient":   func() Policy { return &SJF{Patience: 30 * ms} },
	"lpt":           func() Policy { return &LPT{} },
	"rr":            func() Policy { return &RR{Slice: 3 * ms} },
	"srpt":          func() Policy { return &SRPT{Clairvoyant: true} },
	"srpt patient":  func() Policy { return &SRPT{Clairvoyant: true, Patience: 30 * ms} },
	"srpt guessing": func() Policy { return &SRPT{} },
	"mlfq": func() Policy {
		return &MLFQ{Levels: []Level{{Slice: 2 * ms, Allotment: 4 * ms}, {Slice: 4 * ms, Allotment: 12 * ms}, {Slice: 8 * ms}}, Boost: 50 * ms}
	},
	"mlfq reserve": func() Policy {
		return &MLFQ{Levels: []Level{{Slice: 2 * ms, Allotment: 4 * ms}, {Slice: 4 * ms, Allotment: 12 * ms}, {Slice: 8 * ms}}, Boost: 50 * ms, Reserve: true}
	},
	"mlfq default":        func() Policy { return &MLFQ{} },
	"priority":            func() Policy { return &Priority{} },
	"priority ageing":     func() Policy { return &Priority{Ageing: 10 * ms, Preempt: true} },
	"priority preempting": func() Policy { return &Priority{Preempt: true} },
}

// chance makes a workload of n jobs.
func chance(rng *rand.Rand, n int, waits bool) Workload {
	w := make(Workload, n)
	at := time.Duration(0)
	for i := range w {
		if rng.IntN(3) > 0 { // often several at once
			at += time.Duration(rng.IntN(10)) * ms
		}
		w[i] = Work{Arrive: at, Bursts: []time.Duration{time.Duration(rng.IntN(20)) * ms}, Priority: rng.IntN(4), NoPause: waits && rng.IntN(8) == 0}
		if rng.IntN(10) == 0 {
			w[i].Bursts[0] *= 10
		}
		for waits && rng.IntN(2) == 0 {
			w[i].Bursts = append(w[i].Bursts, time.Duration(rng.IntN(20))*ms)
		}
	}
	return w
}

// audit checks a trace against the workload: who ran for how long, on how many CPUs, and
// that none was idle while a job could have used it. It returns the area under the
// number of jobs that were there.
func audit(t *testing.T, w Workload, r *Result, m Machine) (area time.Duration) {
	t.Helper()
	sums := make(map[Job]map[State]time.Duration)
	state := make(map[Job]State)
	begun := make(map[Job]bool)
	last := time.Duration(0)
	for i := 0; i < len(r.Trace); {
		now := r.Trace[i].At
		running, could, there, extra := 0, 0, 0, 0
		for j, s := range state {
			switch {
			case s == Done:
				continue
			case s == Running:
				running++
				if w[j-1].NoPause {
					extra++
				}
			case s == Held, s == Ready && (m.Degree == 0 || len(begun) < m.Degree), s == New && len(begun) < m.Degree:
				could++
			}
			there++
			if sums[j] == nil {
				sums[j] = make(map[State]time.Duration)
			}
			sums[j][s] += now - last
		}
		if now > last {
			area += time.Duration(there) * (now - last)
			if running-extra > m.CPUs || running > m.CPUs && extra == 0 {
				t.Fatalf("%v: %d run on %d CPUs", last, running, m.CPUs)
			}
			if running < m.CPUs && could > 0 {
				t.Fatalf("%v to %v: %d of %d CPUs are used, and %d jobs could run", last, now, running, m.CPUs, could)
			}
			if m.Degree > 0 && len(begun) > m.Degree {
				t.Fatalf("%v: %d have begun, the degree is %d", last, len(begun), m.Degree)
			}
		}
		for ; i < len(r.Trace) && r.Trace[i].At == now; i++ {
			c := r.Trace[i]
			state[c.Job] = c.State
			switch c.State {
			case Running:
				begun[c.Job] = true
			case Done:
				delete(begun, c.Job)
			}
		}
		last = now
	}
	for i := range w {
		j := Job(i + 1)
		if state[j] != Done || sums[j][Running] != w[i].CPU() || sums[j][Blocked] != w[i].Waits() {
			t.Fatalf("job %d: %v, ran %v of %v, waited %v of %v", j, state[j], sums[j][Running], w[i].CPU(), sums[j][Blocked], w[i].Waits())
		}
		o := &r.Jobs[i]
		if got := sums[j][New] + sums[j][Ready] + sums[j][Held]; o.Waiting != got || o.Turnaround() != got+w[i].Alone() {
			t.Fatalf("job %d: waiting %v by the trace, outcome %+v", j, got, o)
		}
	}
	return area
}

// Work is conserved, Little's law holds, and the same run is the same again, under every
// policy and on every machine.
func TestConservation(t *testing.T) {
	for name, fresh := range policies {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(60) {
				rng := rand.New(rand.NewPCG(seed, 7))
				w := chance(rng, 1+rng.IntN(40), seed%2 == 1)
				m := Machine{CPUs: 1 + rng.IntN(4), Degree: max(rng.IntN(8)-2, 0), Expect: Expectations(rng.IntN(3))}
				if strings.Contains(name, "reserve") {
					m.CPUs, m.Degree = 8+rng.IntN(2), 0
				}
				r := simulate(t, w, fresh(), m)
				area := audit(t, w, r, m)
				sum := time.Duration(0)
				for i := range r.Jobs {
					sum += r.Jobs[i].Turnaround()
				}
				if area != sum {
					t.Fatalf("seed %d: L = %v, λW = %v", seed, area, sum)
				}
				if again := simulate(t, w, fresh(), m); !slices.Equal(again.Trace, r.Trace) {
					t.Fatalf("seed %d: the same run went another way", seed)
				}
			}
		})
	}
}

// On one CPU, of jobs that only compute: all policies are done at the same time, none
// has a smaller mean turnaround than SRPT, and of those that do not preempt, for jobs that
// come together, none a smaller one than SJF.
func TestOptimality(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 11))
		w := chance(rng, 2+rng.IntN(30), false)
		together := slices.Clone(w)
		for i := range together {
			together[i].Arrive = 0
		}
		best := simulate(t, w, &SRPT{Clairvoyant: true}, Machine{})
		sjf := simulate(t, together, &SJF{}, Machine{})
		for name, fresh := range policies {
			r := simulate(t, w, fresh(), Machine{})
			if r.Summary.Makespan != best.Summary.Makespan {
				t.Fatalf("seed %d: %s is done after %v, srpt after %v", seed, name, r.Summary.Makespan, best.Summary.Makespan)
			}
			if r.Summary.Turnaround.Mean < best.Summary.Turnaround.Mean {
				t.Fatalf("seed %d: %s beats srpt: %v, %v", seed, name, r.Summary.Turnaround.Mean, best.Summary.Turnaround.Mean)
			}
			if b := simulate(t, together, fresh(), Machine{}); b.Summary.Turnaround.Mean < sjf.Summary.Turnaround.Mean {
				t.Fatalf("seed %d: %s beats sjf: %v, %v", seed, name, b.Summary.Turnaround.Mean, sjf.Summary.Turnaround.Mean)
			}
		}
	}
}

// sharing simulates processor sharing of one CPU, and returns when each job ends.
func sharing(w Workload) []time.Duration {
	left := make([]float64, len(w))
	end := make([]time.Duration, len(w))
	order := w.byArrival()
	now, arrived := 0.0, 0
	active := make(map[int]bool)
	for len(active) > 0 || arrived < len(order) {
		next, who := -1.0, -1
		for i := range active {
			if at := now + left[i]*float64(len(active)); next < 0 || at < next || at == next && i < who {
				next, who = at, i
			}
		}
		if arrived < len(order) {
			if at := w[order[arrived]].Arrive.Seconds(); next < 0 || at <= next {
				next, who = at, -1
			}
		}
		for i := range active {
			left[i] -= (next - now) / float64(len(active))
		}
		now = next
		if who >= 0 {
			delete(active, who)
			end[who] = duration(now)
			continue
		}
		i := order[arrived]
		arrived++
		left[i] = w[i].CPU().Seconds()
		active[i] = true
	}
	return end
}

// As the slice goes to zero, round robin becomes processor sharing.
func TestRoundRobinIsProcessorSharing(t *testing.T) {
	for seed := range uint64(30) {
		w := chance(rand.New(rand.NewPCG(seed, 13)), 8, false)
		for i := range w {
			w[i].Bursts[0] += ms
		}
		want := sharing(w)
		for _, slice := range []time.Duration{ms, ms / 10, ms / 100} {
			r := simulate(t, w, &RR{Slice: slice}, Machine{})
			for i := range w {
				// A job is at most a round away from its share at each arrival and end.
				if off := r.Jobs[i].End - want[i]; off.Abs() > time.Duration(len(w)*len(w))*slice {
					t.Fatalf("seed %d, slice %v, job %d: ends at %v, with processor sharing at %v", seed, slice, i+1, r.Jobs[i].End, want[i])
				}
			}
		}
	}
}

// shortest is the smallest makespan of jobs that come together on m CPUs, by trying all.
func shortest(sizes []time.Duration, loads []time.Duration) time.Duration {
	if len(sizes) == 0 {
		return slices.Max(loads)
	}
	best := time.Duration(1 << 62)
	for i := range loads {
		loads[i] += sizes[0]
		best = min(best, shortest(sizes[1:], loads))
		loads[i] -= sizes[0]
	}
	return best
}

// Graham's bounds: longest first is within 4/3 - 1/(3m) of the best makespan, and any
// policy that lets no CPU idle within 2 - 1/m.
func TestGraham(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 17))
		m := 2 + rng.IntN(2)
		var w Workload
		var sizes []time.Duration
		for range 3 + rng.IntN(6) {
			d := time.Duration(1+rng.IntN(30)) * ms
			sizes = append(sizes, d)
			w = append(w, Work{Bursts: []time.Duration{d}})
		}
		best := float64(shortest(sizes, make([]time.Duration, m)))
		for name, fresh := range policies {
			bound := 2 - 1/float64(m)
			if name == "lpt" {
				bound = 4.0/3 - 1/(3*float64(m))
			}
			r := simulate(t, w, fresh(), Machine{CPUs: m})
			if got := float64(r.Summary.Makespan); got > bound*best+1 || r.Summary.Preemptions == 0 && got < best {
				t.Fatalf("seed %d: %s takes %v on %d CPUs, the best is %v", seed, name, got, m, best)
			}
		}
	}
}

// One long job among a stream of short ones that keeps a CPU busy for 95 %: under
// each policy it ends within the bound that its documentation states.
func TestNoStarvation(t *testing.T) {
	const long, short, gap = 100 * ms, 19 * ms, 20 * ms
	w := Workload{{Name: "long", Bursts: []time.Duration{long}}}
	for i := range 3000 {
		w = append(w, Work{Arrive: time.Duration(i) * gap, Bursts: []time.Duration{short}, Priority: 1})
	}
	for _, tt := range []struct {
		p     Policy
		bound time.Duration
	}{
		{&FCFS{}, long + short},
		// Of n jobs there, it has a slice in every round of n: with at most two shorts that
		// are behind, in the mean.
		{&RR{Slice: 5 * ms}, 2 * time.Second},
		// With patience it waits that long and for one that runs, and then keeps its place.
		{&SJF{Patience: 500 * ms}, 500*ms + short + long},
		{&SRPT{Clairvoyant: true, Patience: 500 * ms}, 500*ms + short + long},
		// Longest first lets it go before all others.
		{&LPT{}, long + short},
		// It is as urgent as the others after one step.
		{&Priority{Ageing: 300 * ms}, 300*ms + 20*short + long},
		// A boost comes every 200 ms, and each gives it its allotment at the top beside
		// whoever is there.
		{&MLFQ{Levels: []Level{{Slice: 10 * ms, Allotment: 20 * ms}, {Slice: 20 * ms}}, Boost: 200 * ms}, (long/(20*ms) + 1) * 200 * ms},
	} {
		r := simulate(t, w, tt.p, Machine{})
		if got := r.Jobs[0].Turnaround(); got > tt.bound {
			t.Errorf("%s: the long job takes %v, the bound is %v", tt.p, got, tt.bound)
		}
	}
	// Without patience or ageing it does starve when there is always another one: the test
	// could tell.
	for i := range w[1:] {
		w[1+i].Bursts = []time.Duration{gap}
	}
	last := w[len(w)-1].Arrive
	for _, p := range []Policy{&SJF{}, &SRPT{Clairvoyant: true}, &Priority{Preempt: true}} {
		if got := simulate(t, w, p, Machine{}).Jobs[0].Turnaround(); got < last {
			t.Errorf("%s: the long job takes %v although all others go before it", p, got)
		}
	}
}

// A job that waits just before its slice ends moves down all the same: all that it used
// counts.
func TestNobodyGamesMLFQ(t *testing.T) {
	levels := []Level{{Slice: 10 * ms, Allotment: 10 * ms}, {Slice: 10 * ms}}
	gamer := Work{Name: "gamer"}
	for range 20 {
		gamer.Bursts = append(gamer.Bursts, 9*ms, ms)
	}
	w := Workload{gamer, {Name: "honest", Bursts: []time.Duration{200 * ms}}}
	r := simulate(t, w, &MLFQ{Levels: levels, Boost: -1}, Machine{})
	for _, c := range r.Trace {
		if c.Job == 1 && c.State == Running && c.At > 50*ms && c.Level == 0 {
			t.Fatalf("the gamer runs at the highest level at %v", c.At)
		}
	}
	if g, h := &r.Jobs[0], &r.Jobs[1]; h.End > g.End+20*ms && h.Waiting > 3*g.Waiting {
		t.Errorf("the gamer waited %v, the honest one %v", g.Waiting, h.Waiting)
	}
}

// With a place kept for it, the oldest job never waits once it runs, from 8 places on.
func TestReserve(t *testing.T) {
	for _, places := range []int{4, 8} {
		w := Workload{{Bursts: []time.Duration{500 * ms}}}
		for i := range 200 { // newcomers take all places
			w = append(w, Work{Arrive: 20*ms + time.Duration(i)*ms/4, Bursts: []time.Duration{8 * ms}})
		}
		levels := []Level{{Slice: 5 * ms, Allotment: 10 * ms}, {Slice: 10 * ms}}
		r := simulate(t, w, &MLFQ{Levels: levels, Boost: -1, Reserve: true}, Machine{CPUs: places})
		if waited := r.Jobs[0].Waiting > 0; waited != (places < 8) {
			t.Errorf("%d places: the oldest waited %v", places, r.Jobs[0].Waiting)
		}
	}
}

// Slices are as long as the cost of a pause asks for, and allotments follow the jobs
// that have ended.
func TestMLFQMeasuresItself(t *testing.T) {
	m := &MLFQ{Boost: -1}
	m.Decide(0, Event{Kind: Resize, Places: 1}, Event{Kind: Arrive, Job: 1})
	slice := func(now time.Duration) time.Duration {
		d := m.Decide(now, Event{Kind: Arrive, Job: 99})
		defer m.Decide(now, Event{Kind: Finish, Job: 99})
		if len(d) != 1 {
			t.Fatalf("%+v", d)
		}
		return d[0].Slice
	}
	m.Decide(0, Event{Kind: Finish, Job: 1})
	if got := slice(0); got != leastSlice {
		t.Errorf("slice %v at first", got)
	}
	if got := m.allotment(0); got != time.Second {
		t.Errorf("allotment %v at first", got)
	}
	for i := Job(10); i < 30; i++ {
		m.Decide(1, Event{Kind: Arrive, Job: i})
		m.Decide(1, Event{Kind: Finish, Job: i, CPU: 300 * ms})
	}
	if a, b := m.allotment(0), m.allotment(1); a != 600*ms || b != 3*time.Second {
		t.Errorf("allotments %v and %v of jobs of 300 ms", a, b)
	}
	m.Decide(2, Event{Kind: Arrive, Job: 50})
	for range 100 {
		m.Decide(2, Event{Kind: Paused, Job: 50, Cost: 4 * ms})
	}
	m.Decide(2, Event{Kind: Finish, Job: 50})
	if got := slice(3); got < 190*ms || got > 200*ms {
		t.Errorf("slice %v when a pause and resume costs 4 ms", got)
	}
}

func (c *core) self() *core { return c }

// checkCore compares what a policy counts with what it has.
func checkCore(t *testing.T, p Policy, now time.Duration) {
	t.Helper()
	c := p.(interface{ self() *core }).self()
	running, begun := 0, 0
	for _, e := range c.jobs {
		if e.state == onPlace {
			running++
		}
		if e.begun {
			begun++
		}
	}
	if running != c.running || begun != c.begun {
		t.Fatalf("%d on a place, counted %d; %d have begun, counted %d", running, c.running, begun, c.begun)
	}
	if e := p.(rules).next(now, c.full()); c.running < c.places && e != nil {
		t.Fatalf("a place is free and job %d waits", e.id)
	}
	for i, v := range c.victims.items {
		if v.index != i || v.e.state != onPlace || v.e.noPause {
			t.Fatalf("victim %+v", v.e)
		}
	}
}

// Whatever it is told, also what can't be, a policy does not panic, counts right, decides
// only for jobs that there are, and lets nobody who can run wait beside a free place.
func TestAnyEvents(t *testing.T) {
	for name, fresh := range policies {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(100) {
				rng := rand.New(rand.NewPCG(seed, 19))
				p := fresh()
				now, next := time.Duration(0), Job(0)
				for range 300 {
					var events []Event
					for range 1 + rng.IntN(3) {
						e := Event{
							Kind: EventKind(rng.IntN(8)), Job: next - Job(rng.IntN(12)),
							CPU: time.Duration(rng.IntN(100)) * ms, Cost: time.Duration(rng.IntN(3)) * ms,
						}
						switch e.Kind {
						case Resize:
							e.Places, e.Degree = rng.IntN(12), rng.IntN(6)
						case Arrive:
							next++
							e.Job, e.NoPause = next, rng.IntN(5) == 0
							e.Expect, e.Priority = time.Duration(rng.IntN(50))*ms, rng.IntN(3)
						}
						events = append(events, e)
					}
					for _, d := range p.Decide(now, events...) {
						if d.Action != SetAlarm && (d.Job == 0 || d.Job > next) {
							t.Fatalf("seed %d: %+v", seed, d)
						}
					}
					checkCore(t, p, now)
					now += time.Duration(rng.IntN(20)) * ms
				}
			}
		})
	}
}

// crowd are jobs as a dispatcher has them. It does what a policy decides, checks that it could
// be done, and makes up what happens next.
type crowd struct {
	t              *testing.T
	rng            *rand.Rand
	state          map[Job]State // of a job that has not ended
	noPause        map[Job]bool
	cpu            map[Job]time.Duration
	last           Job
	places, degree int
	alarm          bool
	told           map[Job]bool // of whom an event is in this step: only Wake follows on another one, Block
}

// obey does what was decided, and checks that no place is free while somebody could have it.
func (c *crowd) obey(decisions []Decision) {
	c.t.Helper()
	for _, d := range decisions {
		s, ok := c.state[d.Job]
		switch {
		case d.Action == SetAlarm:
			c.alarm = true
		case !ok:
			c.t.Fatalf("%+v: there is no such job", d)
		case d.Action == Run && s == New, d.Action == Resume && s != New && s != Blocked:
			c.state[d.Job] = Running
			count, begun := c.count()
			if count[Running] > c.places && !c.noPause[d.Job] || d.Action == Run && c.degree > 0 && begun > c.degree {
				c.t.Fatalf("%+v: %v on %d places, the degree is %d", d, count, c.places, c.degree)
			}
		case d.Action == Pause && s == Running && !c.noPause[d.Job]:
			c.state[d.Job] = Held
		default:
			c.t.Fatalf("%+v of a job that is %s, not to be paused: %v", d, s, c.noPause[d.Job])
		}
	}
	count, begun := c.count()
	if count[Running] < c.places && (count[Held] > 0 || count[New] > 0 && (c.degree == 0 || begun < c.degree)) {
		c.t.Fatalf("%v: a place of %d is free, the degree is %d", count, c.places, c.degree)
	}
}

func (c *crowd) count() (count map[State]int, begun int) {
	count = make(map[State]int)
	for _, s := range c.state {
		count[s]++
	}
	return count, len(c.state) - count[New]
}

// happens makes up an event that can be.
func (c *crowd) happens() Event {
	j := c.last - Job(c.rng.IntN(10))
	e := Event{Job: j}
	s, ok := c.state[j]
	ok = ok && !c.told[j]
	if ok && s == Running {
		c.cpu[j] += time.Duration(c.rng.IntN(4)) * ms
	}
	e.CPU = c.cpu[j]
	switch what := c.rng.IntN(16); {
	case what == 0:
		c.places, c.degree = c.rng.IntN(4), c.rng.IntN(5)
		return Event{Kind: Resize, Places: c.places, Degree: c.degree}
	case what == 1 && c.alarm:
		c.alarm = false
		return Event{Kind: Alarm}
	case !ok || what < 5:
		c.last++
		c.state[c.last], c.noPause[c.last] = New, c.rng.IntN(6) == 0
		return Event{Kind: Arrive, Job: c.last, Expect: time.Duration(c.rng.IntN(40)) * ms, Priority: c.rng.IntN(4), NoPause: c.noPause[c.last]}
	case what == 5:
		delete(c.state, j)
		e.Kind = Finish
	case s == Blocked:
		c.state[j], e.Kind = Held, Wake
	case s == Held:
		e.Kind, e.Cost = Paused, ms
	case s == Running && what < 11:
		c.state[j], e.Kind = Blocked, Block
		return e
	default:
		e.Kind = Slice // it means nothing if the job does not run
	}
	c.told[j] = true
	return e
}

// Whatever happens, many things at once and the machine growing and shrinking among them, what a
// policy decides can be done, and uses the places.
func TestDecisionsCanBeObeyed(t *testing.T) {
	for name, fresh := range policies {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(100) {
				c := &crowd{t: t, rng: rand.New(rand.NewPCG(seed, 23)), places: 2, state: make(map[Job]State), noPause: make(map[Job]bool), cpu: make(map[Job]time.Duration)}
				p := fresh()
				events := []Event{{Kind: Resize, Places: c.places}}
				for step := range 100 {
					c.obey(p.Decide(time.Duration(step)*3*ms, events...))
					events, c.told = events[:0], make(map[Job]bool)
					for range 1 + c.rng.IntN(4) {
						events = append(events, c.happens())
					}
				}
			}
		})
	}
}

// wrong is a policy that decides what can't be.
type wrong struct{ what func(e Event) []Decision }

func (p wrong) String() string { return "wrong" }
func (p wrong) Decide(_ time.Duration, events ...Event) (out []Decision) {
	for _, e := range events {
		out = append(out, p.what(e)...)
	}
	return out
}

// What a policy may not decide is an error of the simulation, and says what.
func TestWrongPolicies(t *testing.T) {
	w := Workload{{Bursts: []time.Duration{sec}}, {Bursts: []time.Duration{sec}, NoPause: true}}
	arrive := func(d ...Decision) func(Event) []Decision {
		return func(e Event) []Decision {
			if e.Kind == Arrive && e.Job == 2 {
				return d
			}
			return nil
		}
	}
	for _, tt := range []struct {
		what func(Event) []Decision
		want string
	}{
		{arrive(), "lets 2 jobs wait for ever"},
		{arrive(Decision{Action: Run, Job: 1}, Decision{Action: Run, Job: 1}), "run job 1, which is running"},
		{arrive(Decision{Action: Run, Job: 2}, Decision{Action: Run, Job: 1}), "no CPU is free"},
		{arrive(Decision{Action: Resume, Job: 1}), "resume job 1, which is ready"},
		{arrive(Decision{Action: Pause, Job: 1}), "pause job 1, which is ready"},
		{arrive(Decision{Action: Run, Job: 2}, Decision{Action: Pause, Job: 2}), "must not be paused"},
		{arrive(Decision{Action: Run, Job: 3}), "job 3, which there is not"},
	} {
		if _, err := Simulate(w, wrong{tt.what}, Machine{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	for _, bad := range []Workload{{{Arrive: -1}}, {{Bursts: []time.Duration{-1}}}, {{Bursts: []time.Duration{maxTime + 1}}}} {
		if _, err := Simulate(bad, &FCFS{}, Machine{}); err == nil {
			t.Errorf("%+v is simulated", bad)
		}
	}
	if _, err := Simulate(w, &FCFS{}, Machine{CPUs: -1}); err == nil {
		t.Error("-1 CPUs")
	}
}

// Who has lost patience goes first also when the degree is reached, and nothing that
// has not begun may.
func TestPatienceAtDegree(t *testing.T) {
	p := &SJF{Patience: 10 * ms}
	now := time.Duration(0)
	decide := func(events ...Event) []Decision {
		defer checkCore(t, p, now)
		return p.Decide(now, events...)
	}
	decide(Event{Kind: Resize, Places: 1, Degree: 3}, Event{Kind: Arrive, Job: 1, Expect: ms}, Event{Kind: Arrive, Job: 2, Expect: 2 * ms},
		Event{Kind: Arrive, Job: 3, Expect: 50 * ms}, Event{Kind: Arrive, Job: 4, Expect: 60 * ms})
	decide(Event{Kind: Block, Job: 1})
	decide(Event{Kind: Block, Job: 2}) // now 3 has begun
	decide(Event{Kind: Wake, Job: 1}, Event{Kind: Block, Job: 3})
	decide(Event{Kind: Wake, Job: 3})
	runs, waits := Job(1), Job(2)
	for range 100 {
		now += 5 * ms
		for _, d := range decide(Event{Kind: Wake, Job: waits}, Event{Kind: Block, Job: runs}) {
			if d.Job == 3 && d.Action == Resume {
				if now > 20*ms {
					t.Errorf("resumed at %v", now)
				}
				return
			}
		}
		runs, waits = waits, runs
	}
	t.Error("the job that lost patience was never resumed")
}

// Priorities may be as large as numbers are: a size of a file, or the time.
func TestLargePriorities(t *testing.T) {
	for _, ageing := range []time.Duration{0, time.Minute, time.Hour} {
		p := &Priority{Ageing: ageing}
		p.Decide(sec, Event{Kind: Arrive, Job: 1, Priority: 10}, Event{Kind: Arrive, Job: 2, Priority: math.MinInt},
			Event{Kind: Arrive, Job: 3, Priority: 1_800_000_000_000}, Event{Kind: Arrive, Job: 4, Priority: 1_700_000_000_000}, Event{Kind: Arrive, Job: 5, Priority: math.MaxInt})
		var order []Job
		for n := 1; n <= 5; n++ {
			for _, d := range p.Decide(sec, Event{Kind: Resize, Places: n}) {
				order = append(order, d.Job)
			}
		}
		if !slices.Equal(order, []Job{5, 3, 4, 1, 2}) {
			t.Errorf("ageing %v: %v", ageing, order)
		}
	}
}

// Spans are what a trace says.
func TestSpans(t *testing.T) {
	r := simulate(t, jobs([2]float64{0, 2}, [2]float64{0, 1}), &RR{Slice: sec}, Machine{})
	var got []string
	for _, s := range Spans(r.Trace, r.Summary.Makespan) {
		got = append(got, fmt.Sprintf("%d %v %v-%v", s.Job, s.State, s.From.Seconds(), s.To.Seconds()))
	}
	want := []string{"2 ready 0-1", "1 running 0-1", "1 paused 1-2", "2 running 1-2", "1 running 2-3"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// The numbers of a summary, by hand.
func TestSummary(t *testing.T) {
	s := Summarise([]Outcome{
		{Arrive: 0, First: 0, End: 2 * sec, CPU: 2 * sec},
		{Arrive: 0, First: 2 * sec, End: 4 * sec, CPU: 2 * sec, Waiting: 2 * sec, Preemptions: 1},
	}, 1)
	if s.Turnaround.Mean != 3*sec || s.Turnaround.P50 != 2*sec || s.Turnaround.Max != 4*sec || s.Response.Mean != sec || s.Waiting.Mean != sec {
		t.Errorf("%+v", s)
	}
	// Shares 1 and 1/2: (1.5)² / (2 × 1.25) = 0.9.
	if s.Slowdown.Mean != 1.5 || s.CPUUse != 1 || s.Throughput != 0.5 || s.Makespan != 4*sec || s.Preemptions != 1 || s.Fairness != 0.9 {
		t.Errorf("%+v", s)
	}
	if z := Summarise(nil, 1); z.Jobs != 0 || z.Makespan != 0 {
		t.Errorf("%+v", z)
	}
}
