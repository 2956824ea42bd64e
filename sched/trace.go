package sched

import "time"

// State is what a job is doing.
type State uint8

// The states of a job. A trace begins with New and ends with Done.
const (
	// New: it has come and is not in memory yet.
	New State = iota
	// Ready: it is in memory, has never run, and waits for a place.
	Ready
	// Running: it is on a place.
	Running
	// Blocked: it waits for something.
	Blocked
	// Held: it has begun and could run on, but has no place: it was paused, or what it
	// waited for has come. Textbooks call this ready, too.
	Held
	// Done: it has ended.
	Done
)

var stateNames = [...]string{"new", "ready", "running", "blocked", "paused", "done"}

// String is the state in one word.
func (s State) String() string { return nameOf(stateNames[:], int(s)) }

// Cause says why a job changed its state.
type Cause uint8

// The causes, in the order of a job's life.
const (
	Arrives     Cause = iota // it has come
	Admitted                 // it is in memory
	Dispatched               // it was given a place
	SliceUsedUp              // it ran for its slice, and others wait
	Preempted                // another job took its place
	Waits                    // it waits for something
	WaitOver                 // what it waited for has come
	MovedDown                // it used up its allotment at a level, and runs on
	Boosted                  // it is back at the highest level, and runs
	Exits                    // it has ended
)

var causeNames = [...]string{"arrives", "admitted", "dispatched", "slice used up", "preempted", "waits", "wait over", "moved down", "boosted", "exits"}

// String is the cause in a word or a few.
func (c Cause) String() string { return nameOf(causeNames[:], int(c)) }

// Change is one step of a trace: from At on the job is in State.
type Change struct {
	At    time.Duration
	Job   Job
	State State
	Cause Cause
	Place int // of Running: which CPU or slot, from 1
	Level int // of a Leveler: where the job is, 0 the highest
}

// Span is a stretch of time that a job spent in one state.
type Span struct {
	Job      Job
	State    State
	Place    int
	Level    int
	From, To time.Duration
}

// Spans turns a trace into stretches, in the order of their begins; those of length 0 are
// left out. What has no end in the trace ends at end. A job may begin anew after Done, as
// one that failed and is tried again does.
func Spans(trace []Change, end time.Duration) []Span {
	var spans []Span
	open := make(map[Job]int) // where a job's last stretch is
	for _, c := range trace {
		if i, ok := open[c.Job]; ok {
			spans[i].To = c.At
		}
		if c.State == Done {
			delete(open, c.Job)
			continue
		}
		open[c.Job] = len(spans)
		spans = append(spans, Span{Job: c.Job, State: c.State, Place: c.Place, Level: c.Level, From: c.At, To: end})
	}
	kept := spans[:0]
	for _, s := range spans {
		if s.To > s.From {
			kept = append(kept, s)
		}
	}
	return kept
}
