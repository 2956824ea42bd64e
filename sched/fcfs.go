package sched

import "time"

// FCFS is first come, first served: jobs run in the order of their arrival,
// each to its end. It is the fairest policy in waiting order and the worst in
// mean response time when a long job comes first (the convoy effect).
// The zero value has no places until a Resize.
type FCFS struct {
	places, running int
	ready           []Job // those from head on wait
	head            int
	out             []Decision
}

// Decide implements Policy. It takes constant time, spread over the calls.
func (f *FCFS) Decide(_ time.Duration, e Event) []Decision {
	switch e.Kind {
	case Arrive:
		f.ready = append(f.ready, e.Job)
	case Finish:
		f.running--
	case Resize:
		f.places = e.Places
	}
	f.out = f.out[:0]
	for f.running < f.places && f.head < len(f.ready) {
		f.out = append(f.out, Decision{Run, f.ready[f.head]})
		f.head++
		f.running++
	}
	if f.head > 32 && f.head > len(f.ready)/2 {
		f.ready = f.ready[:copy(f.ready, f.ready[f.head:])]
		f.head = 0
	}
	return f.out
}
