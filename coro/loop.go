package coro

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// Clock says what a loop's time is.
type Clock int

// The clocks.
const (
	// Real: time as it passes.
	Real Clock = iota
	// Virtual: time stands still as long as a task can run, or a future outside of the loop is
	// awaited, and then jumps to the next timer. It begins at midnight of 2000-01-01 UTC.
	Virtual
)

// epoch is when virtual time begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Options say what a loop is like. The zero value is ready for use.
type Options struct {
	// Clock is the loop's time. Zero: Real.
	Clock Clock
	// Seed chooses the order in which tasks run that could run now. 0: in the order in which
	// they became ready. Any other: an order by chance, the same each time for one
	// seed, to find out in tests what depends on the order.
	Seed uint64
}

func (o Options) validate() {
	if o.Clock != Real && o.Clock != Virtual {
		panic(fmt.Sprintf("coro: Options.Clock is %d: it must be Real or Virtual", o.Clock))
	}
}

// Loop runs tasks, each a coroutine, in one thread: one at a time, each until it waits or
// ends. Make it with NewLoop, give it tasks with Go and Start, and Run it, once. Go, Start and
// After may be called by all goroutines, before Run and during it.
type Loop struct {
	virtual bool
	chance  *rand.PCG // nil: first in, first out
	start   time.Time // time is counted from here

	// Who runs: the goroutine that called Run, and that of the task which runs or was the last to
	// run. Other goroutines compare them with their own.
	goroutine, running atomic.Uint64

	// What follows is the loop's own: of the goroutine in Run and of the task that runs.
	ctx     context.Context // that of Run
	done    <-chan struct{} // its Done; nil once the tasks were told of its end
	endless bool            // nothing ends ctx
	thread  uintptr         // that Run is locked to, and so all tasks are
	stopped uint32          // why the contexts of all tasks have ended, of ends
	ready   ring
	live    tasks // those that have not ended
	timers  timers
	outside int              // how many tasks await what is outside of the loop
	foreign int              // how many wait with a context that something outside may end
	exited  bool             // a task has ended by panic or Goexit: rounds recovers what it ended its coroutine with
	errs    []error          // of tasks that failed, and of the loop
	dead    []*DeadlockError // those among errs that all who waited have got as well
	failed  []*task          // those of Start that failed
	timer   *time.Timer
	jumped  atomic.Int64 // virtual time, in ns

	mu     sync.Mutex // also for what other goroutines may ask of scopes and tasks
	inbox  []func()
	began  bool
	over   bool               // nothing is taken any more
	asked  map[*task]struct{} // those with scopes whose end somebody wants to be told of
	posted atomic.Bool        // there may be something in the inbox
	bell   chan struct{}      // wakes Run if it sleeps
}

// NewLoop makes a loop. Options that make no sense panic.
func NewLoop(o Options) *Loop {
	o.validate()
	l := &Loop{virtual: o.Clock == Virtual, start: epoch, ctx: context.Background(), bell: make(chan struct{}, 1)}
	if !l.virtual {
		l.start = time.Now()
	}
	if o.Seed != 0 {
		l.chance = rand.NewPCG(o.Seed, o.Seed)
	}
	return l
}

// Go adds a task that nobody need ask for its error: if f fails, which a panic is too, the
// contexts of all tasks end, and Run returns the error when they have. To have been
// cancelled by Task.Cancel is no failure, if that is all that its error says. The task's turn
// comes when the caller, if that is a task, waits.
func (l *Loop) Go(name string, f func(ctx context.Context) error) *Task[struct{}] {
	t := newTask(l, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	t.t.supervised = true
	l.admit(&t.t)
	return t
}

// Start adds a task whose outcome somebody awaits. Its error is his, and ends no other task;
// only if nobody has asked for it Run returns it, when all tasks have ended.
func Start[T any](l *Loop, name string, f func(ctx context.Context) (T, error)) *Task[T] {
	t := newTask(l, name, f)
	l.admit(&t.t)
	return t
}

// After adds a task as Go does, when d has passed on the loop's clock, counted from when the
// loop learns of it: at once from a task, and not before Run. One that the loop's end comes
// before is never added: a timer keeps no loop running.
func (l *Loop) After(d time.Duration, name string, f func(ctx context.Context) error) *Timer {
	t := &Timer{loop: l}
	t.timer.fire = func() {
		if t.state.CompareAndSwap(timerSet, timerFired) {
			l.Go(name, f)
		}
	}
	l.do(func() { l.timers.add(&t.timer, l.after(d)) })
	return t
}

// Timer is what After has begun.
type Timer struct {
	loop  *Loop
	timer timer
	state atomic.Uint32
}

const (
	timerSet = iota
	timerFired
	timerStopped
)

// Stop has the task not be added, and reports whether it does: not if it was added already, or
// Stop was called before. (time.Timer's Stop says the same.)
func (t *Timer) Stop() bool {
	if !t.state.CompareAndSwap(timerSet, timerStopped) {
		return false
	}
	t.loop.do(func() { t.loop.timers.remove(&t.timer) }) // After came first
	return true
}

// Now is the loop's time.
func (l *Loop) Now() time.Time { return l.start.Add(time.Duration(l.now())) }

// Run runs the tasks, and those that they add, until all have ended. All that is theirs happens
// in the calling goroutine and in the coroutines that it switches to, one at a time.
//
// When ctx ends, those of all tasks do, and Run returns its cause once they have ended. It
// also returns the errors of tasks, as Go and Start say, each with the task's name, and a
// *DeadlockError if all tasks waited and nothing could have ended that: their waits
// returned it, too. A task that goes on although its context has ended keeps Run from
// returning. A second Run returns ErrEnded.
func (l *Loop) Run(ctx context.Context) error {
	if ctx == nil {
		panic("coro: Run needs a context: context.Background, if nothing is to end it") // before the loop is spent
	}
	l.mu.Lock()
	if l.began {
		l.mu.Unlock()
		return ErrEnded
	}
	l.began = true
	l.mu.Unlock()
	l.ctx, l.done = ctx, ctx.Done()
	l.endless = l.done == nil
	l.thread = strand.Locked()
	l.goroutine.Store(strand.Goroutine())
	stop := context.AfterFunc(ctx, func() { l.look(nil) }) // also while a task blocks
	for !l.rounds() {
	}
	stop()
	l.goroutine.Store(0)
	l.running.Store(0)
	if l.timer != nil {
		l.timer.Stop()
	}
	for _, t := range l.failed {
		if !t.seen.Load() {
			l.note(t.named())
		}
	}
	if len(l.errs) == 1 {
		return l.errs[0]
	}
	return errors.Join(l.errs...)
}

// rounds runs tasks until there are none. A task that panicked or called Goexit ends its
// coroutine by a panic (see task.run): then rounds returns early, and is to be called again.
func (l *Loop) rounds() (over bool) {
	defer func() {
		if l.exited {
			l.exited = false
			_ = recover()
		}
	}()
	for {
		if l.posted.Load() {
			l.takeInbox()
		}
		if l.done != nil && l.ctx.Err() != nil {
			l.done = nil
			l.errs = append(l.errs, context.Cause(l.ctx))
			l.endAll(endOf(l.ctx.Err()))
		}
		if !l.virtual && len(l.timers.heap) > 0 {
			l.timers.fireUntil(l, l.now())
		}
		if l.live.first == nil {
			if l.isOver() {
				return true
			}
			continue
		}
		if l.ready.n == 0 {
			l.idle()
		}
		// Those that get ready meanwhile are for the next round: before that, time and
		// the other goroutines get a look.
		for n := l.ready.n; n > 0; n-- {
			l.step(l.ready.pop(l.chance))
		}
	}
}

// step runs a task until it waits or ends.
func (l *Loop) step(t *task) {
	if t.next == nil {
		if why := t.scope.why(); why != 0 {
			t.settle(ends[why]) // before it began
			return
		}
		t.begin()
	}
	l.running.Store(t.goroutine)
	t.next()
}

// isOver reports whether nothing is left to do, and lets nothing in from then on.
func (l *Loop) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = len(l.inbox) == 0
	return l.over
}

// idle waits until something may have become ready. The clock, the inbox and the context are all
// that can make it so; if there is no hope of any, it is a deadlock.
func (l *Loop) idle() {
	var ring <-chan time.Time
	switch timed := len(l.timers.heap) > 0; {
	case timed && l.virtual && l.outside == 0:
		l.jumped.Store(l.timers.heap[0].when)
		l.timers.fireUntil(l, l.timers.heap[0].when)
		return
	case timed && !l.virtual:
		d := time.Duration(l.timers.heap[0].when - l.now())
		if l.timer == nil {
			l.timer = time.NewTimer(d)
		} else {
			l.timer.Reset(d)
		}
		ring = l.timer.C
	case l.outside == 0 && l.foreign == 0:
		l.deadlock()
		return
	}
	select {
	case <-l.bell:
	case <-ring:
	case <-l.done:
	}
}

// deadlock tells all who wait.
func (l *Loop) deadlock() {
	if l.posted.Load() {
		return
	}
	dead := new(DeadlockError)
	for t := l.live.first; t != nil; t = t.after {
		dead.Waits = append(dead.Waits, t.waitsFor())
	}
	l.errs, l.dead = append(l.errs, dead), append(l.dead, dead)
	for t := l.live.first; t != nil; t = t.after {
		l.wake(t, dead)
	}
	l.endAll(endCanceled)
}

// fail ends all tasks because of an error.
func (l *Loop) fail(err error) {
	l.note(err)
	l.endAll(endCanceled)
}

// note adds an error to what Run returns, unless it only says what is known: that of a deadlock is
// the error of all who waited in it.
func (l *Loop) note(err error) {
	if len(l.dead) > 0 {
		told := false
		if only(err, func(err error, leaf bool) bool {
			dead, ok := err.(*DeadlockError)
			ok = ok && slices.Contains(l.dead, dead)
			told = told || ok
			return ok || leaf && isContextError(err)
		}) && told {
			return
		}
	}
	l.errs = append(l.errs, err)
}

// saysEnd reports whether err says no more than that the contexts of tasks have ended, or why that
// of Run has, which Run says itself.
func (l *Loop) saysEnd(err error) bool {
	cause := context.Cause(l.ctx)
	return only(err, func(err error, leaf bool) bool { return err == cause || leaf && isContextError(err) })
}

// endAll ends the contexts of all tasks.
func (l *Loop) endAll(why uint32) {
	if l.stopped != 0 {
		return
	}
	l.stopped = why
	for t := l.live.first; t != nil; t = t.after {
		l.end(&t.scope, why)
	}
}

// now is the time since the loop's start, in ns.
func (l *Loop) now() int64 {
	if l.virtual {
		return l.jumped.Load()
	}
	return int64(time.Since(l.start))
}

// after is now and d, or the end of time.
func (l *Loop) after(d time.Duration) int64 {
	now := l.now()
	if when := now + int64(max(d, 0)); when >= now {
		return when
	}
	return 1<<63 - 1
}

// inside reports whether the caller is the loop, or the task that runs.
func (l *Loop) inside() bool {
	me := strand.Goroutine()
	return me == l.running.Load() || me == l.goroutine.Load()
}

// do has f done in the loop: at once if the caller is inside, otherwise soon. It returns false
// if the loop is over.
func (l *Loop) do(f func()) bool {
	if l.inside() {
		f()
		return true
	}
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return false
	}
	l.inbox = append(l.inbox, f)
	l.posted.Store(true)
	l.mu.Unlock()
	select {
	case l.bell <- struct{}{}:
	default:
	}
	return true
}

// takeInbox does what others want.
func (l *Loop) takeInbox() {
	l.mu.Lock()
	all := l.inbox
	l.inbox = nil
	l.posted.Store(false)
	l.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// admit adds a task.
func (l *Loop) admit(t *task) {
	if !l.do(func() { l.add(t) }) {
		t.err = ErrEnded
		t.seen.Store(true)
		t.settled.Store(true)
	}
}

func (l *Loop) add(t *task) {
	l.live.add(t)
	if l.stopped != 0 {
		t.scope.show(l.stopped)
	}
	l.ready.push(t)
}

// wake has a waiting task go on, with err for its wait. It returns false if it does not wait
// any more.
func (l *Loop) wake(t *task, err error) bool {
	if !t.waiting {
		return false
	}
	t.waiting, t.woken = false, err
	l.ready.push(t)
	return true
}
