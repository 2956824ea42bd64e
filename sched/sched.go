// Package sched decides in which order jobs run, and for how long at a time. Its
// policies are pure: an event and the time go in, decisions come out. They have
// no goroutines, no clock and no locks, so that a simulator and a live
// dispatcher can drive the same code.
package sched

import "time"

// Job names a job to a policy. Numbers are given by the caller and never reused.
type Job uint64

// EventKind says what has happened.
type EventKind uint8

// The events that a dispatcher reports.
const (
	// Arrive: a job is ready to run for the first time, or again after a failure.
	Arrive EventKind = iota
	// Finish: a job that was decided to run has ended, or could not be run.
	Finish
	// Resize: the number of places changed. The first event of all.
	Resize
)

// Event is something that happened to a job or to the machine.
type Event struct {
	Kind   EventKind
	Job    Job // of Arrive and Finish
	Places int // of Resize: how many jobs can run at once
}

// Action says what is to be done.
type Action uint8

// The actions that a policy can ask for.
const (
	// Run starts a job that has arrived.
	Run Action = iota
	// Pause stops a running job; it keeps its memory but uses no CPU.
	Pause
	// Resume lets a paused job run on.
	Resume
)

// Decision is an action and the job that it is for.
type Decision struct {
	Action Action
	Job    Job
}

// Policy orders jobs. Its caller reports every event, in the order in which
// they happened, from one goroutine at a time, and obeys every decision. now is
// the time since an arbitrary start and never goes back. The slice returned is
// valid until the next call.
type Policy interface {
	Decide(now time.Duration, e Event) []Decision
}
