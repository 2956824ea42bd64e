package sched

import (
	"math"
	"slices"
	"time"
)

// Outcome is what became of one job, simulated or real.
type Outcome struct {
	Name        string
	Arrive      time.Duration // all times since the start
	First       time.Duration // when it was first on a place; negative: never
	End         time.Duration
	CPU         time.Duration
	Blocked     time.Duration // it waited for something
	Waiting     time.Duration // it neither ran nor was blocked
	Preemptions int           // how often it was paused
}

// Turnaround is the time from its arrival to its end.
func (o *Outcome) Turnaround() time.Duration { return o.End - o.Arrive }

// Response is the time from its arrival to its first moment on a place.
func (o *Outcome) Response() time.Duration { return max(o.First-o.Arrive, 0) }

// Slowdown is its turnaround divided by what it would have taken alone; 1 for a job
// that takes no time and does not wait.
func (o *Outcome) Slowdown() float64 {
	alone := o.CPU + o.Blocked
	switch {
	case alone > 0:
		return float64(o.Turnaround()) / float64(alone)
	case o.Turnaround() <= 0:
		return 1
	}
	return math.Inf(1)
}

// Spread describes many numbers by a few. The percentiles are by the nearest rank.
type Spread[T ~int64 | ~float64] struct{ Mean, P50, P95, P99, Max T }

// Summary says how a policy did. Which jobs there were is not in it.
type Summary struct {
	Jobs                          int
	Waiting, Turnaround, Response Spread[time.Duration]
	Slowdown                      Spread[float64]
	Makespan                      time.Duration // from the first arrival to the last end
	Throughput                    float64       // jobs per second of it
	CPUUse                        float64       // the part of the CPUs' time that jobs used, 0 to 1
	Preemptions                   int
	Switches                      int // how often a CPU went from one job to another; simulated only
	// Fairness is Jain's index of what share of the machine each job felt it had (1 by
	// its slowdown): 1 if all were slowed down alike, 1/n if one had everything. (Jain, Chiu,
	// Hawe, 1984.)
	Fairness float64
}

// Summarise summarises the outcomes of jobs on a number of CPUs.
func Summarise(jobs []Outcome, cpus int) Summary {
	s := Summary{Jobs: len(jobs)}
	if len(jobs) == 0 {
		return s
	}
	n := len(jobs)
	wait, turn, resp, slow := make([]time.Duration, n), make([]time.Duration, n), make([]time.Duration, n), make([]float64, n)
	first, last, cpu := jobs[0].Arrive, time.Duration(0), time.Duration(0)
	var shares, squares float64
	for i := range jobs {
		o := &jobs[i]
		wait[i], turn[i], resp[i], slow[i] = o.Waiting, o.Turnaround(), o.Response(), o.Slowdown()
		first, last = min(first, o.Arrive), max(last, o.End)
		cpu += o.CPU
		s.Preemptions += o.Preemptions
		share := 1 / max(slow[i], math.SmallestNonzeroFloat64)
		shares += share
		squares += share * share
	}
	s.Waiting, s.Turnaround, s.Response, s.Slowdown = spread(wait), spread(turn), spread(resp), spread(slow)
	s.Makespan = last - first
	if s.Makespan > 0 {
		s.Throughput = float64(n) / s.Makespan.Seconds()
		s.CPUUse = float64(cpu) / (float64(s.Makespan) * float64(max(cpus, 1)))
	}
	if squares > 0 {
		s.Fairness = shares * shares / (float64(n) * squares)
	}
	return s
}

// spread sorts values.
func spread[T ~int64 | ~float64](values []T) Spread[T] {
	slices.Sort(values)
	var sum float64
	for _, v := range values {
		sum += float64(v)
	}
	rank := func(q float64) T {
		return values[max(int(math.Ceil(q*float64(len(values))))-1, 0)]
	}
	return Spread[T]{
		Mean: T(sum / float64(len(values))), P50: rank(0.5), P95: rank(0.95), P99: rank(0.99), Max: values[len(values)-1],
	}
}
