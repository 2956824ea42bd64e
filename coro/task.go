package coro

import (
	"context"
	"fmt"
	"iter"
	"runtime/debug"
	"sync/atomic"

	"github.com/brood-go/brood/internal/strand"
)

// Task is a function that a loop runs, and its outcome. Make it with Loop.Go or Start. Its
// methods may be called by any goroutine.
type Task[T any] struct {
	t      task
	f      func(ctx context.Context) (T, error)
	result T
}

// task is what of a Task the loop knows.
type task struct {
	scope scope // its context
	loop  *Loop
	owner interface {
		call(ctx context.Context) error
	}
	name   string
	strand atomic.Pointer[strand.Strand] // made when it is first asked for

	goroutine uint64 // 0 before it begins
	next      func() (struct{}, bool)
	yield     func(struct{}) bool

	before, after *task // in the list of those that live
	supervised    bool  // made by Go

	// Its wait. A task that waits is in no queue but that which it waits in, and takes itself out
	// of it when it goes on.
	waiting bool
	waits   uint32 // how often it has waited
	under   *scope // whose end wakes it, if with has ended then
	with    context.Context
	on      waitable
	woken   error // what its wait returns
	timer   timer // of Sleep

	// Its outcome, fixed before settled is set under the loop's mu.
	err     error
	settled atomic.Bool
	seen    atomic.Bool          // somebody has asked for err
	joiners waiters[func(*task)] // a nil one is simply woken
	done    chan struct{}        // made when first asked for, under mu
	hooks   hooks                // under mu
	asked   *scope               // its scopes whose end somebody wants to be told of, under mu
}

// waitable is what a task waits for.
type waitable interface {
	// what names it, after "waits for".
	what() string
}

// reason is what needs no more than a name.
type reason string

func (r reason) what() string { return string(r) }

const (
	asleep = reason("its time to come")
	future = reason("a future outside of the loop")
)

func (t *task) what() string { return fmt.Sprintf("task %q", t.name) }

func (t *task) waitsFor() Wait {
	if t.on == nil {
		return Wait{t.name, "nothing"}
	}
	return Wait{t.name, t.on.what()}
}

// named is its error with its name.
func (t *task) named() error { return fmt.Errorf("coro: task %q: %w", t.name, t.err) }

func newTask[T any](l *Loop, name string, f func(ctx context.Context) (T, error)) *Task[T] {
	t := &Task[T]{f: f}
	t.t.loop, t.t.owner, t.t.name = l, t, name
	t.t.scope.task, t.t.timer.task = &t.t, &t.t
	return t
}

// call implements the owner of a task.
func (t *Task[T]) call(ctx context.Context) (err error) {
	t.result, err = t.f(ctx)
	t.f = nil
	return err
}

// base is for Await.
func (t *Task[T]) base() *task { return &t.t }

// Name is what the task was called.
func (t *Task[T]) Name() string { return t.t.name }

// Cancel ends the task's context: its waits return context.Canceled. One that has not begun
// never begins. It does not wait, and reaches also a task that blocks or computes.
func (t *Task[T]) Cancel() {
	t.t.loop.endFrom(&t.t.scope, endCanceled, func() {})
}

// Done is closed once the task has ended. A task of the same loop uses Await.
func (t *Task[T]) Done() <-chan struct{} {
	l := t.t.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.t.done == nil {
		t.t.done = make(chan struct{})
		if t.t.settled.Load() {
			close(t.t.done)
		}
	}
	return t.t.done
}

// Result waits for the task's end and returns its outcome: what the function returned,
// or a *PanicError, ErrGoexit, a *HeldError, context.Canceled if it was cancelled before it
// began, ErrEnded if the loop was over. ctx bounds this wait alone. It is for other
// goroutines: a task of the same loop uses Await, and gets ErrBlocks here unless the outcome is
// there. (See ErrBlocks for where this is not seen.)
func (t *Task[T]) Result(ctx context.Context) (T, error) {
	if !t.t.settled.Load() {
		var none T
		if t.t.loop.inside() {
			return none, ErrBlocks
		}
		select {
		case <-t.Done():
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
	t.t.seen.Store(true)
	return t.result, t.t.err
}

// AfterDone has f called once the task has ended, on a goroutine of its own. Stop prevents
// that if it can, and says whether it did.
func (t *Task[T]) AfterDone(f func()) (stop func() bool) {
	l := t.t.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.t.settled.Load() {
		go f()
		return func() bool { return false }
	}
	h := &hook{f: f}
	t.t.hooks.add(h)
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return t.t.hooks.remove(h)
	}
}

// begin makes its coroutine, which the next switch enters.
func (t *task) begin() { t.next, _ = iter.Pull(t.run) }

// run is the coroutine of a task. If its function does not return, it ends by a panic, for the same
// reason as that of a Coroutine: rounds recovers it.
func (t *task) run(yield func(struct{}) bool) {
	t.goroutine, t.yield = strand.Goroutine(), yield
	t.loop.running.Store(t.goroutine)
	returned := false
	defer func() {
		letGo(t.loop.thread)
		if !returned {
			t.exit(recover())
		}
	}()
	err := t.owner.call(&t.scope)
	returned = true
	t.settle(err)
}

// exit ends a task whose function panicked with v, or called Goexit.
func (t *task) exit(v any) {
	err := ErrGoexit
	if v != nil {
		err = &PanicError{Value: v, Stack: debug.Stack(), Task: t.name}
	}
	t.settle(err)
	t.loop.exited = true
	panic(t)
}

// settle fixes the outcome, and tells everybody.
func (t *task) settle(err error) {
	l := t.loop
	if s := t.strand.Swap(buried); s != nil {
		if held := strand.End(s); held != nil {
			err = &HeldError{Task: t.name, Held: held, Err: err}
		}
	}
	t.next, t.yield = nil, nil
	canceled := t.scope.Err() != nil
	l.live.remove(t)
	l.end(&t.scope, endCanceled)
	l.mu.Lock()
	t.err = err
	t.settled.Store(true)
	if t.done != nil {
		close(t.done)
	}
	hook := t.hooks.take()
	l.mu.Unlock()
	for ; hook != nil; hook = hook.next {
		go hook.f()
	}
	for w := t.joiners.first; w != nil; w = w.next {
		if w.value != nil {
			w.value(t)
		} else {
			l.wake(w.task, nil)
		}
	}
	switch {
	case err == nil || canceled && l.saysEnd(err):
		t.seen.Store(true)
	case t.supervised:
		l.fail(t.named())
	default:
		l.failed = append(l.failed, t)
	}
}

// tasks is a list of tasks, in the order in which they were added.
type tasks struct{ first, last *task }

func (l *tasks) add(t *task) {
	t.before = l.last
	if l.last != nil {
		l.last.after = t
	} else {
		l.first = t
	}
	l.last = t
}

// remove leaves t.after, for who goes through the list.
func (l *tasks) remove(t *task) {
	if t.before != nil {
		t.before.after = t.after
	} else {
		l.first = t.after
	}
	if t.after != nil {
		t.after.before = t.before
	} else {
		l.last = t.before
	}
}
