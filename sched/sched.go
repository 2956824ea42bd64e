// Package sched decides in which order jobs run, and for how long at a time. Its
// policies are pure: an event and the time go in, decisions come out. They have
// no goroutines, no clock and no locks, so that the simulator of this package
// (Simulate) and a live dispatcher drive the same code.
//
// # The machine
//
// There are places (CPUs), and jobs. A job that has arrived waits until the policy
// runs it; from then on it has begun, and takes memory until its end. On a place it
// uses the CPU. It leaves the place when it ends, when it waits for something (it
// is blocked), or when the policy pauses it. What has begun and could run, but has no
// place, is ready, like what has not begun. The degree of multiprogramming bounds
// how many have begun and not ended: when it is reached, only those go on.
//
// # Terms
//
// Turnaround is the time from a job's arrival to its end (queueing theory calls it
// the response time), response that to its first moment on a place, waiting the part
// of the turnaround in which it neither ran nor was blocked, slowdown the turnaround
// divided by what the job would have taken alone. After Arpaci-Dusseau, Operating
// Systems: Three Easy Pieces, and Silberschatz, Operating System Concepts.
package sched

import (
	"fmt"
	"strings"
	"time"
)

// Job names a job to a policy. Numbers are given by the caller and never reused.
type Job uint64

// EventKind says what has happened.
type EventKind uint8

// The events that a dispatcher reports.
const (
	// Arrive: a job is ready to run for the first time, or again after a failure.
	Arrive EventKind = iota
	// Finish: a job has ended, or could not be run, or was taken back. It may be in
	// any state.
	Finish
	// Resize: the number of places or the degree changed. The first event of all.
	Resize
	// Slice: a running job has used up the slice that it was given.
	Slice
	// Block: a job that has begun, or was just told to, waits for something.
	Block
	// Wake: a blocked job could run on. It does not before Resume.
	Wake
	// Paused: a job stands still as was decided; CPU is now exact.
	Paused
	// Alarm: the time that the last decision SetAlarm named has come.
	Alarm
)

var eventNames = [...]string{"arrive", "finish", "resize", "slice", "block", "wake", "paused", "alarm"}

// String is the kind in one word.
func (k EventKind) String() string { return nameOf(eventNames[:], int(k)) }

// Event is something that happened to a job or to the machine.
type Event struct {
	Kind EventKind
	Job  Job // of all but Resize and Alarm

	// Of Resize.
	Places int // how many jobs can run at once
	Degree int // how many may have begun and not ended; 0: any number
	// Room is what jobs share beside the places: CPUs and memory. 0: any amount. Only Backfill
	// goes by it.
	Room Demand

	// Of Arrive.
	Expect   time.Duration // the CPU time that the job is expected to need in all; 0: unknown
	Priority int           // a higher number is more urgent
	NoPause  bool          // it must not be paused once it runs
	Need     Demand        // what it takes of the machine; only Backfill goes by it
	Length   time.Duration // how long it is expected to run, or may at most; 0: unknown; for Backfill

	// Of Finish, Slice, Block, Wake and Paused.
	CPU time.Duration // that the job has used so far in all

	// Of Paused.
	Cost time.Duration // what pausing it and resuming it again costs, as measured; 0: unknown
}

// Action says what is to be done.
type Action uint8

// The actions that a policy can ask for.
const (
	// Run starts a job that has arrived.
	Run Action = iota
	// Pause stops a running job; it keeps its memory but uses no CPU.
	Pause
	// Resume lets a job run on: one that was paused or blocked, or one that runs
	// and has used up its slice.
	Resume
	// SetAlarm asks for an Alarm at a time. It replaces the alarm that was set before.
	SetAlarm
)

var actionNames = [...]string{"run", "pause", "resume", "alarm"}

// String is the action in one word.
func (a Action) String() string { return nameOf(actionNames[:], int(a)) }

// Decision is an action and the job that it is for.
type Decision struct {
	Action Action
	Job    Job
	// Slice, of Run and Resume, is the CPU time after which the policy wants to be
	// asked again, by an event Slice; 0: never.
	Slice time.Duration
	At    time.Duration // of SetAlarm
}

// Policy orders jobs. Its caller reports every event, in the order in which they
// happened, those of one moment together, from one goroutine at a time, and obeys every
// decision in its order. now is the time since an arbitrary start and never goes
// back. The slice returned is valid until the next call. A policy serves one
// machine and one run.
type Policy interface {
	Decide(now time.Duration, events ...Event) []Decision
	// String is the policy's name in lower case, as ByName takes it.
	String() string
}

// Leveler is a policy that sorts jobs into levels, 0 the highest.
type Leveler interface {
	Policy
	// Level is where a job that has not ended is now.
	Level(Job) int
}

// Chooser is a policy that chooses among the jobs that wait by what is known of them:
// it does the better, the more of them it has seen before it begins.
type Chooser interface {
	Policy
	chooses()
}

// Names are the policies that ByName knows.
var Names = []string{"fcfs", "sjf", "lpt", "rr", "mlfq", "srpt", "priority", "backfill"}

// ByName makes a policy with its defaults. srpt is clairvoyant: where expectations
// are estimates, use SRPT{} itself.
func ByName(name string) (Policy, error) {
	switch strings.ToLower(name) {
	case "fcfs", "fifo":
		return &FCFS{}, nil
	case "sjf":
		return &SJF{}, nil
	case "lpt":
		return &LPT{}, nil
	case "rr":
		return &RR{}, nil
	case "mlfq":
		return &MLFQ{}, nil
	case "srpt":
		return &SRPT{Clairvoyant: true}, nil
	case "priority":
		return &Priority{}, nil
	case "backfill":
		return &Backfill{}, nil
	}
	return nil, fmt.Errorf("sched: %q is no policy: use one of %s", name, strings.Join(Names, ", "))
}

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprint(i)
}
