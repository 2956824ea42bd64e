package coro

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// scope is a context within a task: the task's own, or one of WithTimeout and WithCancel. It
// is ended in the loop, and wakes the task there at once, so that the order of things is the
// same in each run; contexts of the standard library wake by a goroutine. What other goroutines
// may ask of a context is atomic, or under the loop's mu.
type scope struct {
	task   *task           // nil: that of all tasks
	parent context.Context // whose values and deadline it has; nil: the context of Run

	// Those made within it, which end with it.
	up                 *scope
	first, left, right *scope

	foreign bool // something outside of the loop may end it

	ended atomic.Uint32 // why, of ends
	done  chan struct{} // made when first asked for, under mu
	hooks []*func()     // called at the end, under mu
}

// ends are the ways in which a scope ends.
var ends = [...]error{nil, context.Canceled, context.DeadlineExceeded}

const (
	endCanceled = 1 + iota
	endDeadline
)

// endOf is the way in which err says that a context has ended.
func endOf(err error) uint32 {
	if errors.Is(err, context.DeadlineExceeded) {
		return endDeadline
	}
	return endCanceled
}

type scopeKey struct{}

// someStrand is to recognise the key of strands.
var someStrand = new(strand.Strand)

// above is whose values and deadline it has.
func (s *scope) above() context.Context {
	if s.parent != nil {
		return s.parent
	}
	return s.task.loop.ctx
}

// Deadline implements context.Context.
func (s *scope) Deadline() (time.Time, bool) { return s.above().Deadline() }

// Done implements context.Context.
func (s *scope) Done() <-chan struct{} {
	mu := &s.task.loop.mu
	mu.Lock()
	defer mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
		if s.ended.Load() != 0 {
			close(s.done)
		}
	}
	return s.done
}

// Err implements context.Context.
func (s *scope) Err() error { return ends[s.ended.Load()] }

// Value implements context.Context.
func (s *scope) Value(key any) any {
	if _, ok := key.(scopeKey); ok {
		return s
	}
	if _, ok := strand.Value(someStrand, key); ok {
		if me := s.task.identity(); me != nil {
			return me
		}
		return nil
	}
	return s.above().Value(key)
}

// AfterFunc lets package context derive from this one without a goroutine.
func (s *scope) AfterFunc(f func()) (stop func() bool) {
	mu := &s.task.loop.mu
	mu.Lock()
	defer mu.Unlock()
	if s.ended.Load() != 0 {
		go f()
		return func() bool { return false }
	}
	s.hooks = append(s.hooks, &f)
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return removeHook(&s.hooks, &f)
	}
}

// identity is the task's strand, nil once it has ended: then it holds nothing, and must not get
// hold of anything.
func (t *task) identity() *strand.Strand {
	if t.settled.Load() {
		return nil
	}
	if s := t.strand.Load(); s != nil {
		return s
	}
	t.strand.CompareAndSwap(nil, strand.New(strand.Coroutine, t.name))
	return t.strand.Load()
}

// end ends a scope and those within it, and wakes the task if it waits there.
func (l *Loop) end(s *scope, why uint32) {
	if s.ended.Load() != 0 {
		return
	}
	l.mu.Lock()
	s.ended.Store(why)
	if s.done != nil {
		close(s.done)
	}
	hooks := s.hooks
	s.hooks = nil
	l.mu.Unlock()
	for _, f := range hooks {
		(*f)() // package context's: it ends its own at once, and calls what is the user's on other goroutines
	}
	// By now all that is derived from it has ended, but for what context.WithoutCancel shields.
	for in := s.first; in != nil; in = in.right {
		if in.parent.Err() != nil {
			l.end(in, why)
		}
	}
	if t := s.task; t.waiting && t.under == s && t.with.Err() != nil {
		l.wake(t, t.with.Err())
	}
}

// inner is a scope within that of a task.
type inner struct {
	scope
	timer    timer
	deadline time.Time
}

// Deadline implements context.Context.
func (s *inner) Deadline() (time.Time, bool) {
	if at, ok := s.scope.Deadline(); s.deadline.IsZero() || ok && at.Before(s.deadline) {
		return at, ok
	}
	return s.deadline, true
}

// WithTimeout is context.WithTimeout on the loop's clock, for a task. The standard one is
// right in a task as well, but on the clock of the system, and it is something outside of
// the loop: when it ends is not the same in each run. Called with a context that is not that
// of the calling task it panics.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	s, cancel := within(ctx, "WithTimeout")
	l := s.task.loop
	if s.Err() == nil {
		when := l.after(d)
		s.deadline = l.start.Add(time.Duration(when))
		s.timer.fire = func() { l.end(&s.scope, endDeadline) }
		if d <= 0 {
			s.timer.fire()
		} else {
			l.timers.add(&s.timer, when)
		}
	}
	return s, cancel
}

// WithCancel is context.WithCancel for a task; what is said of WithTimeout is true of it, too.
func WithCancel(ctx context.Context) (context.Context, context.CancelFunc) {
	return within(ctx, "WithCancel")
}

// within makes a scope within that of ctx.
func within(ctx context.Context, what string) (*inner, context.CancelFunc) {
	up, err := caller(ctx)
	if err != nil {
		panic(what + ": " + err.Error())
	}
	s := new(inner)
	s.task, s.parent, s.up = up.task, ctx, up
	if err := ctx.Err(); err != nil {
		s.ended.Store(endOf(err))
		return s, func() {}
	}
	if s.right = up.first; s.right != nil {
		s.right.left = &s.scope
	}
	up.first = &s.scope
	l := up.task.loop
	stop := func() bool { return true }
	s.foreign = up.foreign
	if outside(ctx, up) && ctx.Done() != nil {
		s.foreign = true
		stop = context.AfterFunc(ctx, func() { l.do(func() { l.end(&s.scope, endOf(ctx.Err())) }) })
	}
	return s, func() {
		l.do(func() {
			stop()
			l.end(&s.scope, endCanceled)
			l.timers.remove(&s.timer)
			s.leave()
		})
	}
}

// leave takes a scope out of those of the one above it.
func (s *scope) leave() {
	switch {
	case s.up == nil:
		return
	case s.left != nil:
		s.left.right = s.right
	default:
		s.up.first = s.right
	}
	if s.right != nil {
		s.right.left = s.left
	}
	s.up = nil
}

// caller is the scope of ctx, if that is a context of the calling task.
func caller(ctx context.Context) (*scope, error) {
	var s *scope
	switch c := ctx.(type) {
	case *scope:
		s = c
	case *inner:
		s = &c.scope
	default:
		s, _ = ctx.Value(scopeKey{}).(*scope)
	}
	if s == nil {
		return nil, ErrNoTask
	}
	if strand.Goroutine() != s.task.goroutine {
		return nil, ErrElsewhere
	}
	return s, nil
}

// outside reports whether ctx, which is s or derived from it, does not just end with s: something
// outside of the loop may end it, or nothing may (context.WithoutCancel).
func outside(ctx context.Context, s *scope) bool {
	switch ctx.(type) {
	case *scope, *inner:
		return false
	}
	return ctx.Done() != s.Done()
}

// Of is the loop whose task ctx belongs to, nil if there is none.
func Of(ctx context.Context) *Loop {
	if s, _ := ctx.Value(scopeKey{}).(*scope); s != nil {
		return s.task.loop
	}
	return nil
}
