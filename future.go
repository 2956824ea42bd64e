package brood

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/brood-go/brood/internal/waits"
)

// Future is the outcome of one task, which may still be to come. Make it with
// Func.Submit. Its methods may be called by any goroutine.
type Future[R any] struct {
	t      Task
	result R // once settled without an error and decoded
}

// State is where a task is in its life.
type State int

// The states, in their order.
const (
	// Queued: it waits to be run.
	Queued State = iota
	// Running: its function runs, or its worker decodes the argument.
	Running
	// Succeeded: it has a result.
	Succeeded
	// Failed: it has an error.
	Failed
)

var stateNames = [...]string{"queued", "running", "succeeded", "failed"}

// String is the state in one lower-case word.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return stateNames[s]
}

// Result waits for the outcome and returns it: the result, or the error of the
// task. ctx bounds this wait alone, not the task: when it ends first, its error is
// returned. A task that waits for one which can't begin before it ends, or holds what that one
// waits for, gets a *DeadlockError. A result whose type decodes itself is decoded in that time, too. It may be
// called again, and returns the same.
func (f *Future[R]) Result(ctx context.Context) (R, error) {
	if !f.t.settled.Load() {
		if err := f.t.await(ctx); err != nil {
			var none R
			return none, err
		}
	}
	if err := f.t.outcome(ctx); err != nil {
		var none R
		return none, err
	}
	return f.result, nil
}

// Done is closed once there is an outcome.
func (f *Future[R]) Done() <-chan struct{} { return f.t.doneChan() }

// Cancel asks the task to end: one that waits ends at once, of one that runs the
// context ends, and after the grace its worker is killed. A function that returns a
// result all the same has that for its outcome. It returns false if the task has
// ended or was cancelled before; it does not wait.
func (f *Future[R]) Cancel() bool { return f.t.cancel(context.Canceled) }

// OnDone has callback called once there is an outcome, with f. Callbacks run on
// a goroutine of their own, those of one future one after another in the order of
// registration. What a callback does hurts nobody: a panic in it is logged.
func (f *Future[R]) OnDone(callback func(f *Future[R])) {
	f.t.whenDone(func() { callback(f) })
}

// AfterDone has callback called once there is an outcome, on a goroutine of its own. Stop
// prevents that if it can, and says whether it did. It is what coro.Await waits with.
func (f *Future[R]) AfterDone(callback func()) (stop func() bool) {
	w := f.t.whenSettled(func() { go runCallbacks([]func(){callback}) })
	return func() bool { return f.t.forget(w) }
}

// State says where the task is. A result is not decoded to find out.
func (f *Future[R]) State() State {
	if f.t.settled.Load() {
		f.t.decoded.Lock()
		defer f.t.decoded.Unlock()
		if f.t.err != nil {
			return Failed
		}
		return Succeeded
	}
	f.t.mu.Lock()
	p := f.t.place
	f.t.mu.Unlock()
	if p != nil && p.taskRuns(&f.t) {
		return Running
	}
	return Queued
}

// When says for what Wait waits.
type When int

// What to wait for.
const (
	// All: every future has its outcome.
	All When = iota
	// FirstCompleted: one has its outcome.
	FirstCompleted
	// FirstError: one has failed, or all have their outcome.
	FirstError
)

// Wait waits until as many futures have their outcome as when says, or until ctx
// ends. It returns those that have it and those that have not, each in the order
// given; the error is the context's, or a *DeadlockError.
func Wait[R any](ctx context.Context, when When, fs ...*Future[R]) (done, pending []*Future[R], err error) {
	enough := len(fs) == 0
	seen := 0
	for f := range completed(ctx, &err, fs) {
		seen++
		if enough = seen == len(fs) || when == FirstCompleted || when == FirstError && f.State() == Failed; enough {
			break
		}
	}
	for _, f := range fs {
		if f.t.settled.Load() {
			done = append(done, f)
		} else {
			pending = append(pending, f)
		}
	}
	if !enough && err == nil {
		err = contextError(ctx)
	}
	return done, pending, err
}

// AsCompleted yields the futures in the order in which they get their outcomes,
// each once. It ends early when ctx does: who has to know looks at ctx.Err().
func AsCompleted[R any](ctx context.Context, fs ...*Future[R]) iter.Seq[*Future[R]] {
	return completed(ctx, new(error), fs)
}

// completed is AsCompleted, and says why it ended early if not because of the context.
func completed[R any](ctx context.Context, err *error, fs []*Future[R]) iter.Seq[*Future[R]] {
	return func(yield func(*Future[R]) bool) {
		left := slices.Clone(fs)
		completed := make(chan *Future[R], len(left))
		watchers := make([]*watcher, len(left))
		for i, f := range left {
			watchers[i] = f.t.whenSettled(func() { completed <- f })
		}
		defer func() {
			for i, f := range left {
				f.t.forget(watchers[i])
			}
		}()
		for n := range left {
			f, e := nextCompleted(ctx, completed, left, n)
			if *err = e; f == nil || !yield(f) {
				return
			}
		}
	}
}

// nextCompleted waits for one until ctx ends, nil then. What is completed comes before
// that.
func nextCompleted[R any](ctx context.Context, completed <-chan *Future[R], all []*Future[R], delivered int) (*Future[R], error) {
	select {
	case f := <-completed:
		return f, nil
	default:
	}
	w, err := awaitsAny(ctx, all, delivered)
	if err != nil {
		return nil, err
	}
	defer w.End()
	sleep := w.Context(ctx)
	select {
	case f := <-completed:
		return f, nil
	case <-sleep.Done():
		if ctx.Err() == nil {
			return nil, sleepError(sleep)
		}
		return nil, nil
	}
}

// awaitsAny is awaits for the first of those that are not settled. If more are than were
// delivered, one is about to arrive.
func awaitsAny[R any](ctx context.Context, all []*Future[R], delivered int) (*waits.Wait, error) {
	if !mayBeAwaited(ctx) {
		return nil, nil
	}
	var tasks []*Task
	for _, f := range all {
		if f.t.settled.Load() {
			continue
		}
		tasks = append(tasks, &f.t)
	}
	if len(tasks) < len(all)-delivered {
		return nil, nil
	}
	return awaits(ctx, tasks...)
}
