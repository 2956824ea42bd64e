package sched

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Workload is a list of jobs for Simulate.
type Workload []Work

// Work is one job of a workload: when it comes and what it does.
type Work struct {
	Name   string        // for people
	Arrive time.Duration // since the start
	// Bursts are what it does in turns, beginning with the CPU: compute, wait, compute,
	// and so on. A burst of 0 is left out: {0, wait, compute} begins by waiting.
	Bursts   []time.Duration
	Expect   time.Duration // the CPU time that Given tells the policy; 0: unknown
	Priority int           // a higher number is more urgent
	NoPause  bool          // it must not be paused
	Need     Demand        // what it takes of the machine from its start to its end
}

// CPU is the CPU time that it needs in all.
func (w *Work) CPU() (d time.Duration) {
	for i := 0; i < len(w.Bursts); i += 2 {
		d += w.Bursts[i]
	}
	return d
}

// Waits is the time in all that it waits for something.
func (w *Work) Waits() (d time.Duration) {
	for i := 1; i < len(w.Bursts); i += 2 {
		d += w.Bursts[i]
	}
	return d
}

// Alone is how long it takes when it has a CPU for itself.
func (w *Work) Alone() time.Duration { return w.CPU() + w.Waits() }

// CPU is the CPU time of all jobs.
func (w Workload) CPU() (d time.Duration) {
	for i := range w {
		d += w[i].CPU()
	}
	return d
}

// label is what a job is called.
func (w *Work) label(i int) string { return cmp.Or(w.Name, fmt.Sprint(i+1)) }

// maxTime bounds what a workload takes in all, so that no sum overflows.
const maxTime = 100 * 365 * 24 * time.Hour

// validate says what can't be simulated.
func (w Workload) validate() error {
	total := time.Duration(0)
	for i := range w {
		j := &w[i]
		if j.Arrive < 0 {
			return fmt.Errorf("sched: job %s arrives at %v: use 0 for the start", j.label(i), j.Arrive)
		}
		if j.Expect < 0 {
			return fmt.Errorf("sched: job %s is expected to take %v: use 0 if nothing is known", j.label(i), j.Expect)
		}
		if slices.ContainsFunc(j.Bursts, func(d time.Duration) bool { return d < 0 }) {
			return fmt.Errorf("sched: job %s has a burst of negative length", j.label(i))
		}
		for _, d := range j.Bursts {
			if total += d; total > maxTime {
				return fmt.Errorf("sched: the workload takes more than a hundred years: are its times in the right unit?")
			}
		}
		if j.Arrive > maxTime {
			return fmt.Errorf("sched: job %s arrives after %v, more than a hundred years: are its times in the right unit?", j.label(i), j.Arrive)
		}
	}
	return nil
}

// byArrival lists the jobs' numbers in the order of their arrival.
func (w Workload) byArrival() []int {
	order := make([]int, len(w))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(w[a].Arrive, w[b].Arrive) })
	return order
}
