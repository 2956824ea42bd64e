package coro

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The states in which a call finds things.
var (
	// ErrDone: the coroutine has ended. What it returned, its last Resume has delivered.
	ErrDone = errors.New("coro: the coroutine has ended")
	// ErrRunning: the coroutine runs, or waits for one that it has resumed itself. Only one
	// that is suspended can be resumed or closed.
	ErrRunning = errors.New("coro: the coroutine runs: only one that is suspended can be resumed or closed")
	// ErrThread: a coroutine was begun while its resumer was locked to a thread (by
	// runtime.LockOSThread, or a call from C), and who resumes or closes it is not locked to that one;
	// or the other way round. It is as it was, and its turn comes by who is locked as that one
	// was. Or a task has locked itself to a thread, or let go of it, and then waits.
	ErrThread = errors.New("coro: to switch here would end the program: who switches has to be locked to the thread that the one who began was locked to (runtime.LockOSThread), or to none as that one")
	// ErrGoexit: the function ended its goroutine with runtime.Goexit.
	ErrGoexit = errors.New("coro: the function called runtime.Goexit")

	// ErrNoTask: the context is not that of a task of a Loop.
	ErrNoTask = errors.New("coro: the context is not that of a task: what waits in a loop is called in a function that Loop.Go or Start was given, with the context which that got")
	// ErrElsewhere: the context is that of a task, and the caller is not that task. It may be
	// another task, a goroutine that the task has started, or a coroutine that it has resumed.
	ErrElsewhere = errors.New("coro: the context is that of a task which is not the caller: a task waits by itself, with its own context")
	// ErrBlocks: a task called Task.Result of a task of its own loop that has not ended. It is
	// seen where the task itself calls that, but not in a coroutine that it has resumed, nor in
	// a task of a loop that it runs: there Result waits until its context ends.
	ErrBlocks = errors.New("coro: to wait here would stop the whole loop: use Await")
	// ErrEnded: the loop has been run, and takes no more tasks.
	ErrEnded = errors.New("coro: the loop has been run: make a new one")
	// ErrLoop: a queue was used by tasks of two loops, or Gather got a task of another one.
	ErrLoop = errors.New("coro: it belongs to another loop: Await tasks of that one by one, and use a share.Queue among loops")

	// ErrClosed: the queue is closed, and for Get also empty.
	ErrClosed = errors.New("coro: the queue is closed")
	// ErrFull: there is no room in the queue now.
	ErrFull = errors.New("coro: the queue is full")
	// ErrEmpty: there is nothing in the queue now.
	ErrEmpty = errors.New("coro: the queue is empty")
)

// PanicError is a panic in a coroutine or task. It is an outcome like any error and is never
// raised again.
type PanicError struct {
	Value any    // what was panicked with
	Stack []byte // of the coroutine
	Task  string // its name; empty for a coroutine without a loop
}

// Error says what panicked, without the stack.
func (e *PanicError) Error() string {
	if e.Task == "" {
		return fmt.Sprintf("coro: the coroutine panicked: %v", e.Value)
	}
	return fmt.Sprintf("coro: task %q panicked: %v", e.Task, e.Value)
}

// Unwrap is the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// HeldError is the outcome of a task that held something, such as a lock of package share,
// when its function ended. It was taken back.
type HeldError struct {
	Task string   // its name
	Held []string // what it held
	Err  error    // what the function returned
}

// Error names what was held.
func (e *HeldError) Error() string {
	s := fmt.Sprintf("coro: task %q ended and still held %s, which was taken back", e.Task, strings.Join(e.Held, ", "))
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is what the function returned.
func (e *HeldError) Unwrap() error { return e.Err }

// isContextError reports whether an error that wraps nothing says that a context has ended.
func isContextError(leaf error) bool {
	return errors.Is(leaf, context.Canceled) || errors.Is(leaf, context.DeadlineExceeded)
}

// only reports whether all that err is made of is known: itself, or each leaf of what it wraps and
// joins. A panic, and what was held, is news whatever it wraps, and so is an error whose
// methods panic.
func only(err error, known func(err error, leaf bool) bool) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	return onlyKnown(err, known)
}

func onlyKnown(err error, known func(err error, leaf bool) bool) bool {
	if known(err, false) {
		return true
	}
	switch e := err.(type) {
	case *PanicError, *HeldError:
		return false
	case interface{ Unwrap() error }:
		if in := e.Unwrap(); in != nil {
			return onlyKnown(in, known)
		}
	case interface{ Unwrap() []error }:
		all := e.Unwrap()
		return len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return err != nil && !onlyKnown(err, known) })
	}
	return known(err, true)
}

// DeadlockError is a wait that nothing could ever end: all tasks of the loop wait, and there is
// no timer and no future outside for which any of them does; or some tasks await each other
// in a circle.
type DeadlockError struct {
	Waits []Wait
}

// Wait is one task's wait.
type Wait struct {
	Task string // its name
	For  string // what it waits for, such as: task "b"
}

// Error names the tasks, of many the first ones.
func (e *DeadlockError) Error() string {
	const most = 10
	var s strings.Builder
	s.WriteString("coro: deadlock: ")
	for i, w := range e.Waits {
		if i == most {
			fmt.Fprintf(&s, ", and %d more", len(e.Waits)-most)
			break
		}
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "task %q waits for %s", w.Task, w.For)
	}
	return s.String()
}
