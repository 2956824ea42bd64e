package coro

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// Sleep lets others run until d has passed on the loop's clock; with 0 or less it is Pass. It
// returns nil, or the error of ctx if that has ended, before or meanwhile; or ErrNoTask or
// ErrElsewhere if ctx is not the caller's; or ErrThread. As everywhere in this package, the task's context
// within context.WithoutCancel shields: that wait goes on when the task is cancelled.
func Sleep(ctx context.Context, d time.Duration) error {
	s, err := caller(ctx)
	if err != nil {
		return err
	}
	if d <= 0 {
		return pass(ctx, s)
	}
	l := s.task.loop
	l.timers.add(&s.task.timer, l.after(d))
	err = wait(ctx, s, asleep)
	l.timers.remove(&s.task.timer) // whatever has ended the wait: it is one timer for all sleeps
	return err
}

// Pass lets those run that are ready, each once. Its errors are those of Sleep.
func Pass(ctx context.Context) error {
	s, err := caller(ctx)
	if err != nil {
		return err
	}
	return pass(ctx, s)
}

func pass(ctx context.Context, s *scope) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := s.task
	if strand.Locked() != t.loop.thread {
		return ErrThread
	}
	t.loop.ready.push(t)
	t.yield(struct{}{})
	return ctx.Err()
}

// wait has the task wait until somebody wakes it, or ctx ends, whose scope s is. What it waits
// for was told that; the caller takes that back.
func wait(ctx context.Context, s *scope, on waitable) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := s.task
	l, turn := t.loop, t.waits
	if strand.Locked() != l.thread {
		return ErrThread
	}
	t.with = ctx
	switch {
	case outside(ctx, s):
		if ctx.Done() == nil {
			return t.park(nil, on)
		}
	case s.foreign:
		l.foreign++
		defer func() { l.foreign-- }()
		return t.park(s, on)
	default:
		return t.park(s, on)
	}
	stop := context.AfterFunc(ctx, func() {
		l.do(func() {
			if t.waits == turn {
				l.wake(t, ctx.Err())
			}
		})
	})
	l.foreign++
	err := t.park(s, on)
	l.foreign--
	stop()
	return err
}

// park switches to the loop until somebody wakes the task. If under is nil no context does.
func (t *task) park(under *scope, on waitable) error {
	t.waiting, t.under, t.on = true, under, on
	t.yield(struct{}{})
	err := t.woken
	t.under, t.with, t.on, t.woken = nil, nil, nil, nil
	t.waits++
	return err
}

// Awaitable is what Await waits for. A Task is one, and so is a *brood.Future.
//
// One that also has AfterDone(f func()) (stop func() bool), as both of these have, which calls f
// when it is done unless stop was called, is awaited without a goroutine; any other one by
// a goroutine for each wait.
type Awaitable[T any] interface {
	// Done is closed once there is an outcome.
	Done() <-chan struct{}
	// Result returns it.
	Result(ctx context.Context) (T, error)
}

// Await lets others run until f has its outcome, and returns that. When ctx ends before, its
// error is returned, and f goes on. The one that would close a circle of tasks of one loop that
// await or gather each other, and all tasks if nothing can end their waits, get a
// *DeadlockError. Otherwise its errors are those of Sleep.
//
// What is outside of the loop, also a task of another one, may be done at any time: as long as it
// is awaited a virtual clock stands still.
func Await[T any](ctx context.Context, f Awaitable[T]) (T, error) {
	s, err := caller(ctx)
	if err == nil {
		if own, ok := f.(interface{ base() *task }); ok && own.base().loop == s.task.loop {
			err = s.task.join(ctx, s, own.base())
		} else {
			err = s.task.awaitOutside(ctx, s, f.Done(), f)
		}
	}
	if err != nil {
		var none T
		return none, err
	}
	return f.Result(ctx)
}

// join waits for the end of another task of the loop.
func (t *task) join(ctx context.Context, s *scope, other *task) error {
	if other.settled.Load() {
		return nil
	}
	if err := t.circle(other); err != nil {
		return err
	}
	w := &waiter[func(*task)]{task: t}
	other.joiners.add(w)
	defer other.joiners.remove(w)
	return wait(ctx, s, other)
}

// circle is an error if other awaits t, or one that does. One that gathers waits for all of its
// tasks, so each of them may be the way. Nobody needs to look if nobody waits for t; and circles of
// more than a thousand tasks are found only when everything stands still: a long row would
// be walked along by each that joins it.
func (t *task) circle(other *task) error {
	if other == t {
		return &DeadlockError{[]Wait{{t.name, t.what()}}}
	}
	if t.joiners.first == nil {
		return nil
	}
	const most = 1000
	ways := []way{{other, -1}}
	seen := make(map[*task]struct{})
	for i := 0; i < len(ways) && i < most; i++ {
		if !ways[i].to.waiting {
			continue
		}
		for next := range ways[i].to.awaited() {
			if next == t {
				return &DeadlockError{t.along(ways, i)}
			}
			if _, again := seen[next]; !again && next.waiting && len(ways) < most {
				seen[next] = struct{}{}
				ways = append(ways, way{next, i})
			}
		}
	}
	return nil
}

// way is how a task was reached, from that of an index.
type way struct {
	to   *task
	from int
}

// awaited is an iterator over the tasks that one which waits needs the end of.
func (t *task) awaited() iter.Seq[*task] {
	return func(yield func(*task) bool) {
		switch on := t.on.(type) {
		case *task:
			yield(on)
		case *gathering:
			for _, of := range on.all {
				if !of.settled.Load() && !yield(of) {
					return
				}
			}
		}
	}
}

// along is the circle from t, by the way that ends at an index, and back to t.
func (t *task) along(ways []way, at int) []Wait {
	row := []*task{t}
	for ; at >= 0; at = ways[at].from {
		row = append(row, ways[at].to)
	}
	slices.Reverse(row)
	all := []Wait{{t.name, row[0].what()}}
	for i, of := range row[:len(row)-1] {
		all = append(all, Wait{of.name, row[i+1].what()})
	}
	return all
}

// awaitOutside waits for something that is not of the loop.
func (t *task) awaitOutside(ctx context.Context, s *scope, done <-chan struct{}, f any) error {
	select {
	case <-done:
		return nil
	default:
	}
	l, turn, early := t.loop, t.waits, false
	defer func() { t.waits++ }() // what was registered ends no later wait, also if this one never parked
	wake := func() {
		l.do(func() {
			if t.waits == turn {
				early = !l.wake(t, nil)
			}
		})
	}
	if f, ok := f.(interface {
		AfterDone(f func()) (stop func() bool)
	}); ok {
		stop := f.AfterDone(wake)
		defer stop()
	} else {
		over := make(chan struct{})
		defer close(over)
		go func() {
			select {
			case <-done:
				wake()
			case <-over:
			}
		}()
	}
	if early {
		return nil
	}
	l.outside++
	defer func() { l.outside-- }()
	return wait(ctx, s, future)
}
