package sched

import "time"

// FCFS is first come, first served: jobs run in the order in which they became
// ready, each until it ends or waits. It is the fairest policy in waiting order and
// the worst in mean turnaround when a long job comes first (the convoy effect).
// Nothing starves: a job begins at the latest when all that came before it have
// ended. The zero value has no places until a Resize.
type FCFS struct {
	ordered
}

// Decide implements Policy.
func (f *FCFS) Decide(now time.Duration, events ...Event) []Decision { return f.decide(now, events, f) }

// String implements Policy.
func (f *FCFS) String() string { return "fcfs" }

func (f *FCFS) enter(_ time.Duration, e *entry) { f.queue.enter(e, 0) }

// RR is round robin: jobs take turns of a slice each, in the order in which they
// became ready. As the slice goes to zero it becomes processor sharing. Nothing
// starves: of n jobs that may run on m places each has a turn at least every n/m slices.
type RR struct {
	// Slice is the CPU time of a turn. 0: 100 ms, or 50 times the measured cost of a
	// pause and resume if that is more, but at most 1 s.
	Slice time.Duration

	ordered
}

// Decide implements Policy.
func (r *RR) Decide(now time.Duration, events ...Event) []Decision { return r.decide(now, events, r) }

// String implements Policy.
func (r *RR) String() string { return "rr" }

func (r *RR) enter(_ time.Duration, e *entry) { r.queue.enter(e, 0) }

func (r *RR) slice(*entry) time.Duration {
	if r.Slice > 0 {
		return r.Slice
	}
	return r.defaultSlice()
}
