package coro

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// scope is a context within a task: the task's own, or one of WithTimeout and WithCancel.
//
// Its end has two sides. It is visible, by Err, Done and what package context has derived, to
// whoever asks on any goroutine, as soon as it is due: also while the task blocks or
// computes, and nobody runs the loop. And the loop is told of it, by end, which wakes the task if it
// waits there, and does so in the loop itself, so that the order of things is the same in each
// run; contexts of the standard library wake by a goroutine. What the loop ends becomes visible
// and is told at once. Ends from outside of it (Run's context, a cancel by another goroutine, a
// deadline by the real clock) are visible first.
//
// Err finds out by itself that an end is due. Who waits for Done has to be told: scopes that were
// asked for it are listed under mu, and looked at when Run's context ends or somebody cancels;
// by the real clock one with a deadline has a timer of the runtime's as well.
type scope struct {
	task   *task
	own    *inner          // that it is a part of; nil: the task's own
	parent context.Context // whose values and deadline it has; nil: the context of Run

	// Those made within it, which end with it.
	up                 *scope
	first, left, right *scope

	foreign bool // something outside of the loop may end it
	told    bool // the loop knows of its end

	ended atomic.Uint32 // why, of ends; set under mu

	// Under mu:
	done    chan struct{} // made when first asked for
	hooks   hooks         // called at the end
	isAsked bool          // it is among the task's asked, and asked is the next one
	asked   *scope
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
func (s *scope) Deadline() (time.Time, bool) {
	at, ok := s.above().Deadline()
	if s.own != nil && !s.own.deadline.IsZero() && !(ok && at.Before(s.own.deadline)) {
		return s.own.deadline, true
	}
	return at, ok
}

// Done implements context.Context.
func (s *scope) Done() <-chan struct{} {
	mu := &s.task.loop.mu
	mu.Lock()
	made := s.done == nil
	if made {
		s.done = make(chan struct{})
		if s.ended.Load() != 0 {
			close(s.done)
		}
	}
	first := s.ask()
	done := s.done
	mu.Unlock()
	if first {
		s.setAlarm()
	}
	if made {
		s.why() // what came due before it was listed
	}
	return done
}

// Err implements context.Context.
func (s *scope) Err() error { return ends[s.why()] }

// why is the end that is visible, 0 if there is none.
func (s *scope) why() uint32 {
	if why := s.ended.Load(); why != 0 || s.own == nil && s.task.loop.endless {
		return why
	}
	if why := s.due(); why != 0 {
		return s.show(why)
	}
	return 0
}

// due is why a scope ends now although the loop has not said so, 0 if it does not.
func (s *scope) due() uint32 {
	if err := s.above().Err(); err != nil {
		return endOf(err)
	}
	if in := s.own; in != nil && in.when != 0 && s.task.loop.now() >= in.when {
		return endDeadline
	}
	return 0
}

// show makes an end visible, if there was none, and returns which one is.
func (s *scope) show(why uint32) uint32 {
	l := s.task.loop
	l.mu.Lock()
	if !s.ended.CompareAndSwap(0, why) {
		l.mu.Unlock()
		return s.ended.Load()
	}
	if s.done != nil {
		close(s.done)
	}
	hook := s.hooks.take()
	s.unask()
	if s.own != nil && s.own.alarm != nil {
		s.own.alarm.Stop()
	}
	l.mu.Unlock()
	for ; hook != nil; hook = hook.next {
		hook.f() // package context's: it ends its own at once, and calls what is the user's on other goroutines
	}
	return why
}

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

// AfterFunc lets package context derive from this one without a goroutine. That may hold a lock of
// its own here, so f is not called before AfterFunc has returned.
func (s *scope) AfterFunc(f func()) (stop func() bool) {
	mu := &s.task.loop.mu
	h := &hook{f: f}
	mu.Lock()
	if s.ended.Load() != 0 {
		mu.Unlock()
		go f()
		return func() bool { return false }
	}
	s.hooks.add(h)
	first := s.ask()
	mu.Unlock()
	if first {
		s.setAlarm()
	}
	if s.due() != 0 { // before it was listed
		go s.why()
	}
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return s.hooks.remove(h)
	}
}

// ask lists a scope whose end somebody wants to be told of, and reports whether it was not
// listed before. Mu is held.
func (s *scope) ask() bool {
	t := s.task
	if s.isAsked || s.ended.Load() != 0 {
		return false
	}
	if t.asked == nil {
		if t.loop.asked == nil {
			t.loop.asked = make(map[*task]struct{})
		}
		t.loop.asked[t] = struct{}{}
	}
	s.isAsked, s.asked, t.asked = true, t.asked, s
	return true
}

// unask takes it out of that list. Mu is held.
func (s *scope) unask() {
	if !s.isAsked {
		return
	}
	t := s.task
	at := &t.asked
	for *at != s {
		at = &(*at).asked
	}
	*at = s.asked
	s.isAsked, s.asked = false, nil
	if t.asked == nil {
		delete(t.loop.asked, t)
	}
}

// setAlarm sees to it that a deadline by the real clock is met also while the loop is busy.
func (s *scope) setAlarm() {
	l, in := s.task.loop, s.own
	if in == nil || l.virtual {
		return
	}
	at, ok := s.Deadline()
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.ended.Load() == 0 && in.alarm == nil {
		in.alarm = time.AfterFunc(time.Until(at), func() { s.why() })
	}
}

// look has scopes of a task that were asked for, or of all if t is nil, look whether they have
// ended.
func (l *Loop) look(t *task) {
	var all []*scope
	list := func(t *task) {
		for s := t.asked; s != nil; s = s.asked {
			all = append(all, s)
		}
	}
	l.mu.Lock()
	if t != nil {
		list(t)
	} else {
		for t := range l.asked {
			list(t)
		}
	}
	l.mu.Unlock()
	for _, s := range all {
		s.why()
	}
}

// endFrom is end for all goroutines. From outside of the loop it is visible at once, and the
// loop is told when it comes to that.
func (l *Loop) endFrom(s *scope, why uint32, then func()) {
	if !l.inside() {
		s.show(why)
		l.look(s.task)
	}
	l.do(func() {
		l.end(s, why)
		then()
	})
}

// hooks is a list of functions, in the order in which they were added.
type hooks struct{ first, last *hook }

type hook struct {
	f          func()
	in         bool
	prev, next *hook
}

func (l *hooks) add(h *hook) {
	h.in, h.prev = true, l.last
	if l.last != nil {
		l.last.next = h
	} else {
		l.first = h
	}
	l.last = h
}

// remove takes one out, and reports whether it was in.
func (l *hooks) remove(h *hook) bool {
	if !h.in {
		return false
	}
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		l.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	} else {
		l.last = h.prev
	}
	h.in = false
	return true
}

// take takes all out: the first one, and by next the others.
func (l *hooks) take() (first *hook) {
	first = l.first
	for h := first; h != nil; h = h.next {
		h.in = false
	}
	*l = hooks{}
	return first
}

// identity is the task's strand, nil once it ends: then it holds nothing, and must not get
// hold of anything.
func (t *task) identity() *strand.Strand {
	if t.strand.Load() == nil {
		t.strand.CompareAndSwap(nil, strand.New(strand.Coroutine, t.name))
	}
	if s := t.strand.Load(); s != buried {
		return s
	}
	return nil
}

// buried takes the place of the strand of a task that ends, so that nobody makes one later.
var buried = new(strand.Strand)

// end ends a scope and those within it, and wakes the task if it waits there.
func (l *Loop) end(s *scope, why uint32) {
	if s.told {
		return
	}
	s.told = true
	why = s.show(why)
	if s.own != nil {
		l.timers.remove(&s.own.timer)
	}
	// By now what is derived from it has ended, but for two: what context.WithoutCancel shields;
	// and what package context has derived not from a scope itself but from one with a
	// value, say, which it does by a goroutine. What is within that ends when the goroutine has
	// come to it (see within).
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
	deadline time.Time   // by the real clock: a virtual one is nobody else's
	when     int64       // the same, in ns since the loop's start; 0: none
	alarm    *time.Timer // under mu
}

// WithTimeout is context.WithTimeout on the loop's clock, for a task. The standard one is
// right in a task as well, but on the clock of the system, and it is something outside of
// the loop: when it ends is not the same in each run. By the virtual clock the context has no
// Deadline of its own, since that would be a time of another clock to whoever asks. Called with a
// context that is not that of the calling task it panics.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	s, cancel := within(ctx, "WithTimeout")
	l := s.task.loop
	if s.Err() == nil {
		when := l.after(d)
		if !l.virtual {
			s.deadline, s.when = l.start.Add(time.Duration(when)), when
		}
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
	s.task, s.own, s.parent, s.up = up.task, s, ctx, up
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
		stop = context.AfterFunc(ctx, func() { l.endFrom(&s.scope, endOf(ctx.Err()), func() {}) })
	}
	return s, func() {
		l.endFrom(&s.scope, endCanceled, func() {
			stop()
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
