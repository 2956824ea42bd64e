package brood

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/brood-go/brood/internal/wire"
)

// The states in which a call finds things. errors.Is finds them also in errors
// that come from another process.
var (
	// ErrClosed: the executor is closed, or was closed before the task could end.
	ErrClosed = errors.New("brood: the executor is closed")
	// ErrFull: there is no room for another task now.
	ErrFull = errors.New("brood: the executor is full")
	// ErrAbandoned: a goroutine did not return within the grace, and goroutines
	// can't be killed. Its place in the pool stays taken until it returns.
	ErrAbandoned = errors.New("brood: the task did not return within the grace; it was left running, because a goroutine can't be killed: use a ProcessPool for what may not return")
	// ErrGoexit: the function ended its goroutine with runtime.Goexit.
	ErrGoexit = errors.New("brood: the function called runtime.Goexit")
	// ErrTooLarge: an argument or result has more bytes than PoolOptions.MaxPayload.
	ErrTooLarge = errors.New("brood: the encoded value is too large")
	// ErrDepth: processes of this program have started processes of this program
	// too many times over.
	ErrDepth = fmt.Errorf("brood: processes are nested %d deep, which is the limit: a program that starts pools in its workers without end?", maxDepth)
)

// PanicError is a panic in a function, a codec of a type or an initializer. It is
// an outcome like any error and is never raised again.
type PanicError struct {
	Value string // what was panicked with, as text
	Stack []byte // where; of the process that it happened in
	Task  string // the Func's name
}

// Error says what panicked, without the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("brood: %s panicked: %s", e.Task, e.Value)
}

func newPanicError(task string, value any) *PanicError {
	return &PanicError{Value: fmt.Sprint(value), Stack: debug.Stack(), Task: task}
}

// WorkerDied is the outcome of a task whose worker process died while it ran.
type WorkerDied struct {
	PID         int
	ExitCode    int            // -1 if a signal ended it
	Signal      syscall.Signal // 0 if it exited
	OutOfMemory bool           // over its memory limit, or the Go runtime got no more memory
	Task        string         // the Func's name
	// Trace is what the Go runtime wrote as it crashed: a Go process that is hit by
	// SIGSEGV, a stack overflow or a concurrent map write exits with code 2, and
	// only this tells which it was. Empty if it did not crash.
	Trace []byte
	// Output is the tail of what the worker wrote, with OutputCapture.
	Output []byte
}

// Error says how the worker ended, with the first line of its trace.
func (e *WorkerDied) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "brood: the worker process %d died while it ran %s: ", e.PID, e.Task)
	if e.Signal != 0 {
		fmt.Fprintf(&s, "killed by signal %d (%v)", int(e.Signal), e.Signal)
	} else {
		fmt.Fprintf(&s, "exit code %d", e.ExitCode)
	}
	if e.OutOfMemory {
		s.WriteString(", out of memory")
	}
	if line, _, _ := strings.Cut(string(e.Trace), "\n"); line != "" {
		fmt.Fprintf(&s, " (%s)", line)
	}
	return s.String()
}

// TimeoutError is a task that ran longer than PoolOptions.TaskTimeout. It matches
// context.DeadlineExceeded.
type TimeoutError struct {
	Task    string        // the Func's name
	Timeout time.Duration // how long it may run
	Killed  bool          // its worker was killed, because it did not return within the grace
	Err     error         // what it returned, or ErrAbandoned; nil if it was killed
}

// Error says which limit was passed.
func (e *TimeoutError) Error() string {
	s := fmt.Sprintf("brood: %s ran longer than %v", e.Task, e.Timeout)
	switch {
	case e.Killed:
		s += "; its worker was killed"
	case e.Err != nil:
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is context.DeadlineExceeded and what the task returned.
func (e *TimeoutError) Unwrap() []error {
	if e.Err == nil {
		return []error{context.DeadlineExceeded}
	}
	return []error{context.DeadlineExceeded, e.Err}
}

// StartError is a worker process that could not be made ready. A pool whose
// workers fail to start again and again is broken: every task ends with the last
// StartError.
type StartError struct {
	Stage  string // "start", "handshake", "initializer", or "ready": it ended before its first task
	PID    int    // 0 if there was no process
	Err    error
	Output []byte // the tail of what it wrote, with OutputCapture
}

// Error says at which stage what went wrong.
func (e *StartError) Error() string {
	return fmt.Sprintf("brood: a worker process could not be made ready (%s): %v", e.Stage, e.Err)
}

// Unwrap is the reason.
func (e *StartError) Unwrap() error { return e.Err }

// RemoteError is an error that a function returned in another process: its text,
// and what of its chain this process knows. errors.Is finds the context errors,
// io.EOF, those of package fs, system errors, this package's, and what was given
// to RegisterError.
type RemoteError struct {
	Text string // of the whole error
	Type string // of the Go type, as fmt's %T prints it

	known []error
}

// Error is the text of the error as it was there.
func (e *RemoteError) Error() string { return e.Text }

// Unwrap is what of its chain is known here.
func (e *RemoteError) Unwrap() []error { return e.known }

// sentinels are the errors that keep their identity between processes, by name.
var sentinels = struct {
	sync.RWMutex
	byName map[string]error
}{byName: map[string]error{
	"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
	"io.EOF": io.EOF, "io.ErrUnexpectedEOF": io.ErrUnexpectedEOF, "io.ErrClosedPipe": io.ErrClosedPipe, "io.ErrShortWrite": io.ErrShortWrite,
	"fs.ErrInvalid": fs.ErrInvalid, "fs.ErrPermission": fs.ErrPermission, "fs.ErrExist": fs.ErrExist,
	"fs.ErrNotExist": fs.ErrNotExist, "fs.ErrClosed": fs.ErrClosed,
	"os.ErrDeadlineExceeded": os.ErrDeadlineExceeded, "errors.ErrUnsupported": errors.ErrUnsupported,
	"brood.ErrClosed": ErrClosed, "brood.ErrFull": ErrFull, "brood.ErrAbandoned": ErrAbandoned,
	"brood.ErrGoexit": ErrGoexit, "brood.ErrTooLarge": ErrTooLarge, "brood.ErrDepth": ErrDepth,
}}

// RegisterError makes errors.Is find a sentinel in errors that come from another
// process. Call it at package level (var _ = brood.RegisterError("pkg.ErrX", ErrX))
// or in an init function, so that every process of the program does. A name that is
// taken by another error panics. It returns err.
func RegisterError(name string, err error) error {
	sentinels.Lock()
	defer sentinels.Unlock()
	if old, taken := sentinels.byName[name]; taken && old != err {
		panic(fmt.Sprintf("brood: RegisterError: the name %q is taken by another error (%v)", name, old))
	}
	sentinels.byName[name] = err
	return err
}

// remote is how an error travels.
type remote struct {
	Text    string
	Type    string
	Names   []string // of sentinels
	Errno   int      // of a system error in the chain
	Panic   *PanicError
	Died    *WorkerDied
	Timeout *TimeoutError
	Held    *HeldError
	Dead    *DeadlockError
}

// encodeError prepares an error for its way to another process.
func encodeError(err error) []byte {
	r := describeError(err)
	b, merr := wire.Marshal(&r)
	if merr != nil {
		b, _ = wire.Marshal(&remote{Text: r.Text, Type: r.Type})
	}
	return b
}

// describeError collects what of an error can be known elsewhere. A method of a
// user's error may panic, or end its goroutine; then that is what there is to say.
func describeError(err error) (r remote) {
	failed := guarded("the method of an error", func() error {
		r = collectError(err)
		return nil
	})
	if failed == nil {
		return r
	}
	r = remote{Text: failed.Error(), Names: []string{"brood.ErrGoexit"}}
	if p := (*PanicError)(nil); errors.As(failed, &p) {
		r.Names, r.Panic = nil, p
	}
	return r
}

func collectError(err error) (r remote) {
	r = remote{Text: err.Error(), Type: fmt.Sprintf("%T", err)}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		r.Errno = int(errno)
	}
	errors.As(err, &r.Panic)
	errors.As(err, &r.Died)
	var timeout *TimeoutError
	if errors.As(err, &timeout) {
		r.Timeout = &TimeoutError{Task: timeout.Task, Timeout: timeout.Timeout, Killed: timeout.Killed}
	}
	var held *HeldError
	if errors.As(err, &held) {
		r.Held = &HeldError{Task: held.Task, Held: held.Held}
	}
	errors.As(err, &r.Dead)
	sentinels.RLock()
	defer sentinels.RUnlock()
	for name, s := range sentinels.byName {
		if errors.Is(err, s) {
			r.Names = append(r.Names, name)
		}
	}
	return r
}

// decodeError makes an error of what came from another process.
func decodeError(b []byte) error {
	var r remote
	if err := wire.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("brood: an error came from another process, but its description is corrupt: %w", err)
	}
	if r.Panic != nil && r.Text == r.Panic.Error() {
		return r.Panic
	}
	e := &RemoteError{Text: r.Text, Type: r.Type}
	sentinels.RLock()
	for _, name := range r.Names {
		if s := sentinels.byName[name]; s != nil {
			e.known = append(e.known, s)
		}
	}
	sentinels.RUnlock()
	if r.Errno != 0 {
		e.known = append(e.known, syscall.Errno(r.Errno))
	}
	if r.Panic != nil {
		e.known = append(e.known, r.Panic)
	}
	if r.Died != nil {
		e.known = append(e.known, r.Died)
	}
	if r.Timeout != nil {
		e.known = append(e.known, r.Timeout)
	}
	if r.Held != nil {
		e.known = append(e.known, r.Held)
	}
	if r.Dead != nil {
		e.known = append(e.known, r.Dead)
	}
	return e
}

// contextError is why a context ended: its error, and its cause if that is another.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || cause == err {
		return err
	}
	return &joinedError{err, cause}
}

// joinedError is two errors, the first of which is this package's. The other one may be
// the user's: it is not asked for its text before somebody asks for this one's.
type joinedError struct{ first, second error }

func (e *joinedError) Error() string { return fmt.Sprintf("%v: %v", e.first, e.second) }

func (e *joinedError) Unwrap() []error { return []error{e.first, e.second} }
