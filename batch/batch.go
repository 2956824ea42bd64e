// Package batch runs many commands over a pool of supervised processes: an
// iterator of jobs goes in, a stream of results comes out.
//
//	for r, err := range batch.Run(ctx, jobs, batch.Options{Slots: 4}) { … }
//
// A job is a command with replacement strings and the values for them, or a
// plain command. Jobs are read as they are needed, started in the order that a
// policy of package sched decides, and ended with everything that they have
// started themselves. Every job that was read gets exactly one result, whatever
// dies. With a job log, a batch that was itself killed goes on where it was.
//
// Commands need Linux; elsewhere Run yields an error that says so
// ([errors.ErrUnsupported]). A program that runs batches must call brood.Init
// first thing in main, because a copy of it guards its child processes.
package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"syscall"
	"time"

	"github.com/brood-go/brood/internal/cgroup"
	"github.com/brood-go/brood/sched"
)

// Job is one command to run.
type Job struct {
	// Template is expanded with Values when the job starts; nil: Command runs.
	Template *Template
	// Values are the job's input, one for each input source; of several rows of the input,
	// those of one row after the other.
	Values []string
	// Total is the number of all jobs, for {##} in templates; 0: not known.
	Total int
	// Command is what runs without a Template. Of its two forms Argv is used if
	// it is not empty.
	Command Command
	// Input is what the job reads as its standard input; nil: the null device, or Options.Terminal.
	Input Input
	// Dir is the working directory; empty: Options.Dir.
	Dir string
	// Env is added to the environment of Options.
	Env []string

	// Expect is what the job is expected to need, as of earlier runs.
	Expect Expectation
	// Priority is for the policy of that name: a higher number is more urgent.
	Priority int
	// NoPause: the job must not be paused by a policy.
	NoPause bool
	// Need is what the job takes of the machine from its start to its end, for sched.Backfill:
	// places are Slots, CPUs and memory those of Options.Room.
	Need sched.Demand

	// Name is what After of other jobs names it by; several jobs may have the same.
	Name string
	// After are the names of the jobs that must have ended well before this one begins: all that
	// the input has, wherever they stand. So it begins when the whole input has been read, and is
	// held in memory until then. Its own name does not count. If one of them fails, is skipped or is
	// not there, or waits for this one, then this one is not run, and its Reason is Skipped.
	After []string
	// Err is why the job can't be run, as of Pack: it fails with it, and the others run.
	Err error

	// again is set for a job that --retry-failed took from the job log.
	again *logged
}

// Expectation is what a job is expected to need. What is 0 is unknown: of CPU time and
// memory the batch then goes by the jobs of the same Template that have ended.
type Expectation struct {
	Wall   time.Duration // running time, without time spent paused
	CPU    time.Duration // user and system time of the process tree
	Memory int64         // its peak, in bytes
}

// Output says what becomes of the jobs' standard output and error.
type Output int

// The ways of output.
const (
	// Grouped keeps a job's output until the job has ended; it is the Result's.
	// What is larger than a mebibyte goes to a temporary file without a name.
	Grouped Output = iota
	// Lines passes every line on to Options.Stdout or Stderr once it is whole.
	Lines
	// Through gives the jobs Options.Stdout and Stderr themselves.
	Through
)

// Options configures a batch. The zero value works.
type Options struct {
	// Slots is how many jobs run at once; 0: CPUs(). It may be Unlimited.
	Slots int
	// Degree is the degree of multiprogramming: how many jobs may have a process at
	// once. If it is more than Slots, a job that waits for something else than a CPU, or
	// that the policy pauses, makes room for another one: as many run at once as there are
	// Slots, and the rest of the processes wait or stand still. A policy that gives slices
	// (sched.RR, sched.MLFQ) has an effect only if it is more than Slots. 0: Slots.
	Degree int
	// MemFree is how much memory must be left free when another job is started, in bytes;
	// what the running ones are expected to take besides counts as taken. One job alone is
	// always started. 0: it does not matter.
	MemFree int64
	// MemKill is for when the jobs have taken more than was expected: when less memory than that
	// is free, in bytes, the youngest running job is ended and put back into the queue, unless it is
	// the only one. 0: it does not matter.
	MemKill int64
	// MemSuspend lets the youngest jobs stand still while memory is short: some of them when
	// less than twice as many bytes are free, all but the oldest one when less than as many.
	// MemFree is that much more. 0: never.
	MemSuspend int64
	// Load: no job is started while the machine has that many or more processes that run, want to
	// run or wait for a disk, whosever they are. 0: it does not matter.
	Load float64
	// NoSwap: no job is started while the machine both reads from its swap space and writes to it.
	NoSwap bool
	// DiskBusy: no job is started while the busiest disk was at work for more than this part of the
	// last second, 0 to 1. 0: it does not matter.
	DiskBusy float64
	// Limit is a command for the shell that is run before each start. Exit code 0: start the job;
	// 2: start none, and end the youngest running one, to be run again later; any other: start none.
	// After a refusal it is run again, after 0.1 s at first and every second later. What it writes
	// goes to Stderr. Empty: none.
	Limit string
	// Timeout bounds a job's running time, without time spent paused. 0: no bound.
	Timeout time.Duration
	// TimeoutPercent bounds it by so many percent of the median running time of the jobs that
	// have ended well so far, of those that run as well; before the first end there is no bound.
	// 0: no such bound.
	TimeoutPercent float64
	// CPU bounds the user and system time of a job's process tree. 0: no bound.
	CPU time.Duration
	// Memory bounds the memory of a job's process tree, in bytes. 0: no bound.
	Memory int64
	// Nice is added to the jobs' scheduling priority number.
	Nice int
	// Delay is the least time between two starts.
	Delay time.Duration
	// Tries is how often a job is run before it counts as failed; 0: once.
	Tries int
	// RetryDelay is the pause before the second try. It doubles with each further
	// one, up to a minute, and is jittered between half and all of itself. 0: 100 ms.
	RetryDelay time.Duration
	// Halt ends the batch early.
	Halt Halt
	// Dir is the jobs' working directory; empty: that of this process.
	Dir string
	// Env is the jobs' environment; nil: that of this process.
	Env []string
	// Shell runs the commands that need one; empty: DefaultShell().
	Shell string
	// Stop is how a job is asked to end; nil: TERM, 200 ms, TERM, 100 ms, TERM,
	// 50 ms, KILL. The last step is KILL whatever it says.
	Stop []Step
	// Stdin is what jobs read; nil: Terminal, or the null device. Several that run at once
	// take what they read from each other.
	Stdin *os.File
	// Terminal, if not nil, is what jobs read, each as its foreground process
	// group; Slots should be 1. nil: they read the null device.
	Terminal *os.File

	// Output says what becomes of the jobs' output.
	Output Output
	// KeepOrder delivers results in the order of the jobs.
	KeepOrder bool
	// Keep keeps the output for the Result also with Lines.
	Keep bool
	// Stdout and Stderr are where Lines and Through write; nil: those of this process.
	Stdout, Stderr io.Writer
	// Tag is expanded into Result.Tag and, with Lines, put in front of every line.
	Tag *Template
	// Paint makes of a job's tag what Lines puts in front of its lines; nil: the tag itself.
	Paint func(seq int, tag string) string
	// TempDir is where large outputs wait; empty: os.TempDir().
	TempDir string

	// JobLog is a file to which every ended job is added, in GNU parallel's
	// format. Beside it, JobLog.journal makes Resume possible, unless JobLog is no
	// file but a pipe or a device. Empty: none.
	JobLog string
	// Resume says which of the jobs that JobLog knows are run again.
	Resume Resume

	// Total is how many jobs the input has, for a Halt in percent; 0: it is known when the input
	// has ended.
	Total int
	// ReadAhead bounds the jobs that are read but not started; 0: 1,000, or 10,000 with a
	// policy that chooses among them.
	ReadAhead int
	// Policy orders the jobs; nil: first come, first served.
	Policy sched.Policy
	// Room is what jobs share under sched.Backfill, beside the Slots. CPUs, 0: CPUs(). Memory, 0: what
	// is available when the batch begins, without MemFree.
	Room sched.Demand
	// Runner starts the commands; nil: on this machine.
	Runner Runner
	// Started is called when a job starts, with Lines never in the middle of a
	// line. It must not block.
	Started func(seq, slot int, c Command)
	// Trace is called with every change of a job's state, one at a time; Change.Job is the
	// job's number in the input, Change.Place its slot. It must not block, nor call a method
	// of the batch.
	Trace func(sched.Change)
	// Observe is called with what the policy was told and decided, one at a time; both are
	// valid until it returns. It must not block, nor call a method of the batch.
	Observe func(now time.Duration, events []sched.Event, decisions []sched.Decision)
	// Measure keeps what each job took, for Summary.Outcomes.
	Measure bool

	// For tests: what package cgroup says otherwise.
	available func() (int64, error)
	load      func() (int, error)
	swapped   func() (in, out int64, err error)
	disks     func() (map[string]time.Duration, error)
}

// Resume says what happens to jobs that the job log already knows.
type Resume int

// The ways to resume.
const (
	// Fresh begins a new job log.
	Fresh Resume = iota
	// Unfinished runs the jobs that have not ended.
	Unfinished
	// Failed runs the jobs that have not ended and those that failed.
	Failed
	// Retry runs the jobs that FailedJobs took from the job log.
	Retry
)

// Step is one step of a stop sequence: a signal to the whole process tree and
// the pause before the next step.
type Step struct {
	Signal syscall.Signal
	Wait   time.Duration
}

// Reason says why a job ended.
type Reason string

// The reasons.
const (
	Exited     Reason = "exit"        // by itself, with an exit code
	Signaled   Reason = "signal"      // by a signal from elsewhere
	Timeout    Reason = "timeout"     // its running time was used up
	CPUTime    Reason = "cpu"         // its CPU time was used up
	Memory     Reason = "memory"      // it needed more memory than it may
	Cancelled  Reason = "cancelled"   // the batch was stopped
	Lost       Reason = "lost"        // how it ended could not be learned
	NotStarted Reason = "not started" // it could not be started
	Skipped    Reason = "skipped"     // it was not run, because one that it was to run after failed
)

// Report is how a job ended and what it used.
type Report struct {
	PID      int
	ExitCode int            // -1 if a signal ended it
	Signal   syscall.Signal // 0 if it exited
	Reason   Reason
	Start    time.Time
	End      time.Time
	Paused   time.Duration // part of the time from Start to End
	User     time.Duration // CPU time of the process tree
	System   time.Duration
	// PeakMemory is the most memory that the tree had, in bytes. PeakSource says
	// how that is known: "cgroup", "sampled" or "unknown".
	PeakMemory int64
	PeakSource string
	// Left is how many processes of the tree outlived the command and were stopped.
	Left int
}

// Result is one job's outcome. Its output can be read until the consumer asks
// for the next result.
type Result struct {
	Seq     int // the job's number in the input, from 1; with Retry that in the job log
	Slot    int // the place where it ran, from 1
	Try     int // from 1
	Values  []string
	Command string // as a shell would take it
	Dir     string
	Tag     string
	Wait    time.Duration // from being read to the (first) start
	Waits   Waits         // what it waited for, before the start and later
	Blocked time.Duration // it waited for something else than brood, as far as was watched
	// Resident is the most resident memory that was seen of its process tree, in bytes; 0: unknown.
	Resident int64
	Expect   Expectation // what it was expected to need
	Report
	// Err says why the command could not be started, or its output not be kept.
	Err error

	stdout, stderr *buffer
	sent           int64 // size of its input
}

// OK reports whether the job ran and exited with code 0.
func (r *Result) OK() bool { return r.Reason == Exited && r.ExitCode == 0 && r.Err == nil }

// Code is the exit code that a shell would show: 128 and the signal's number
// for a job that was ended by one.
func (r *Result) Code() int {
	switch {
	case r.Signal != 0:
		return 128 + int(r.Signal)
	case r.ExitCode < 0 || r.ExitCode == 0 && !r.OK():
		return 1
	}
	return r.ExitCode
}

// Stdout and Stderr are the job's output, empty unless it was kept. Each call
// reads it from the start.
func (r *Result) Stdout() io.Reader { return r.stdout.reader() }

// Stderr is like Stdout.
func (r *Result) Stderr() io.Reader { return r.stderr.reader() }

// StdoutLen and StderrLen are the sizes of what was kept, in bytes.
func (r *Result) StdoutLen() int64 { return r.stdout.len() }

// StderrLen is like StdoutLen.
func (r *Result) StderrLen() int64 { return r.stderr.len() }

// Runtime is how long the job ran, without the time it was paused.
func (r *Result) Runtime() time.Duration { return r.End.Sub(r.Start) - r.Paused }

// Summary is what became of a batch.
type Summary struct {
	Jobs    int // read from the input
	Done    int // ended, one way or another
	OK      int
	Failed  int
	Reasons map[Reason]int // of the failed ones
	NotRun  int            // read, but not run because the batch was stopped
	Skipped int            // ended in an earlier run
	Evicted int            // how often a job was ended to make room, and put back
	Halted  bool           // by Options.Halt
	// HaltCode is the exit code of the job whose failure halted a batch that
	// was to halt at the first one.
	HaltCode int
	Start    time.Time
	Wall     time.Duration
	CPU      time.Duration // of all jobs
	Wait     time.Duration // of all jobs together, from being read to the start
	// Notes say what was noticed about the input.
	Notes []string
	// Expected is how long the jobs that have ended were expected to run, those of which
	// something was known, and Took how long these ran.
	Expected, Took time.Duration
	// Outcomes are the jobs that have ended by themselves at the first try, with
	// Options.Measure: at most the first MaxOutcomes to end.
	Outcomes []sched.Outcome

	halt       Halt // what was to halt it
	haltFailed int  // of Failed, those that had failed when it was halted
	total      int  // jobs in all, 0 if it was not known
}

// ExitCode is GNU parallel's: 0 if all is well, else the number of failed jobs
// up to 100, 101 for more. A batch that was halted by the first failure ends with
// that job's code, one that was halted by successes with 0: they were all that
// was wanted. With a Halt in percent it is the percentage of failed jobs, rounded up.
// What ended after a batch was halted does not count.
func (s *Summary) ExitCode() int {
	switch {
	case s.Halted && s.halt.On == OnSuccess:
		return 0
	case s.Halted && s.HaltCode != 0:
		return s.HaltCode
	}
	failed, all := s.Failed, s.Done
	if s.Halted {
		failed, all = s.haltFailed, cmp.Or(s.total, s.Done)
	}
	if s.halt.Percent > 0 && failed > 0 { // GNU parallel counts percents then
		return (failed*100 + all - 1) / all
	}
	return min(failed, 101)
}

// Run runs jobs and yields their results: in the order of their ends, or with
// KeepOrder in that of the jobs. An error is yielded last: that of the input,
// of the output or of ctx. When the consumer stops early the running jobs are
// terminated; their results are lost, but not from the job log, which has them as not done.
// Each does the same with a function to deliver to.
func Run(ctx context.Context, jobs iter.Seq2[Job, error], o Options) iter.Seq2[*Result, error] {
	return func(yield func(*Result, error) bool) {
		b, err := New(o)
		if err != nil {
			yield(nil, err)
			return
		}
		results := make(chan *Result)
		taken := make(chan bool)
		var final error
		go func() {
			_, final = b.Each(ctx, jobs, func(r *Result) error {
				results <- r
				if !<-taken {
					return errStopped
				}
				return nil
			})
			close(results)
		}()
		going := true
		for r := range results {
			going = going && yield(r, nil)
			taken <- going
		}
		if final != nil && going {
			yield(nil, final)
		}
	}
}

// errStopped is a consumer that wants no more.
var errStopped = errors.New("batch: the consumer stopped")

// withDefaults fills in what the zero value stands for.
func (o Options) withDefaults() Options {
	if o.Slots == 0 {
		o.Slots = CPUs()
	}
	if o.Tries == 0 {
		o.Tries = 1
	}
	if o.RetryDelay == 0 {
		o.RetryDelay = 100 * time.Millisecond
	}
	if o.Env == nil {
		o.Env = os.Environ()
	}
	if o.Shell == "" {
		o.Shell = DefaultShell()
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.TempDir == "" {
		o.TempDir = os.TempDir()
	}
	if o.Policy == nil {
		o.Policy = &sched.FCFS{}
	}
	if _, ok := o.Policy.(sched.Chooser); o.ReadAhead == 0 && ok {
		o.ReadAhead = 10_000
	} else if o.ReadAhead == 0 {
		o.ReadAhead = 1000
	}
	if o.Runner == nil {
		o.Runner = local{nice: o.Nice}
	}
	if o.available == nil {
		o.available = cgroup.MemoryAvailable
	}
	if o.load == nil {
		o.load, o.swapped, o.disks = cgroup.Load, cgroup.Swapped, cgroup.DiskTimes
	}
	if _, ok := o.Policy.(*sched.Backfill); ok {
		o.setRoom()
	}
	return o
}

// pausedMost is how many jobs sched.Backfill may have paused.
const pausedMost = 64

// setRoom fills in what sched.Backfill needs to know.
func (o *Options) setRoom() {
	if o.Degree == 0 {
		o.Degree = min(o.Slots+pausedMost, Unlimited)
	}
	if o.Room.CPUs == 0 {
		o.Room.CPUs = float64(CPUs())
	}
	if o.Room.Memory == 0 {
		if free, err := o.available(); err == nil {
			o.Room.Memory = max(free-o.MemFree, 1)
		}
	}
}

const (
	mostPercent = 1_000_000
	mostMemory  = 1 << 60
)

// validate says what can't be meant.
func (o *Options) validate() error {
	switch {
	case o.Slots < 0:
		return fmt.Errorf("batch: %d slots: use at least 1, or 0 for one per CPU", o.Slots)
	case o.Timeout < 0 || o.CPU < 0 || o.Memory < 0 || o.Delay < 0 || o.RetryDelay < 0:
		return errors.New("batch: a limit or delay is negative: use 0 for none")
	case o.Degree < 0 || o.MemFree < 0 || o.MemKill < 0 || o.MemSuspend < 0 || o.Load < 0 || o.DiskBusy < 0:
		return errors.New("batch: Degree, MemFree, MemKill, MemSuspend, Load and DiskBusy can't be negative")
	case o.Timeout > 0 && o.TimeoutPercent != 0:
		return errors.New("batch: Timeout and TimeoutPercent bound the same: use one of them")
	case !(o.TimeoutPercent >= 0 && o.TimeoutPercent <= mostPercent):
		return fmt.Errorf("batch: TimeoutPercent must be a number from 0 to %d", mostPercent)
	case max(o.MemFree, o.MemSuspend, o.MemKill) > mostMemory:
		return errors.New("batch: MemFree, MemSuspend or MemKill is more than any machine has")
	case o.Tries < 0 || o.ReadAhead < 0:
		return errors.New("batch: Tries and ReadAhead can't be negative")
	case o.Resume != Fresh && o.JobLog == "":
		return errors.New("batch: to resume needs the job log of the earlier run: set JobLog")
	}
	return nil
}
