package sched

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// rigid makes a workload of jobs that take different amounts, some more than there is.
func rigid(rng *rand.Rand, m Machine, withMemory bool) Workload {
	w := chance(rng, 2+rng.IntN(40), rng.IntN(2) == 0)
	for i := range w {
		w[i].Priority, w[i].NoPause = 0, false
		w[i].Need = Demand{Places: rng.IntN(m.CPUs + 2), CPUs: float64(rng.IntN(5)) * 0.7}
		w[i].Expect = time.Duration(rng.IntN(30)) * ms // right or wrong or unknown
		if withMemory {
			w[i].Need.Memory = int64(rng.IntN(5)) << 20
		}
	}
	return w
}

// taken checks at each moment of a trace that what the jobs take is there. What does not run
// keeps its memory alone.
func taken(t *testing.T, w Workload, r *Result, m Machine) {
	t.Helper()
	state := make(map[Job]State)
	for i := 0; i < len(r.Trace); {
		now := r.Trace[i].At
		for ; i < len(r.Trace) && r.Trace[i].At == now; i++ {
			state[r.Trace[i].Job] = r.Trace[i].State
		}
		p, c, mem := 0, 0.0, int64(0)
		for j, s := range state {
			n := w[j-1].Need
			switch s {
			case Running:
				p += min(max(n.Places, 1), m.CPUs)
				c += min(n.CPUs, m.Room.CPUs)
				mem += min(n.Memory, m.Room.Memory)
			case Held, Blocked: // one that is blocked may be paused as well
				mem += min(n.Memory, m.Room.Memory)
			}
		}
		if p > m.CPUs || m.Room.CPUs > 0 && c > m.Room.CPUs+1e-6 || m.Room.Memory > 0 && mem > m.Room.Memory {
			t.Fatalf("%v: %d of %d places, %v of %v CPUs, %d of %d bytes are taken", now, p, m.CPUs, c, m.Room.CPUs, mem, m.Room.Memory)
		}
	}
}

// Whatever is expected of the jobs, right or wrong: what is taken is there, and all end.
func TestBackfillTakesWhatThereIs(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 11))
		m := Machine{CPUs: 1 + rng.IntN(6), Degree: max(rng.IntN(12)-3, 0), Expect: Expectations(rng.IntN(3)), Room: Demand{CPUs: float64(rng.IntN(3)) * 1.4, Memory: int64(rng.IntN(3)) << 22}}
		w := rigid(rng, m, true)
		for i := range w {
			w[i].Priority, w[i].NoPause = rng.IntN(3), rng.IntN(6) == 0
		}
		taken(t, w, simulate(t, w, &Backfill{}, m), m)
	}
}

// The theorem of the comment: without memory to wait for, moving jobs ahead makes none of them end
// later, however wrong the expectations are. And it is good for something: most of the time some end
// earlier.
func TestBackfillDelaysNone(t *testing.T) {
	better, ahead := 0, 0
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 12))
		m := Machine{CPUs: 2 + rng.IntN(5), Expect: Expectations(rng.IntN(3)), Room: Demand{CPUs: float64(rng.IntN(3)) * 1.4}}
		w := rigid(rng, m, false)
		strict := simulate(t, w, &Backfill{strict: true}, m)
		r := simulate(t, w, &Backfill{}, m)
		sum := time.Duration(0)
		for i := range w {
			if r.Jobs[i].End > strict.Jobs[i].End || r.Jobs[i].First > strict.Jobs[i].First {
				t.Fatalf("seed %d: job %d ran from %v to %v, and in order from %v to %v", seed, i+1, r.Jobs[i].First, r.Jobs[i].End, strict.Jobs[i].First, strict.Jobs[i].End)
			}
			sum += strict.Jobs[i].End - r.Jobs[i].End
		}
		if sum > 0 {
			better++
		}
		if r.Summary.Preemptions > 0 {
			ahead++
		}
	}
	if better < 200 || ahead < 50 {
		t.Errorf("in %d of 600 workloads a job ended earlier, in %d one was paused: that tests little", better, ahead)
	}
}

// scene drives a policy by hand.
type scene struct {
	t   *testing.T
	p   *Backfill
	now time.Duration
}

func (s *scene) step(want string, events ...Event) {
	s.t.Helper()
	got := ""
	for _, d := range s.p.Decide(s.now, events...) {
		got += fmt.Sprintf(" %v %d", d.Action, d.Job)
	}
	if got != want && got != " "+want {
		s.t.Errorf("at %v: decided%s, want %s", s.now, got, want)
	}
}

func wants(j Job, places int, length time.Duration) Event {
	return Event{Kind: Arrive, Job: j, Need: Demand{Places: places}, Length: length}
}

// The steps of EASY backfilling, one by one.
func TestBackfillSteps(t *testing.T) {
	t.Run("ends in time", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1", Event{Kind: Resize, Places: 4}, wants(1, 3, 10*sec), wants(2, 4, 5*sec), wants(3, 1, 11*sec))
		s.now = 2 * sec
		s.step("run 4", wants(4, 1, 8*sec))
		s.now = 10 * sec
		s.step("", Event{Kind: Finish, Job: 4})
		s.step("run 2", Event{Kind: Finish, Job: 1})
		s.step("run 3", Event{Kind: Finish, Job: 2})
	})
	t.Run("fits beside the head", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1 run 3", Event{Kind: Resize, Places: 4}, wants(1, 3, 0), wants(2, 2, 0), wants(3, 1, 0))
		s.step("run 2", Event{Kind: Finish, Job: 1})
	})
	t.Run("no more beside the head than fits there", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1 run 3", Event{Kind: Resize, Places: 4}, wants(1, 2, 0), wants(2, 3, 0), wants(3, 1, 0), wants(4, 1, 0))
	})
	t.Run("paused when it was wrong", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1 run 3", Event{Kind: Resize, Places: 4}, wants(1, 3, 10*sec), wants(2, 4, 5*sec), wants(3, 1, 10*sec))
		s.now = 4 * sec
		s.step("pause 3 run 2", Event{Kind: Finish, Job: 1})
		s.now = 9 * sec
		s.step("resume 3", Event{Kind: Finish, Job: 2})
	})
	t.Run("a job of unknown length may end at any moment", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1", Event{Kind: Resize, Places: 4}, wants(1, 3, 0), wants(2, 4, 0), wants(3, 1, sec))
	})
	t.Run("what must not be paused overtakes nobody", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		e := wants(3, 1, sec)
		e.NoPause = true
		s.step("run 1", Event{Kind: Resize, Places: 4}, wants(1, 3, 10*sec), wants(2, 4, sec), e)
	})
	t.Run("memory is not given back by a pause", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		big, small := wants(2, 1, sec), wants(3, 1, sec)
		big.Need.Memory, small.Need.Memory = 60, 30
		first := wants(1, 1, 10*sec)
		first.Need.Memory = 60
		s.step("run 1", Event{Kind: Resize, Places: 4, Room: Demand{Memory: 100}}, first, big, small)
		s.step("run 4", wants(4, 1, sec)) // needs none
	})
	t.Run("more than there is runs alone", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1", Event{Kind: Resize, Places: 2}, wants(1, 1, 0), wants(2, 9, 0), wants(3, 1, 0))
		s.step("run 2", Event{Kind: Finish, Job: 1})
		s.step("run 3", Event{Kind: Finish, Job: 2})
	})
	t.Run("one of the degree is kept for the head", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1", Event{Kind: Resize, Places: 4, Degree: 2}, wants(1, 3, 10*sec), wants(2, 4, sec), wants(3, 1, sec))
	})
	t.Run("fewer places", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1 run 2", Event{Kind: Resize, Places: 4}, wants(1, 2, 0), wants(2, 2, 0), wants(3, 1, 0))
		s.step("", Event{Kind: Resize, Places: 2})
		s.step("", Event{Kind: Finish, Job: 1})
		s.step("run 3", Event{Kind: Finish, Job: 2})
	})
	t.Run("a length without end is no overflow", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}, now: sec}
		s.step("run 1", Event{Kind: Resize, Places: 4}, wants(1, 3, sec), wants(2, 4, 0), wants(3, 1, math.MaxInt64))
		s.step("", wants(4, 1, math.MaxInt64-1))
	})
	t.Run("nothing before there are places", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("", wants(1, 1, 0), wants(2, 1, 0))
		s.step("run 1", Event{Kind: Resize, Places: 1})
	})
	t.Run("a blocked job keeps what it takes", func(t *testing.T) {
		s := &scene{t: t, p: &Backfill{}}
		s.step("run 1", Event{Kind: Resize, Places: 1}, wants(1, 1, 0), wants(2, 1, 0))
		s.step("", Event{Kind: Block, Job: 1})
		s.step("resume 1", Event{Kind: Wake, Job: 1})
	})
}

// The more urgent begin first, but what runs is not paused for them.
func TestBackfillPriority(t *testing.T) {
	s := &scene{t: t, p: &Backfill{}}
	urgent := wants(3, 1, 0)
	urgent.Priority = 5
	s.step("run 1", Event{Kind: Resize, Places: 1}, wants(1, 1, 0), wants(2, 1, 0))
	s.step("", urgent)
	s.step("run 3", Event{Kind: Finish, Job: 1})
	s.step("run 2", Event{Kind: Finish, Job: 3})
}

// It is deep in the queue that a small job waits: it is found in the first backfillDepth.
func TestBackfillDepth(t *testing.T) {
	s := &scene{t: t, p: &Backfill{}}
	events := []Event{{Kind: Resize, Places: 4}, wants(1, 3, 0)}
	for j := range Job(backfillDepth - 1) {
		events = append(events, wants(2+j, 2, 0))
	}
	events = append(events, wants(1000, 1, 0), wants(1001, 1, 0))
	s.step("run 1 run 1000", events...)
	if i := slices.IndexFunc(s.p.waiting, func(e *packed) bool { return e.id == 1001 }); i != backfillDepth-1 {
		t.Errorf("the last one is in place %d of %d", i, len(s.p.waiting))
	}
}
