package coro

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// busy are ways to keep the loop from running until a context ends.
var busy = map[string]func(ctx context.Context){
	"Done": func(ctx context.Context) { <-ctx.Done() },
	"Err": func(ctx context.Context) {
		for ctx.Err() == nil {
			runtime.Gosched()
		}
	},
	"standard context": func(ctx context.Context) {
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		<-derived.Done()
	},
	"standard context within a value": func(ctx context.Context) {
		derived, cancel := context.WithCancel(context.WithValue(ctx, scopeTest{}, 1))
		defer cancel()
		<-derived.Done()
	},
	"AfterFunc": func(ctx context.Context) {
		called := make(chan bool)
		context.AfterFunc(ctx, func() { close(called) })
		<-called
	},
	"scope within": func(ctx context.Context) {
		within, cancel := WithTimeout(ctx, time.Hour)
		defer cancel()
		<-within.Done()
	},
	"scope within a standard context": func(ctx context.Context) {
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		within, cancelWithin := WithCancel(derived)
		defer cancelWithin()
		<-within.Done()
	},
	"loop within": func(ctx context.Context) {
		l := NewLoop(Options{})
		l.Go("sleeper", func(ctx context.Context) error { return Sleep(ctx, time.Hour) })
		_ = l.Run(ctx)
	},
}

// The context of a task ends also while the task blocks or computes, and so nobody runs the
// loop: with that of Run, by a cancel from another goroutine, and by a timeout on the real clock.
func TestEndWhileBusy(t *testing.T) {
	for name, block := range busy {
		for _, clock := range []Clock{Real, Virtual} {
			for _, by := range []string{"Run's context", "Cancel", "cancel", "timeout"} {
				if by == "timeout" && clock == Virtual {
					continue // virtual time stands still meanwhile
				}
				l := NewLoop(Options{Clock: clock})
				run, cancelRun := context.WithCancel(t.Context())
				want := context.Canceled
				var task *Task[struct{}]
				task = l.Go("busy", func(ctx context.Context) error {
					begun := make(chan func(), 1)
					scope := ctx
					switch by {
					case "Run's context":
						begun <- cancelRun
					case "Cancel":
						begun <- task.Cancel
					case "cancel":
						var cancel func()
						scope, cancel = WithCancel(ctx)
						begun <- cancel
					case "timeout":
						var cancel func()
						scope, cancel = WithTimeout(ctx, time.Millisecond)
						defer cancel()
						want = context.DeadlineExceeded
						begun <- func() {}
					}
					go func() { (<-begun)() }()
					block(scope)
					if err := scope.Err(); err != want {
						t.Errorf("%s, %s: %v", name, by, err)
					}
					shielded, cancel := WithCancel(context.WithoutCancel(scope))
					defer cancel()
					if shielded.Err() != nil {
						t.Errorf("%s, %s: what is shielded has ended", name, by)
					}
					if err := Sleep(scope, time.Hour); err != want {
						t.Errorf("%s, %s: Sleep: %v", name, by, err)
					}
					return nil
				})
				timer := time.AfterFunc(30*time.Second, func() { panic(name + ", " + by + ": it has not ended") })
				if err := l.Run(run); err != nil && (by != "Run's context" || err != context.Canceled) {
					t.Errorf("%s, %s: Run: %v", name, by, err)
				}
				timer.Stop()
				cancelRun()
				if len(l.asked) != 0 {
					t.Errorf("%s, %s: scopes are still listed", name, by)
				}
			}
		}
	}
}

// An end stays what it was, and a task that waits meanwhile is still woken.
func TestEndStays(t *testing.T) {
	l := NewLoop(Options{})
	l.Go("task", func(ctx context.Context) error {
		ctx, cancel := WithTimeout(ctx, time.Millisecond)
		busy["Err"](ctx)
		cancel()
		if err := ctx.Err(); err != context.DeadlineExceeded {
			t.Errorf("after cancel: %v", err)
		}
		return nil
	})
	l.Go("waits", func(ctx context.Context) error {
		ctx, cancel := WithTimeout(ctx, time.Millisecond)
		defer cancel()
		l.Go("busy meanwhile", func(context.Context) error { busy["Err"](ctx); return nil })
		if _, err := NewQueue[int](1).Get(ctx); err != context.DeadlineExceeded {
			t.Errorf("Get: %v", err)
		}
		return nil
	})
	runs(t, l)
}

// A task that another goroutine cancels before it begins never does.
func TestEndBeforeBegin(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	task := Start(l, "never", func(context.Context) (int, error) { t.Error("it began"); return 0, nil })
	done := make(chan bool)
	l.Go("first", func(context.Context) error { return nil })
	go func() { task.Cancel(); close(done) }()
	<-done
	runs(t, l)
	if _, err := task.Result(t.Context()); err != context.Canceled {
		t.Error(err)
	}
}

// A time of the virtual clock is told to nobody else: what waits by the real one has its own.
func TestVirtualDeadline(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	l.Go("task", func(ctx context.Context) error {
		virtual, cancel := WithTimeout(ctx, time.Hour)
		defer cancel()
		if at, ok := virtual.Deadline(); ok {
			t.Errorf("deadline %v", at)
		}
		real, cancel := context.WithTimeout(virtual, time.Millisecond)
		defer cancel()
		<-real.Done()
		if at, ok := real.Deadline(); !ok || time.Since(at) > time.Hour || real.Err() != context.DeadlineExceeded {
			t.Errorf("deadline %v, %v", at, real.Err())
		}
		return nil
	})
	runs(t, l)
	l = NewLoop(Options{Clock: Virtual})
	at := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), at)
	defer cancel()
	l.Go("task", func(ctx context.Context) error {
		virtual, cancel := WithTimeout(ctx, time.Second)
		defer cancel()
		if d, ok := virtual.Deadline(); !ok || !d.Equal(at) {
			t.Errorf("deadline %v, want that of Run's context", d)
		}
		return Sleep(ctx, time.Minute)
	})
	if err := l.Run(ctx); err != nil {
		t.Error(err)
	}
}

// A timeout that nobody has cancelled does not outlive its task, nor that in which it is.
func TestForgottenTimeouts(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	l.Go("task", func(ctx context.Context) error {
		forgetful := Start(l, "forgetful", func(ctx context.Context) (int, error) {
			for range 10 {
				ctx, _ = WithTimeout(ctx, time.Hour)
			}
			return 0, nil
		})
		if _, err := Await(ctx, forgetful); err != nil {
			return err
		}
		if n := len(l.timers.heap); n != 0 {
			t.Errorf("%d timers are left", n)
		}
		outer, cancel := WithCancel(ctx)
		_, forget := WithTimeout(outer, time.Hour)
		cancel()
		if n := len(l.timers.heap); n != 0 {
			t.Errorf("%d timers are left", n)
		}
		forget()
		return nil
	})
	runs(t, l)
	if d := l.Now().Sub(epoch); d != 0 {
		t.Errorf("at the end it is %v", d)
	}
}

// taker is a keeper that looks at the end who it is that ends.
type taker struct{ look func() }

func (k *taker) Reclaim(*strand.Strand) ([]string, bool) { k.look(); return []string{"it"}, true }
func (*taker) Gone() bool                                { return false }

// A task that ends gets hold of nothing any more: no strand is to be had while what it holds is
// taken back, and none is made afterwards.
func TestNoStrandAtEnd(t *testing.T) {
	l := NewLoop(Options{})
	Start(l, "ends", func(ctx context.Context) (int, error) {
		strand.Holds(strand.From(ctx), &taker{func() {
			if strand.From(ctx) != nil {
				t.Error("while it ends it has a strand")
			}
		}})
		return 0, io.EOF
	})
	var after context.Context
	l.Go("has none", func(ctx context.Context) error { after = ctx; return nil })
	err := run(t, l)
	var held *HeldError
	if !errors.As(err, &held) || !errors.Is(err, io.EOF) || strand.From(after) != nil {
		t.Errorf("Run: %v; afterwards the strand is %v", err, strand.From(after))
	}
}

// Many may wait for one end, and stop in any order; those that stay are called in theirs.
func TestHooks(t *testing.T) {
	var l hooks
	var called []int
	all := make([]hook, 10)
	for i := range all {
		all[i].f = func() { called = append(called, i) }
		l.add(&all[i])
	}
	for _, i := range []int{9, 0, 4, 5} {
		if !l.remove(&all[i]) || l.remove(&all[i]) {
			t.Errorf("%d", i)
		}
	}
	for h := l.take(); h != nil; h = h.next {
		h.f()
	}
	if len(called) != 6 || called[0] != 1 || called[5] != 8 || l.remove(&all[1]) || l != (hooks{}) {
		t.Errorf("called %v", called)
	}
}
