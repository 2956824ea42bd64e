package sched

import "time"

// sized is a ready queue by expected CPU time. A job of which nothing is known counts
// as long as the mean of those before it of which something is.
type sized struct {
	ordered
	sum   time.Duration
	known int
}

// expectation fills in what is not known.
func (s *sized) expectation(e *entry) {
	switch {
	case e.begun || e.expect < 0:
	case e.expect > 0:
		s.sum += e.expect
		s.known++
	case s.known > 0:
		e.expect = s.sum / time.Duration(s.known)
	}
}

func (s *sized) chooses() {}

// SJF is shortest job first: of the jobs that are ready the one with the shortest
// expected CPU time in all runs next, until it ends or waits. Of all policies that
// do not preempt it has the smallest mean turnaround of jobs that come together.
type SJF struct {
	// Patience is how long a job waits in all before it goes first whatever its length; 0: for
	// ever, so that a steady stream of short jobs starves a long one. In a batch that
	// ends nothing can wait longer than all the others take.
	Patience time.Duration

	sized
}

// Decide implements Policy.
func (s *SJF) Decide(now time.Duration, events ...Event) []Decision { return s.decide(now, events, s) }

// String implements Policy.
func (s *SJF) String() string { return "sjf" }

func (s *SJF) enter(_ time.Duration, e *entry) {
	s.expectation(e)
	e.rank = int64(e.expect)
	s.queue.enter(e, s.Patience)
}

// LPT is longest processing time first: the longest ready job runs next, until it
// ends or waits. It is for batches whose end matters and nothing before: the makespan
// of jobs that come together is at most 4/3 - 1/(3m) of the best possible on m
// places (Graham 1969), and long jobs are not left for last.
type LPT struct {
	// Patience is how long a job waits in all before it goes first whatever its length; 0: for
	// ever.
	Patience time.Duration

	sized
}

// Decide implements Policy.
func (l *LPT) Decide(now time.Duration, events ...Event) []Decision { return l.decide(now, events, l) }

// String implements Policy.
func (l *LPT) String() string { return "lpt" }

func (l *LPT) enter(_ time.Duration, e *entry) {
	l.expectation(e)
	e.rank = -int64(e.expect)
	l.queue.enter(e, l.Patience)
}

// SRPT is shortest remaining processing time: a job that has less to do than a
// running one takes its place. On one CPU no policy has a smaller mean turnaround
// (Schrage 1968), if lengths are known. By estimate it ranks by the expected total
// and never counts it down: a job that was thought short and is not would else
// seem to be almost done for ever.
type SRPT struct {
	// Clairvoyant: expectations are exact, and what was used is taken off them.
	Clairvoyant bool
	// Patience is how long a job waits in all before it goes first and keeps its place,
	// whatever its length, from the next event on; 0: for ever.
	Patience time.Duration

	sized
}

// Decide implements Policy.
func (s *SRPT) Decide(now time.Duration, events ...Event) []Decision {
	s.victims.largest = true
	return s.decide(now, events, s)
}

// String implements Policy.
func (s *SRPT) String() string { return "srpt" }

// remaining is what an entry still needs, as far as it was charged.
func (s *SRPT) remaining(e *entry) time.Duration {
	if s.Clairvoyant {
		return max(e.expect-e.used, 0)
	}
	return e.expect
}

func (s *SRPT) enter(_ time.Duration, e *entry) {
	s.expectation(e)
	e.rank = int64(s.remaining(e))
	s.queue.enter(e, s.Patience)
}

// placed ranks a running entry by when it will be done: all of them come nearer to
// their ends at the same speed, so that the ranks need not be touched.
func (s *SRPT) placed(now time.Duration, e *entry) {
	e.rank = int64(s.remaining(e))
	if s.Clairvoyant {
		e.rank += int64(now)
	}
}

func (s *SRPT) beats(now time.Duration, e, v *entry) bool {
	if e.late {
		return true
	}
	left := v.rank
	if s.Clairvoyant {
		left -= int64(now)
	}
	return e.rank < left
}
