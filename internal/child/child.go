// Package child starts and supervises operating-system processes. It is the
// only place in the module that starts one.
//
// # Layout
//
// A Slot is a place where one process tree at a time runs. The goroutine that
// opens a slot is locked to its OS thread until Close, because Linux ties both
// the parent-death signal and (in cgroup v1) the birth cgroup of a child to
// the thread that forked it. That same thread then is a small reactor: it
// sleeps in ppoll on the leader's pidfd, the output pipes, the slot's wake
// eventfd, the cgroup's event file and the out-of-memory eventfd, and it alone
// runs the stop sequence, the limits and the reaping. No goroutine, timer or
// channel is made per child, and no thread is changed on the way from one
// child's end to the next one's start.
//
// All slots of a process belong to one family: a random mark, a lifeline pipe,
// a cgroup v2 directory where a subtree is writable, and the warden, a process
// of this same executable that survives a SIGKILL of ours and then ends what is
// left. The first Open makes the family, the last Close ends it.
//
// # What a tree is
//
// The leader and all its descendants. With cgroup v2: the slot's cgroup, from
// which an unprivileged process cannot move out of. Without: the leader's process
// group, its descendants by parent pid, and every process whose environment
// carries the tree's mark in BROOD_TREE, which setsid does not remove. The one
// stated limit: without a cgroup, a process that left the session, cleared its
// environment and was orphaned is not found.
//
// Without a cgroup, all of /proc is searched to signal a tree. To see what it uses,
// which is done again and again, the kernel's lists of children are followed from
// what was seen before, and the search is made when it is cheap.
//
// # Ownership
//
//   - Slot fields: the slot's thread alone, except wakefd, which anyone may write,
//     and what the last scan cost. Of its cgroup, others read the descriptors and
//     the files, and not the fields that change.
//   - Proc: its mutex guards what other goroutines ask for (stop, pause), what is
//     remembered from look to look (watch) and the ended flag. A method that acts
//     on the tree or looks at it holds the mutex and checks the flag first, so it
//     can never reach the slot's next tree.
//   - Pids: the slot's thread reaps the leader, under Proc's mutex. Until then the
//     zombie pins the pid and with it the process group's number, so a group
//     signal can't hit a stranger; afterwards only single processes are
//     signalled, through pidfds, after a look at their start time.
//
// # Wake argument
//
// A request (Stop, Kill, Pause, Resume) stores its word under Proc's mutex and
// then adds to the slot's eventfd. The reactor reads the words under the mutex
// before every ppoll. A request stored after that reading leaves the eventfd
// readable, so that ppoll returns at once: no request is slept over.
//
// # Death table
//
// What is left when brood is SIGKILLed after each step of a start:
//
//	family's lifeline made        nothing
//	warden forked                 the warden reads end-of-file, finds nothing, ends
//	cgroup directories made       the warden removes them
//	child forked, not yet exec'd  parent-death signal is set first, then the parent's
//	                              pid is checked: a child that lost its parent ends itself
//	child runs                    the kernel kills the leader; the warden kills the rest
//	                              of the tree (cgroup.kill, else by mark), also what is
//	                              paused or called setsid, and removes the directories
//	child ended, not reaped       init reaps it
//
// When the warden dies first, the family starts another one. When both are
// killed in the same instant, leaders die by the parent-death signal, and the
// next family removes the cgroup directories and kills what is in them.
//
// # Trust
//
// A job may do what the user may do: kill the warden, rewrite its environment,
// or, as root, leave its cgroup. Supervision is against accidents, not attacks.
package child

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// Spec says what to start and within which limits. Path is required; the zero
// value of every other field works.
type Spec struct {
	// Path is the program's file, absolute or relative to Dir.
	Path string
	// Args is the argument vector with the program's name first; empty: Path alone.
	Args []string
	// Env is the environment; nil: that of this process.
	Env []string
	// Dir is the working directory; empty: that of this process.
	Dir string

	// Stdin is what the child reads; nil: the null device.
	Stdin *os.File
	// Stdout and Stderr take the child's output. An *os.File is handed to the
	// child as it is; any other writer is fed through a pipe, from the slot's
	// thread; nil is the null device. A writer that also has a method
	// Full() bool is not fed while it says true: the pipe fills and the child
	// waits. Proc.Wake tells the slot to ask again.
	Stdout, Stderr io.Writer
	// ExtraFiles become descriptors 3, 4, … of the child. All others are closed.
	ExtraFiles []*os.File
	// Lifeline adds, after ExtraFiles, a pipe that reads end-of-file when this
	// process dies.
	Lifeline bool
	// Terminal, when not nil, is a terminal whose foreground process group the
	// child becomes for as long as it runs.
	Terminal *os.File

	// Wall bounds the running time, without the time spent paused. 0: no bound.
	Wall time.Duration
	// CPU bounds the user and system time of the whole tree. 0: no bound.
	CPU time.Duration
	// Memory bounds the memory of the whole tree, in bytes. 0: no bound.
	Memory int64

	// Stop is how the tree is asked to end; nil: DefaultStop. Whatever it says,
	// the last step is SIGKILL.
	Stop []Step
	// Linger is how long, after the leader has ended, the rest of its tree and
	// its pipes may go on before they are stopped. 0: DefaultLinger; negative: not at all.
	Linger time.Duration

	// LeaderEnded, if not nil, is called once on the slot's thread as soon as the
	// leader has been reaped, before the rest of its tree is waited for: with the
	// report as far as it is known then. It must not block.
	LeaderEnded func(Report)
}

// Step is one step of a stop sequence: a signal to every process of the tree,
// and the pause before the next step.
type Step struct {
	Signal syscall.Signal
	Wait   time.Duration
}

// DefaultStop is the stop sequence of GNU parallel: TERM, 200 ms, TERM, 100 ms,
// TERM, 50 ms, KILL.
var DefaultStop = []Step{
	{syscall.SIGTERM, 200 * time.Millisecond},
	{syscall.SIGTERM, 100 * time.Millisecond},
	{syscall.SIGTERM, 50 * time.Millisecond},
	{syscall.SIGKILL, 0},
}

// DefaultLinger is how long the rest of a tree may outlive its leader.
const DefaultLinger = 2 * time.Second

// Reason says why a process ended.
type Reason int

// The reasons.
const (
	// Exited: by itself, with an exit code.
	Exited Reason = iota
	// Signaled: by a signal that this package didn't send.
	Signaled
	// Timeout: its wall time was used up.
	Timeout
	// CPUTime: its CPU time was used up.
	CPUTime
	// Memory: its tree needed more than its memory limit.
	Memory
	// Cancelled: it was asked to stop.
	Cancelled
	// Lost: how it ended could not be learned, or it did not die of SIGKILL.
	Lost
	// NotStarted: it never ran; the error says why.
	NotStarted
)

var reasonNames = [...]string{"exit", "signal", "timeout", "cpu", "memory", "cancelled", "lost", "not started"}

// String is the reason in one lower-case word or two.
func (r Reason) String() string {
	if r < 0 || int(r) >= len(reasonNames) {
		return fmt.Sprintf("reason(%d)", int(r))
	}
	return reasonNames[r]
}

// PeakSource says where a peak of memory was read.
type PeakSource int

// The sources.
const (
	// PeakUnknown: the process ended before its memory was looked at.
	PeakUnknown PeakSource = iota
	// PeakSampled: the largest of several looks at the tree's resident memory. It
	// may miss a short peak.
	PeakSampled
	// PeakCgroup: counted by the kernel, with the page cache charged to the tree.
	PeakCgroup
)

var peakNames = [...]string{"unknown", "sampled", "cgroup"}

// String is the source in one word.
func (s PeakSource) String() string { return peakNames[s] }

// Report is how a process ended and what it used.
type Report struct {
	PID        int
	Code       int            // exit code, -1 if it was ended by a signal or never ran
	Signal     syscall.Signal // 0 if it exited
	CoreDump   bool
	Reason     Reason
	Start, End time.Time
	Paused     time.Duration // the part of End-Start that it was paused for
	User       time.Duration // user CPU time of the tree
	System     time.Duration // system CPU time of the tree
	Peak       int64         // peak memory of the tree in bytes
	PeakSource PeakSource
	// Left is how many processes of the tree were still running when Linger was
	// over, and were stopped.
	Left int
	// OutputErr is the first error of a writer; what came after it was thrown away.
	OutputErr error
}

// Activity is what a process tree does at one moment.
type Activity struct {
	CPU      time.Duration // user and system time of the whole tree so far; it never goes back
	Memory   int64         // resident memory of the tree in bytes, if it was asked for
	Runnable bool          // a thread of the tree runs or wants to; false: all of them wait for something
}

// OK reports whether the process ran and exited with code 0 by itself.
func (r *Report) OK() bool { return r.Reason == Exited && r.Code == 0 }

// ErrNotPaused is returned by Pause when the tree was not seen stopped in
// time; the tree then runs on.
var ErrNotPaused = errors.New("child: the process tree did not stop within 100 ms; it runs on")

// ErrEnded is returned by a method of a Proc whose tree has ended.
var ErrEnded = errors.New("child: the process has ended or is being stopped")

// ErrNoInit is returned by Open in a program that did not call Init.
var ErrNoInit = errors.New("child: brood.Init() must be called first thing in main (in a test package: in TestMain), because a copy of this program guards its child processes")

// pauseDeadline bounds a Pause; a variable for tests alone.
var pauseDeadline = 100 * time.Millisecond

// StartError is a process that could not be started.
type StartError struct {
	Path string
	Err  error // the system's error
	hint string
}

// Error names the program and says what is wrong with it.
func (e *StartError) Error() string {
	s := fmt.Sprintf("start %q: %v", e.Path, e.Err)
	if e.hint != "" {
		s += " (" + e.hint + ")"
	}
	return s
}

// Unwrap is the system's error.
func (e *StartError) Unwrap() error { return e.Err }

// Code is the exit code by which shells report such a failure: 127 for a
// program that is not there, 126 for one that can't be run.
func (e *StartError) Code() int {
	if errors.Is(e.Err, os.ErrNotExist) && e.hint != hintDir {
		return 127
	}
	return 126
}

const (
	hintDir     = "the working directory can't be entered"
	hintShebang = "the file is there: the interpreter named in its first line is missing"
	hintFormat  = "neither a binary of this machine nor a script with a #! line"
	hintWords   = "all of it is taken as the name of one program"
	hintFiles   = "this process has as many as it may: raise ulimit -n, or lower -j"
	hintSystem  = "the whole system has as many as it may: lower -j, or raise fs.file-max"
	hintProcs   = "there are as many processes as there may be: raise ulimit -u or the cgroup's pids.max, or lower -j"
	hintMemory  = "there is no memory for one more process: lower -j"
	hintTooBig  = "one argument may have 131,071 bytes, all of them with the environment about a quarter of the stack limit; pass large data in a file or on standard input"
)

// startError explains why starting s failed.
func startError(s *Spec, err error) *StartError {
	e := &StartError{Path: s.Path, Err: err}
	if s.Dir != "" {
		if fi, serr := os.Stat(s.Dir); serr != nil || !fi.IsDir() {
			e.hint = hintDir
			return e
		}
	}
	switch {
	case errors.Is(err, syscall.EMFILE):
		e.hint = hintFiles
	case errors.Is(err, syscall.ENFILE):
		e.hint = hintSystem
	case errors.Is(err, syscall.EAGAIN):
		e.hint = hintProcs
	case errors.Is(err, syscall.ENOMEM):
		e.hint = hintMemory
	case errors.Is(err, syscall.E2BIG):
		e.hint = hintTooBig
	case errors.Is(err, syscall.ENOEXEC):
		e.hint = hintFormat
	case errors.Is(err, os.ErrNotExist) && s.Dir == "":
		if _, serr := os.Stat(s.Path); serr == nil {
			e.hint = hintShebang
		} else if len(s.Args) == 1 && strings.ContainsAny(s.Path, " \t") {
			e.hint = hintWords
		}
	}
	return e
}

// withDefaults fills in what the zero value stands for.
func (s *Spec) withDefaults() Spec {
	c := *s
	if len(c.Args) == 0 {
		c.Args = []string{c.Path}
	}
	if c.Stop == nil {
		c.Stop = DefaultStop
	}
	if n := len(c.Stop); n == 0 || c.Stop[n-1].Signal != syscall.SIGKILL {
		c.Stop = append(append([]Step(nil), c.Stop...), Step{Signal: syscall.SIGKILL})
	}
	if c.Linger == 0 {
		c.Linger = DefaultLinger
	}
	return c
}

// validate says what can't be meant.
func (s *Spec) validate() error {
	switch {
	case s.Path == "":
		return errors.New("child: Spec.Path is empty: name the program")
	case s.Wall < 0 || s.CPU < 0 || s.Memory < 0:
		return errors.New("child: a limit of a Spec is negative: use 0 for none")
	}
	return nil
}
