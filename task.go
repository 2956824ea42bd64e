package brood

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/brood-go/brood/internal/link"
	"github.com/brood-go/brood/internal/wire"
)

// Executor is where tasks run. ThreadPool and ProcessPool are executors; other
// packages can provide more.
type Executor interface {
	// Execute takes a task, after waiting for room until ctx ends. With an error
	// the task was not taken. What was taken is settled exactly once, in bounded
	// time after the end of whatever ran it.
	Execute(ctx context.Context, t *Task) error
	// TryExecute is Execute that does not wait: ErrFull if there is no room.
	TryExecute(t *Task) error
}

// direct is an executor for which waiting in the call is faster than a future.
type direct interface {
	// callDirect executes t and returns when it is settled or ctx has ended.
	callDirect(ctx context.Context, t *Task)
}

// body is a call with its types hidden.
type body interface {
	fn() *entry
	value() any
	dropArg() // the argument is needed no more
	encode() (wire.Kind, []byte, error)
	run(ctx context.Context, encoded bool)
	decode(wire.Kind, []byte) error
}

// place is where a task is: what takes its cancellation, and knows whether it runs.
// Both are called without the task's lock.
type place interface {
	cancelTask(t *Task, cause error)
	taskRuns(t *Task) bool
}

// Task is one call on its way through an Executor: plain data with exactly one
// outcome. Executors call its methods; users have the Future.
//
// # Ownership
//
// Whoever wins the task (win, a single compare-and-swap) settles it: it alone writes
// the outcome, then publishes it with settle. mu guards what others add meanwhile.
type Task struct {
	body    body
	ctx     taskContext
	watched watched  // by whom, for the context of Submit
	pool    poolTask // what a ProcessPool knows of it

	won     atomic.Bool
	settled atomic.Bool
	tally   *tally // of the pool that has taken it, or nil

	mu        sync.Mutex
	place     place
	cancelled error // why, once it was asked to end
	done      chan struct{}
	hooks     *hooks // nil without any

	// The outcome, written before settled. A result that came encoded is decoded by
	// the first who asks for it.
	err     error
	decoded sync.Mutex
	raw     *rawResult
}

// hooks are what is called when a task is settled.
type hooks struct {
	callbacks []func()
	watchers  []*watcher // called by settle itself: they must not block
}

// watcher is a registration of whenSettled.
type watcher struct{ f func() }

// hooked is t.hooks, made if there was none. Called with mu held.
func (t *Task) hooked() *hooks {
	if t.hooks == nil {
		t.hooks = new(hooks)
	}
	return t.hooks
}

// rawResult is an encoded result.
type rawResult struct {
	kind  wire.Kind
	bytes []byte
	slow  *slowResult // nil if it is here, and decoded at once
}

// slowResult is an encoded result whose decoding may take its time.
type slowResult struct {
	apart *link.Kept    // it is in memory of its own
	ready chan struct{} // closed once it is decoded, by another goroutine
}

// Func is the name of the function to be run.
func (t *Task) Func() string { return t.body.fn().name }

// Arg is the argument, not encoded. It is for the executor that has the task: one that
// it was passed on to may have let go of the argument.
func (t *Task) Arg() any { return t.body.value() }

// Encode is the argument for another process of this program, with all that
// RunEncoded needs. It fails for a value that has no encoding.
func (t *Task) Encode() ([]byte, error) {
	if t.body.fn().carrier {
		return nil, encodingError(t.body.fn(), "argument", errFilesAbroad)
	}
	k, b, err := t.body.encode()
	if err != nil {
		return nil, encodingError(t.body.fn(), "argument", err)
	}
	return append([]byte{byte(k)}, b...), nil
}

// Context is the task's own: it ends when the task is to end, whoever wants that.
func (t *Task) Context() context.Context { return &t.ctx }

// Run runs the function on this goroutine and settles the task.
func (t *Task) Run() { t.body.run(&t.ctx, false) }

// Resolve settles the task with a result that RunEncoded returned, or with an
// error. Only the first outcome counts: for later ones Resolve returns false.
func (t *Task) Resolve(result []byte, err error) bool {
	if err == nil && len(result) == 0 {
		err = errors.New("brood: Resolve got neither a result nor an error")
	}
	if err != nil {
		return t.fail(err)
	}
	return t.resolve(&rawResult{kind: wire.Kind(result[0]), bytes: result[1:]})
}

// OnCancel has f called when the task is asked to end, with the reason; at once if
// it was already. The context ends before. An executor that does not call it goes by
// Context alone.
func (t *Task) OnCancel(f func(cause error)) { t.enter(cancelFunc(f)) }

type cancelFunc func(error)

func (f cancelFunc) taskRuns(*Task) bool { return true }

func (f cancelFunc) cancelTask(t *Task, cause error) {
	t.ctx.cancel(unwrapContext(cause))
	f(cause)
}

// enter says where the task is from now on. It returns false if the task has
// been asked to end already: then the place must see to that.
func (t *Task) enter(p place) bool {
	t.mu.Lock()
	if t.settled.Load() { // whoever took it was faster
		t.mu.Unlock()
		return true
	}
	t.place = p
	cause := t.cancelled
	t.mu.Unlock()
	if cause != nil {
		p.cancelTask(t, cause)
	}
	return cause == nil
}

// contextEnded is called when the context of Submit ends.
func (t *Task) contextEnded() {
	if t.cancel(contextError(t.ctx.parent)) {
		return
	}
	t.mu.Lock()
	p, ok := t.place.(*pool)
	t.mu.Unlock()
	if ok { // it was asked before, for another reason, and its caller waits no longer
		p.wakeCaller(t)
	}
}

// cancel asks the task to end. It returns false if it has ended or was asked before.
func (t *Task) cancel(cause error) bool {
	t.mu.Lock()
	if t.settled.Load() || t.cancelled != nil {
		t.mu.Unlock()
		return false
	}
	t.cancelled = cause
	p := t.place
	t.mu.Unlock()
	if p == nil { // on its way to an executor, or in one that goes by the context
		t.ctx.cancel(unwrapContext(cause))
		return true
	}
	p.cancelTask(t, cause)
	return true
}

// tally counts the tasks of a pool that have their outcome.
type tally struct{ done, failed atomic.Int64 }

func (y *tally) count(ok bool) {
	if ok {
		y.done.Add(1)
	} else {
		y.failed.Add(1)
	}
}

// isCancelled reports whether the task was asked to end.
func (t *Task) isCancelled() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cancelled != nil
}

// win gains the right to settle the task.
func (t *Task) win() bool { return t.won.CompareAndSwap(false, true) }

// settle publishes the outcome. Only who has won the task calls it, once.
func (t *Task) settle(err error) {
	t.err = err
	if t.tally != nil { // before anybody can know of it
		t.tally.count(err == nil)
	}
	t.mu.Lock()
	t.settled.Store(true)
	done, hooks := t.done, t.hooks
	t.hooks, t.place = nil, nil
	t.mu.Unlock()
	t.watched.leave()
	t.ctx.cancel(context.Canceled) // what the function left running in it ends
	if done != nil {
		close(done)
	}
	if hooks == nil {
		return
	}
	for _, w := range hooks.watchers {
		w.f()
	}
	if len(hooks.callbacks) > 0 {
		go runCallbacks(hooks.callbacks)
	}
}

// fail settles the task with an error, if nobody has settled it.
func (t *Task) fail(err error) bool {
	if !t.win() {
		return false
	}
	t.settle(err)
	return true
}

// resolve settles the task with an encoded result.
func (t *Task) resolve(raw *rawResult) bool {
	if !t.win() {
		if raw.slow != nil && raw.slow.apart != nil {
			raw.slow.apart.Release()
		}
		return false
	}
	t.raw = raw
	t.settle(nil)
	return true
}

// explain says of an error with which a function returned whether it did so
// because it was asked to end.
func (t *Task) explain(err error) error {
	if err == nil {
		return nil
	}
	t.mu.Lock()
	cause := t.cancelled
	t.mu.Unlock()
	if cause == nil {
		return err
	}
	if timeout, ok := cause.(*TimeoutError); ok {
		return &TimeoutError{Task: timeout.Task, Timeout: timeout.Timeout, Err: err}
	}
	if sameError(err, cause) {
		return err
	}
	return &joinedError{cause, err}
}

// unwrapContext is what the context of a task ends with for a cause: of this package's
// making, so that no code of the user's runs.
func unwrapContext(cause error) error {
	switch cause := cause.(type) {
	case *joinedError: // of a context
		return cause.first
	case *TimeoutError:
		return context.DeadlineExceeded
	}
	if cause == context.DeadlineExceeded {
		return cause
	}
	return context.Canceled
}

// sameError reports whether a function's error is the reason for which it was to end. Of
// one that came from another process no method is called, as this may be the goroutine of
// a worker's reader; those of others may panic.
func sameError(err, cause error) (same bool) {
	if r, ok := err.(*RemoteError); ok {
		return slices.Contains(r.known, cause)
	}
	defer func() { recover() }()
	return errors.Is(err, cause)
}

// outcome is the error of a settled task, after decoding its result. What may take
// its time, because the user's code decodes it or because its memory is still on the way,
// is decoded by another goroutine, and waited for until ctx ends.
func (t *Task) outcome(ctx context.Context) error {
	t.decoded.Lock()
	raw := t.raw
	switch {
	case raw == nil:
		defer t.decoded.Unlock()
		return t.err
	case !t.body.fn().resultCode && (raw.slow == nil || raw.slow.ready == nil && raw.slow.apart.Here()):
		defer t.decoded.Unlock()
		t.isDecoded(raw, t.decode(raw))
		return t.err
	case raw.slow == nil:
		raw.slow = new(slowResult)
	}
	if raw.slow.ready == nil {
		raw.slow.ready = make(chan struct{})
		go t.decodeSlowly(raw)
	}
	ready := raw.slow.ready
	t.decoded.Unlock()
	select {
	case <-ready:
	case <-ctx.Done():
		select {
		case <-ready:
		default:
			return contextError(ctx)
		}
	}
	return t.outcome(ctx)
}

// decodeSlowly decodes without holding up who looks at the state.
func (t *Task) decodeSlowly(raw *rawResult) {
	err := t.decode(raw)
	ready := raw.slow.ready
	t.decoded.Lock()
	defer t.decoded.Unlock()
	t.isDecoded(raw, err)
	close(ready)
}

// isDecoded lets go of the encoded result. Called with decoded held.
func (t *Task) isDecoded(raw *rawResult, err error) {
	t.raw, t.err = nil, err
	*raw = rawResult{}
}

// decode decodes a result and gives its memory back.
func (t *Task) decode(raw *rawResult) error {
	if raw.slow == nil || raw.slow.apart == nil {
		return t.body.decode(raw.kind, raw.bytes)
	}
	apart := raw.slow.apart
	defer apart.Release()
	b, err := apart.Bytes()
	if err != nil {
		return decodingError(t.body.fn(), "result", err)
	}
	return t.body.decode(raw.kind, b)
}

// doneChan is closed when the task is settled.
func (t *Task) doneChan() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.settled.Load() {
			close(t.done)
		}
	}
	return t.done
}

// whenDone has f called on a goroutine of its own after the task is settled.
func (t *Task) whenDone(f func()) {
	t.mu.Lock()
	settled := t.settled.Load()
	if !settled {
		h := t.hooked()
		h.callbacks = append(h.callbacks, f)
	}
	t.mu.Unlock()
	if settled {
		go runCallbacks([]func(){f})
	}
}

// whenSettled has f called once the task is settled, by who settles it, or at once.
// f must not block. What it returns is for forget.
func (t *Task) whenSettled(f func()) *watcher {
	w := &watcher{f}
	t.mu.Lock()
	settled := t.settled.Load()
	if !settled {
		h := t.hooked()
		h.watchers = append(h.watchers, w)
	}
	t.mu.Unlock()
	if settled {
		f()
	}
	return w
}

// forget ends a registration of whenSettled, and reports whether it was still there: its f is
// not called then.
func (t *Task) forget(w *watcher) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hooks == nil {
		return false
	}
	n := len(t.hooks.watchers)
	t.hooks.watchers = slices.DeleteFunc(t.hooks.watchers, func(x *watcher) bool { return x == w })
	return len(t.hooks.watchers) < n
}

// runCallbacks calls each, whatever the others do: a panic is logged, and after a
// runtime.Goexit another goroutine goes on.
func runCallbacks(fs []func()) {
	for len(fs) > 0 {
		f := fs[0]
		fs = fs[1:]
		if !runCallback(f, fs) {
			return
		}
	}
}

// runCallback calls f. If it panics or ends the goroutine, another one calls the rest.
func runCallback(f func(), rest []func()) (returned bool) {
	defer func() {
		if !returned {
			go runCallbacks(rest)
		}
	}()
	defer func() {
		if v := recover(); v != nil {
			reportPanic(newPanicError("a callback", v))
		}
	}()
	f()
	return true
}

// reportPanic logs a panic that nobody gets as an error. The logger's handler may be what
// panics: then it goes to standard error.
func reportPanic(p *PanicError) {
	defer func() {
		if recover() != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s\n", p, p.Stack)
		}
	}()
	slog.Error(p.Error(), "stack", string(p.Stack))
}

// guarded calls f, which runs the user's code, and makes an error of a panic. It is
// given a goroutine of its own, so that runtime.Goexit ends that one alone.
func guarded(what string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		err := ErrGoexit
		defer func() { result <- err }()
		defer func() {
			if v := recover(); v != nil { // whose methods may end the goroutine
				err = newPanicError(what, v)
			}
		}()
		err = f()
	}()
	return <-result
}
