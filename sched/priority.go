package sched

import (
	"math"
	"time"
)

// Priority runs the most urgent ready job next: that with the highest number, and
// of equal ones the one that became ready first.
type Priority struct {
	// Ageing is the waiting time that raises a ready job's priority by one, so that
	// nothing starves: a job of priority p waits at most (q-p) times Ageing longer than
	// if it were of priority q. 0: priorities are fixed.
	Ageing time.Duration
	// Preempt: a more urgent job takes the place of a running one.
	Preempt bool

	ordered
}

// Decide implements Policy.
func (p *Priority) Decide(now time.Duration, events ...Event) []Decision {
	p.victims.largest, p.fixed = true, !p.Preempt
	return p.decide(now, events, p)
}

// String implements Policy.
func (p *Priority) String() string { return "priority" }

func (p *Priority) chooses() {}

// enter ranks by a number that stands still while the priorities of all that wait
// rise together: how many steps of ageing from the start it would be, or was, of priority
// 0, in whole steps and the rest.
func (p *Priority) enter(_ time.Duration, e *entry) {
	e.rank, e.sub = -p.bounded(e), 0
	if p.Ageing > 0 {
		e.rank += int64(e.readyAt / p.Ageing)
		e.sub = int64(e.readyAt % p.Ageing)
	}
	p.queue.enter(e, 0)
}

// bounded is the priority, so that no sum of it overflows.
func (p *Priority) bounded(e *entry) int64 {
	const most = math.MaxInt64 / 4
	return min(max(int64(e.priority), -most), most)
}

// aged is the priority of an entry that waits since readyAt, in whole steps: with
// parts of steps equals would take each other's places all the time.
func (p *Priority) aged(now time.Duration, e *entry) int64 {
	if p.Ageing <= 0 {
		return p.bounded(e)
	}
	return p.bounded(e) + int64((now-e.readyAt)/p.Ageing)
}

func (p *Priority) placed(now time.Duration, e *entry) { e.rank, e.sub = -p.aged(now, e), 0 }

func (p *Priority) beats(now time.Duration, e, v *entry) bool {
	return p.aged(now, e) > -v.rank
}
