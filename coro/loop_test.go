package coro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// Tasks take turns in a fixed order, and all in the goroutine of Run, one at a time.
func TestTurns(t *testing.T) {
	l := NewLoop(Options{})
	var said []string
	for _, name := range []string{"a", "b", "c"} {
		l.Go(name, func(ctx context.Context) error {
			for i := range 2 {
				said = append(said, fmt.Sprint(name, i))
				if err := Pass(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	runs(t, l)
	if want := []string{"a0", "b0", "c0", "a1", "b1", "c1"}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}

// Virtual time jumps from timer to timer, and nothing waits for it.
func TestVirtualTime(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	var said []string
	say := func(name string) { said = append(said, fmt.Sprint(name, " ", l.Now().Sub(epoch))) }
	for i, name := range []string{"a", "b", "c"} {
		l.Go(name, func(ctx context.Context) error {
			d := time.Duration(3-i) * time.Hour
			err := Sleep(ctx, d)
			say(name)
			return errors.Join(err, Sleep(ctx, 0), Sleep(ctx, -time.Hour), Sleep(ctx, time.Hour))
		})
	}
	fired := l.After(90*time.Minute, "timer", func(ctx context.Context) error { say("timer"); return nil })
	stopped := l.After(time.Hour, "stopped", func(ctx context.Context) error { return io.EOF })
	l.After(5*time.Hour, "never", func(ctx context.Context) error { return io.EOF })
	l.Go("stopper", func(ctx context.Context) error {
		if !stopped.Stop() || stopped.Stop() {
			t.Error("Stop does not know whether it has stopped")
		}
		return nil
	})
	began := time.Now()
	runs(t, l)
	if fired.Stop() {
		t.Error("Stop has stopped what has happened")
	}
	if want := []string{"c 1h0m0s", "timer 1h30m0s", "b 2h0m0s", "a 3h0m0s"}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
	if d := l.Now().Sub(epoch); d != 4*time.Hour {
		t.Errorf("at the end it is %v", d)
	}
	if d := time.Since(began); d > time.Minute {
		t.Errorf("that took %v", d)
	}
}

// The longest sleep there is does not overflow.
func TestSleepForEver(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	l.Go("sleeper", func(ctx context.Context) error {
		if err := Sleep(ctx, time.Second); err != nil {
			return err
		}
		ctx, cancel := WithTimeout(ctx, time.Hour)
		defer cancel()
		if err := Sleep(ctx, math.MaxInt64); err != context.DeadlineExceeded {
			t.Errorf("Sleep: %v", err)
		}
		return nil
	})
	runs(t, l)
}

// A real clock is waited for.
func TestRealTime(t *testing.T) {
	l := NewLoop(Options{})
	const d = 20 * time.Millisecond
	began := time.Now()
	for range 3 {
		l.Go("sleeper", func(ctx context.Context) error {
			err := errors.Join(Sleep(ctx, d), Sleep(ctx, d))
			if slept := l.Now().Sub(began); slept < 2*d {
				t.Errorf("slept for %v", slept)
			}
			return err
		})
	}
	runs(t, l)
}

// A hundred thousand sleep at once, by either clock.
func TestSleepers(t *testing.T) {
	n := 100_000
	if raceDetector && !long {
		n = 5_000 // it has a limit of goroutines, and is slow
	}
	for name, o := range map[string]Options{"virtual": {Clock: Virtual}, "real": {}} {
		t.Run(name, func(t *testing.T) {
			l := NewLoop(o)
			asleep, most, woken := 0, 0, 0
			last := l.Now()
			for i := range n {
				l.Go("sleeper", func(ctx context.Context) error {
					asleep++
					most = max(most, asleep)
					d := time.Hour + time.Duration(i%1000)*time.Second
					if o.Clock == Real {
						d = time.Duration(100+i%10) * time.Millisecond
					}
					err := Sleep(ctx, d)
					for err == nil && most < n { // they had woken up before the last one was asleep
						err = Sleep(ctx, d)
					}
					asleep--
					woken++
					if now := l.Now(); now.Before(last) {
						t.Errorf("time goes backwards: %v after %v", now, last)
					} else {
						last = now
					}
					return err
				})
			}
			runs(t, l)
			if woken != n || most != n {
				t.Errorf("%d woke up, at most %d slept at once, of %d", woken, most, n)
			}
		})
	}
}

// The first failure ends the others, whose deferred calls run, and Run returns it.
func TestFailureEndsAll(t *testing.T) {
	for name, fail := range map[string]func() error{
		"failed":   func() error { return io.ErrUnexpectedEOF },
		"panicked": func() error { panic(io.ErrUnexpectedEOF) },
		"Goexit":   func() error { runtime.Goexit(); return nil },
	} {
		l := NewLoop(Options{Clock: Virtual})
		deferred := 0
		for range 3 {
			l.Go("sleeper", func(ctx context.Context) error {
				defer func() { deferred++ }()
				err := Sleep(ctx, time.Hour)
				l.Go("too late", func(context.Context) error { t.Error("it began"); return nil })
				return err
			})
		}
		l.Go("bad", func(ctx context.Context) error {
			defer func() { deferred++ }()
			if err := Sleep(ctx, time.Minute); err != nil {
				return err
			}
			l.Go("late", func(context.Context) error { return errors.New("it began") })
			return fail()
		})
		err := run(t, l)
		want := map[bool]error{true: ErrGoexit, false: io.ErrUnexpectedEOF}[name == "Goexit"]
		if !errors.Is(err, want) || !strings.Contains(err.Error(), `task "bad"`) || strings.Contains(err.Error(), "\n") || errors.Is(err, context.Canceled) {
			t.Errorf("%s: Run: %v", name, err)
		}
		if deferred != 4 || l.Now().Sub(epoch) != time.Minute {
			t.Errorf("%s: %d deferred calls after %v", name, deferred, l.Now().Sub(epoch))
		}
	}
}

// Errors of what was started for somebody who awaits it are his; those that nobody asked for
// come from Run, and end nobody.
func TestStartErrors(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	bad := func(context.Context) (int, error) { return 0, io.EOF }
	ended := false
	l.Go("parent", func(ctx context.Context) error {
		awaited, forgotten := Start(l, "awaited", bad), Start(l, "forgotten", bad)
		_ = forgotten
		_, err := Await(ctx, awaited)
		if err != io.EOF {
			t.Errorf("Await: %v", err)
		}
		err = Sleep(ctx, time.Hour)
		ended = true
		return err
	})
	err := run(t, l)
	if err == nil || err.Error() != `coro: task "forgotten": EOF` || !ended {
		t.Errorf("Run: %v, the other one ended: %v", err, ended)
	}
}

// A context's error is a failure of a task that nobody has cancelled.
func TestTimeoutIsFailure(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	l.Go("impatient", func(ctx context.Context) error {
		ctx, cancel := WithTimeout(ctx, time.Second)
		defer cancel()
		return Sleep(ctx, time.Hour)
	})
	if err := run(t, l); !errors.Is(err, context.DeadlineExceeded) || err.Error() != `coro: task "impatient": context deadline exceeded` {
		t.Errorf("Run: %v", err)
	}
}

// When the context of Run ends, so do all tasks.
func TestRunContext(t *testing.T) {
	why := errors.New("enough")
	for _, clock := range []Clock{Real, Virtual} {
		ctx, cancel := context.WithCancelCause(context.Background())
		l := NewLoop(Options{Clock: clock})
		deferred := 0
		q := NewQueue[int](1)
		for range 3 {
			l.Go("sleeper", func(ctx context.Context) error {
				defer func() { deferred++ }()
				return Sleep(ctx, math.MaxInt64)
			})
			l.Go("getter", func(ctx context.Context) error {
				defer func() { deferred++ }()
				_, err := q.Get(ctx)
				return err
			})
		}
		l.Go("outside", func(ctx context.Context) error {
			defer func() { deferred++ }()
			_, err := Await(ctx, pending{})
			return err
		})
		l.Go("canceller", func(ctx context.Context) error {
			if clock == Virtual {
				cancel(why)
				return nil
			}
			go cancel(why) // Run sleeps
			return nil
		})
		if err := l.Run(ctx); err != why || deferred != 7 {
			t.Errorf("%v: Run: %v, %d deferred calls", clock, err, deferred)
		}
		cancel(nil)
	}
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	l := NewLoop(Options{})
	task := l.Go("never begun", func(context.Context) error { t.Error("it began"); return nil })
	if err := l.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	if _, err := task.Result(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("its outcome: %v", err)
	}
}

// pending is a future that is never done.
type pending struct{}

func (pending) Done() <-chan struct{}               { return nil }
func (pending) Result(context.Context) (int, error) { panic("it is not done") }

// Cancel ends one task, before it begins, while it waits, and in any wait.
func TestCancel(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	var said []string
	say := func(err error) { said = append(said, fmt.Sprint(err)) }
	q := NewQueue[int](1)
	l.Go("canceller", func(ctx context.Context) error {
		unborn := Start(l, "unborn", func(context.Context) (int, error) { t.Error("it began"); return 0, nil })
		waits := []*Task[struct{}]{
			l.Go("sleeper", func(ctx context.Context) error { return Sleep(ctx, time.Hour) }),
			l.Go("getter", func(ctx context.Context) error { _, err := q.Get(ctx); return err }),
			l.Go("awaiter", func(ctx context.Context) error { _, err := Await(ctx, pending{}); return err }),
			l.Go("passer", func(ctx context.Context) error {
				for {
					if err := Pass(ctx); err != nil {
						return err
					}
				}
			}),
		}
		unborn.Cancel()
		if err := Pass(ctx); err != nil {
			return err
		}
		for _, w := range waits {
			w.Cancel()
			w.Cancel()
		}
		_, err := Await(ctx, unborn)
		say(err)
		for _, w := range waits {
			_, err := Await(ctx, w)
			say(err)
		}
		return q.Put(ctx, 1) // nobody who has given up gets it
	})
	runs(t, l)
	if want := slices.Repeat([]string{"context canceled"}, 5); !slices.Equal(said, want) {
		t.Errorf("errors: %q", said)
	}
	if q.Len() != 1 {
		t.Errorf("%d items are left", q.Len())
	}
}

// Who waits with a context of its own is woken when that ends, and only by that.
func TestScopes(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	at := func() time.Duration { return l.Now().Sub(epoch) }
	l.Go("task", func(ctx context.Context) error {
		long, cancelLong := WithTimeout(ctx, time.Hour)
		short, cancelShort := WithTimeout(long, time.Minute)
		defer cancelShort()
		if d, ok := short.Deadline(); ok {
			t.Errorf("deadline %v, which is nobody else's time", d)
		}
		if err := Sleep(short, time.Hour); err != context.DeadlineExceeded || at() != time.Minute || long.Err() != nil {
			t.Errorf("Sleep: %v at %v", err, at())
		}
		if err := Sleep(short, 0); err != context.DeadlineExceeded {
			t.Errorf("Sleep with a context that has ended: %v", err)
		}
		named := context.WithValue(long, scopeTest{}, "x")
		if err := Sleep(named, 2*time.Hour); err != context.DeadlineExceeded || at() != time.Hour {
			t.Errorf("Sleep: %v at %v", err, at())
		}
		cancelLong()
		outer, cancelOuter := WithTimeout(ctx, time.Minute)
		patient, cancelPatient := WithTimeout(outer, time.Hour)
		if err := Sleep(patient, time.Hour); err != context.DeadlineExceeded || at() != time.Hour+time.Minute {
			t.Errorf("Sleep: %v at %v", err, at())
		}
		cancelPatient()
		cancelOuter()
		inner, cancel := WithCancel(context.WithValue(ctx, scopeTest{}, "y"))
		if inner.Value(scopeTest{}) != "y" {
			t.Error("the value is lost")
		}
		l.After(time.Minute, "canceller", func(context.Context) error { cancel(); cancel(); return nil })
		if err := Sleep(inner, time.Hour); err != context.Canceled || at() != time.Hour+2*time.Minute {
			t.Errorf("Sleep: %v at %v", err, at())
		}
		within, cancel := WithCancel(inner)
		defer cancel()
		select {
		case <-within.Done():
		default:
			t.Error("within one that has ended it has not")
		}
		ended, cancel := WithTimeout(ctx, 0)
		defer cancel()
		if ended.Err() != context.DeadlineExceeded {
			t.Errorf("no time at all: %v", ended.Err())
		}
		for range 1000 {
			_, cancel := WithTimeout(ctx, 24*time.Hour)
			cancel()
		}
		if n := len(l.timers.heap); n != 0 || l.live.first.scope.first != nil && l.live.first.scope.first.right != nil {
			t.Errorf("%d timers are left", n)
		}
		return Sleep(ctx, time.Minute)
	})
	runs(t, l)
}

type scopeTest struct{}

// Contexts of the standard library may be derived, without a goroutine for each, and wake.
func TestStandardContexts(t *testing.T) {
	for _, clock := range []Clock{Real, Virtual} {
		l := NewLoop(Options{Clock: clock})
		l.Go("task", func(ctx context.Context) error {
			before := runtime.NumGoroutine()
			derived, cancel := context.WithCancel(ctx)
			if n := runtime.NumGoroutine(); n != before {
				t.Errorf("%d goroutines more", n-before)
			}
			q := NewQueue[int](1)
			go cancel()
			if _, err := q.Get(derived); err != context.Canceled {
				t.Errorf("Get: %v", err)
			}
			again, cancel := context.WithCancel(ctx)
			within, cancelWithin := WithCancel(again)
			defer cancelWithin()
			within, cancelWithin = WithCancel(within)
			defer cancelWithin()
			go cancel()
			if _, err := q.Get(within); err != context.Canceled {
				t.Errorf("Get within one that ends: %v", err)
			}
			timed, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if _, err := q.Get(timed); err != context.DeadlineExceeded {
				t.Errorf("Get: %v", err)
			}
			inner, cancel := WithCancel(timed)
			defer cancel()
			if err := Sleep(inner, 0); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Sleep within it: %v", err)
			}
			return nil
		})
		runs(t, l)
	}
	l := NewLoop(Options{Clock: Virtual})
	var derived context.Context
	fired := make(chan struct{})
	task := l.Go("task", func(ctx context.Context) error {
		var cancel context.CancelFunc
		derived, cancel = context.WithCancel(ctx)
		t.Cleanup(cancel)
		context.AfterFunc(ctx, func() { close(fired) })
		return nil
	})
	runs(t, l)
	<-fired
	<-task.Done()
	if derived.Err() != context.Canceled {
		t.Error("it has not ended with the task")
	}
}

// What is shielded from a task's end goes on, and only that.
func TestShield(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	at := func() time.Duration { return l.Now().Sub(epoch) }
	var said []string
	waits := map[string]func(ctx context.Context) error{
		"plain":  func(ctx context.Context) error { return Sleep(ctx, time.Hour) },
		"shield": func(ctx context.Context) error { return Sleep(context.WithoutCancel(ctx), time.Hour) },
		"shield with a timeout": func(ctx context.Context) error {
			ctx, cancel := WithTimeout(context.WithoutCancel(ctx), 2*time.Hour)
			defer cancel()
			return Sleep(ctx, time.Hour)
		},
		"shield within a standard context": func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
			defer cancel()
			return Sleep(ctx, time.Hour)
		},
		"standard context": func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return Sleep(ctx, time.Hour)
		},
	}
	for name, wait := range waits {
		task := l.Go(name, func(ctx context.Context) error {
			err := wait(ctx)
			said = append(said, fmt.Sprint(name, ": ", err, " after ", at()))
			return err
		})
		l.After(time.Minute, "canceller", func(context.Context) error { task.Cancel(); return nil })
	}
	runs(t, l)
	slices.Sort(said)
	if want := []string{
		"plain: context canceled after 1m0s",
		"shield with a timeout: <nil> after 1h0m0s",
		"shield within a standard context: <nil> after 1h0m0s",
		"shield: <nil> after 1h0m0s",
		"standard context: context canceled after 1m0s",
	}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}

// One that is cancelled while others have their turn knows it when it has its own.
func TestCancelInPass(t *testing.T) {
	l := NewLoop(Options{})
	passer := l.Go("passer", func(ctx context.Context) error {
		if err := Pass(ctx); err != context.Canceled {
			t.Errorf("Pass: %v", err)
		}
		return nil
	})
	l.Go("canceller", func(context.Context) error { passer.Cancel(); return nil })
	runs(t, l)
}

// A task has a strand.
func TestStrand(t *testing.T) {
	l := NewLoop(Options{})
	var after context.Context
	l.Go("me", func(ctx context.Context) error {
		s := strand.From(ctx)
		if s == nil || s.Kind != strand.Coroutine || s.Kind.String() != "coroutine" || s.Name != "me" || s != strand.From(context.WithoutCancel(ctx)) {
			t.Errorf("strand %+v", s)
		}
		if Of(ctx) != l {
			t.Error("Of is another loop")
		}
		after = ctx
		return nil
	})
	ctx := strand.With(context.Background(), strand.New(strand.Main, "main"))
	if err := l.Run(context.WithValue(ctx, scopeTest{}, 7)); err != nil {
		t.Fatal(err)
	}
	if s := strand.From(after); s != nil || after.Value(scopeTest{}) != 7 || Of(context.Background()) != nil {
		t.Errorf("after the end it is %v", s)
	}
}

// A task's context is for the task alone; anything else is an error, and breaks nothing.
func TestElsewhere(t *testing.T) {
	if err := Sleep(context.Background(), 0); err != ErrNoTask {
		t.Errorf("without a task: %v", err)
	}
	tries := map[string]func(ctx context.Context) error{
		"Sleep":  func(ctx context.Context) error { return Sleep(ctx, time.Hour) },
		"Pass":   Pass,
		"Get":    func(ctx context.Context) error { _, err := NewQueue[int](1).Get(ctx); return err },
		"Await":  func(ctx context.Context) error { _, err := Await(ctx, pending{}); return err },
		"Gather": func(ctx context.Context) error { _, err := Gather[int](ctx); return err },
		"WithTimeout": func(ctx context.Context) (err error) {
			defer func() {
				if s := fmt.Sprint(recover()); strings.Contains(s, ErrElsewhere.Error()) {
					err = ErrElsewhere
				}
			}()
			WithTimeout(ctx, time.Hour)
			return nil
		},
	}
	l := NewLoop(Options{Clock: Virtual})
	l.Go("a", func(ctx context.Context) error {
		for name, try := range tries {
			errs := make(chan error)
			go func() { errs <- try(ctx) }()
			if err := <-errs; err != ErrElsewhere {
				t.Errorf("%s in another goroutine: %v", name, err)
			}
			if err := NewFunc(func(_ *Co[int, int], _ int) (int, error) { return 0, try(ctx) }); true {
				if _, err := err.Resume(0); err != ErrElsewhere {
					t.Errorf("%s in a coroutine of its own: %v", name, err)
				}
			}
			other := Start(l, "b", func(context.Context) (int, error) { return 0, try(ctx) })
			if _, err := Await(ctx, other); err != ErrElsewhere {
				t.Errorf("%s in another task: %v", name, err)
			}
		}
		return nil
	})
	runs(t, l)
}

// Other goroutines may add, cancel and stop, while the loop sleeps.
func TestFromOutside(t *testing.T) {
	l := NewLoop(Options{})
	asleep := make(chan struct{})
	sleeper := l.Go("sleeper", func(ctx context.Context) error {
		close(asleep)
		return Sleep(ctx, time.Hour)
	})
	errs := make(chan error)
	go func() {
		<-asleep
		l.After(time.Hour, "never", func(context.Context) error { return io.EOF }).Stop()
		added := Start(l, "added", func(context.Context) (int, error) { return 7, nil })
		n, err := added.Result(context.Background())
		if n != 7 {
			err = fmt.Errorf("%d instead of 7, %v", n, err)
		}
		sleeper.Cancel()
		<-sleeper.Done()
		errs <- err
	}()
	runs(t, l)
	if err := <-errs; err != nil {
		t.Error(err)
	}
	if _, err := sleeper.Result(context.Background()); err != context.Canceled {
		t.Errorf("the sleeper: %v", err)
	}
	late := l.Go("late", func(context.Context) error { t.Error("it began"); return nil })
	<-late.Done()
	if _, err := late.Result(context.Background()); err != ErrEnded {
		t.Errorf("added after the end: %v", err)
	}
	if err := l.Run(context.Background()); err != ErrEnded {
		t.Errorf("a second Run: %v", err)
	}
}

// What arrives at the very end is still done.
func TestLastMoment(t *testing.T) {
	l := NewLoop(Options{})
	done := false
	if !l.do(func() { done = true }) || l.isOver() {
		t.Fatal("the loop is over, and something was let in")
	}
	runs(t, l)
	if !done || l.do(func() {}) {
		t.Errorf("done: %v, and it still lets something in", done)
	}
}

// Run without a context is refused, and the loop is as before.
func TestRunNil(t *testing.T) {
	l := NewLoop(Options{})
	done := false
	l.Go("task", func(context.Context) error { done = true; return nil })
	func() {
		defer func() {
			if s := fmt.Sprint(recover()); !strings.HasPrefix(s, "coro: Run needs a context") {
				t.Errorf("panic with %q", s)
			}
		}()
		_ = l.Run(nil) //lint:ignore SA1012 that is the test
	}()
	runs(t, l)
	if !done {
		t.Error("the task did not run")
	}
}

// A loop may run within a task of another one.
func TestNestedLoops(t *testing.T) {
	outer := NewLoop(Options{Clock: Virtual})
	outer.Go("outer", func(ctx context.Context) error {
		inner := NewLoop(Options{Clock: Virtual})
		inner.Go("inner", func(ctx context.Context) error { return Sleep(ctx, time.Hour) })
		if err := inner.Run(ctx); err != nil {
			return err
		}
		return Sleep(ctx, time.Minute)
	})
	runs(t, outer)
	if d := outer.Now().Sub(epoch); d != time.Minute {
		t.Errorf("the outer one's time is %v", d)
	}
}
