package batch

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Runner is where commands run: this machine, or one day another.
type Runner interface {
	// Open opens place number slot (0 for the command of Options.Limit) on a goroutine of its own and calls use there,
	// with the place or with the reason why there is none. When use returns the
	// place is closed. Open itself does not wait.
	Open(slot int, use func(Slot, error))
}

// Slot is a place that runs one command at a time.
type Slot interface {
	// Run starts a command and returns when its whole process tree has ended and
	// its output is passed on. started is called once it runs. An error means
	// that it could not be started, or that its output could not be passed on.
	Run(s *Start, started func(Running)) (Report, error)
}

// Running is a command that runs. Its methods may be called by any goroutine,
// also when it has ended.
type Running interface {
	// PID is the process id, on the machine where it runs.
	PID() int
	// Stop begins the stop sequence. It does not wait.
	Stop()
	// Kill ends the process tree at once. It does not wait.
	Kill()
	// SetTimeout changes Start.Timeout: the time counts from the start, without what it was paused. It
	// does not wait.
	SetTimeout(d time.Duration)
	// Pause returns when the whole process tree uses no more CPU. ErrNotPaused says
	// that it did not stand still in a short time and runs on; another try may do.
	Pause(ctx context.Context) error
	// Resume lets a paused tree run on.
	Resume() error
	// Look reports what the tree does at this moment; with memory also how much it has.
	// An error means that it has ended.
	Look(memory bool) (Activity, error)
}

// Activity is what a process tree does at one moment.
type Activity struct {
	CPU      time.Duration // user and system time so far
	Memory   int64         // resident, in bytes
	Runnable bool          // a part of it runs or wants to run; false: all of it waits for something
}

// ErrNotPaused is returned by Running.Pause for a tree that runs on.
var ErrNotPaused = errors.New("batch: the process tree did not stand still in time; it runs on")

// Start is what a Slot is to start.
type Start struct {
	Path           string   // the program's file
	Argv           []string // with the program's name first
	Dir            string
	Env            []string
	Stdin          *os.File // nil: the null device
	Stdout, Stderr io.Writer
	Terminal       *os.File
	Timeout, CPU   time.Duration
	Memory         int64
	Stop           []Step
}
