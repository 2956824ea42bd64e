package batch

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// crowd counts by the trace what the jobs of a batch take at each moment.
type crowd struct {
	t      *testing.T
	jobs   []Job
	places int
	cpus   float64

	mu       sync.Mutex
	state    map[sched.Job]sched.State
	most     int
	overtook int
	begun    map[sched.Job]bool
}

func (c *crowd) trace(ch sched.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state[ch.Job] = ch.State
	if ch.State == sched.Running && !c.begun[ch.Job] {
		c.begun[ch.Job] = true
		for j := range ch.Job {
			if j > 0 && !c.begun[j] {
				c.overtook++
				break
			}
		}
	}
	p, cpus := 0, 0.0
	for j, s := range c.state {
		if s == sched.Running {
			n := c.jobs[j-1].Need
			p += min(max(n.Places, 1), c.places)
			cpus += min(n.CPUs, c.cpus)
		}
	}
	c.most = max(c.most, p)
	if p > c.places || cpus > c.cpus+1e-6 {
		c.t.Errorf("%v: %d of %d places and %v of %v CPUs are taken", ch.At, p, c.places, cpus, c.cpus)
	}
}

// Live jobs of different weights: no more is taken than there is, some overtake others, and all end.
func TestBackfillLive(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var cast []*actor
	for range 60 {
		a := &actor{looks: 1 + rng.IntN(4)}
		a.job.Need = sched.Demand{Places: 1 + rng.IntN(5), CPUs: float64(rng.IntN(4)) / 2}
		a.job.Expect.Wall = time.Duration(1+rng.IntN(40)) * time.Millisecond
		cast = append(cast, a)
	}
	s := onStage(cast...)
	c := &crowd{t: t, places: 4, cpus: 2.5, state: make(map[sched.Job]sched.State), begun: make(map[sched.Job]bool)}
	for _, a := range cast {
		c.jobs = append(c.jobs, a.job)
	}
	b := s.prepare(t, Options{Slots: 4, Room: sched.Demand{CPUs: 2.5}, Policy: &sched.Backfill{}, Trace: c.trace})
	_, sum := s.play(t, b, s.jobs())
	if sum.OK != len(cast) || c.most != 4 || c.overtook == 0 {
		t.Errorf("%+v, at most %d places taken, %d overtook", sum, c.most, c.overtook)
	}
}

// A job moved ahead that runs longer than was expected stands still when the head could begin, and
// goes on afterwards: with real processes.
func TestBackfillPauses(t *testing.T) {
	dir := t.TempDir()
	wait := func(name string) string { return "until test -e " + dir + "/" + name + "; do sleep 0.01; done" }
	hour := Expectation{Wall: time.Hour}
	job := func(text string, places int) Job {
		return Job{Command: Command{Text: text}, Need: sched.Demand{Places: places}, Expect: hour}
	}
	see := newStirred()
	b, err := New(Options{Slots: 4, Policy: &sched.Backfill{}, Trace: see.trace})
	if err != nil {
		t.Fatal(err)
	}
	ahead := job(wait("3"), 1)
	ahead.Expect.Wall = time.Minute
	const r, h, d = sched.Running, sched.Held, sched.Done
	go func() {
		see.until(r, sched.New, r)
		touch(t, dir, "1")
		see.until(d, r, h)
		touch(t, dir, "2")
		see.until(d, d, r)
		touch(t, dir, "3")
	}()
	got := make(map[int]Result)
	sum, err := b.Each(t.Context(), jobsOf(job(wait("1"), 3), job(wait("2"), 4), ahead), func(r *Result) error {
		got[r.Seq] = *r
		return nil
	})
	if err != nil || sum.OK != 3 || got[3].Paused == 0 || got[2].Paused > 0 {
		t.Errorf("%+v %v; job 3 was paused for %v", sum, err, got[3].Paused)
	}
}
