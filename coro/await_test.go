package coro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Outcomes of tasks, by Await and by Result.
func TestAwait(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	l.Go("main", func(ctx context.Context) error {
		slow := Start(l, "slow", func(ctx context.Context) (string, error) { return "slept", Sleep(ctx, time.Hour) })
		bad := Start(l, "bad", func(context.Context) (string, error) { panic("alas") })
		if _, err := slow.Result(ctx); err != ErrBlocks {
			t.Errorf("Result in the loop: %v", err)
		}
		short, cancel := WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := Await(short, slow); err != context.DeadlineExceeded {
			t.Errorf("Await for a minute: %v", err)
		}
		if err := Sleep(ctx, 2*time.Hour); err != nil || l.Now().Sub(epoch) != 2*time.Hour+time.Minute {
			t.Errorf("Sleep, while what was awaited ends: %v at %v", err, l.Now())
		}
		for range 2 {
			if s, err := Await(ctx, slow); s != "slept" || err != nil {
				t.Errorf("Await: %q, %v", s, err)
			}
			if s, err := slow.Result(ctx); s != "slept" || err != nil {
				t.Errorf("Result of what has ended: %q, %v", s, err)
			}
		}
		var p *PanicError
		if _, err := Await(ctx, bad); !errors.As(err, &p) || p.Task != "bad" || !strings.Contains(string(p.Stack), "TestAwait") {
			t.Errorf("Await of one that panicked: %v", err)
		}
		return nil
	})
	runs(t, l)
}

// Many may await one, and each awaits whom it likes.
func TestManyAwaitOne(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	slow := Start(l, "slow", func(ctx context.Context) (int, error) { return 7, Sleep(ctx, time.Hour) })
	sum := 0
	for i := range 100 {
		l.Go("waiter", func(ctx context.Context) error {
			if i%2 == 0 {
				var cancel context.CancelFunc
				ctx, cancel = WithTimeout(ctx, time.Duration(i)*time.Second)
				defer cancel()
			}
			n, err := Await(ctx, slow)
			if i%2 == 0 && err == context.DeadlineExceeded {
				err = nil
			}
			sum += n
			return err
		})
	}
	runs(t, l)
	if sum != 7*50 {
		t.Errorf("the sum is %d", sum)
	}
}

// promise is a future without AfterDone.
type promise struct {
	done  chan struct{}
	value int
}

func (p *promise) Done() <-chan struct{}               { return p.done }
func (p *promise) Result(context.Context) (int, error) { return p.value, nil }

// early is a future whose AfterDone calls at once, which it should not.
type early struct{ promise }

func (early) AfterDone(f func()) (stop func() bool) { f(); return func() bool { return false } }

// What is outside of the loop is awaited, by both ways, and virtual time stands still meanwhile.
func TestAwaitOutside(t *testing.T) {
	l, other := NewLoop(Options{Clock: Virtual}), NewLoop(Options{})
	begun := make(chan struct{})
	p := &promise{make(chan struct{}), 3}
	foreign := Start(other, "foreign", func(context.Context) (int, error) { return 4, nil })
	l.Go("sleeper", func(ctx context.Context) error { return Sleep(ctx, time.Hour) })
	l.Go("awaiter", func(ctx context.Context) error {
		close(begun)
		a, err1 := Await(ctx, p)
		b, err2 := Await(ctx, foreign)
		c, err3 := Await(ctx, p)
		d, err4 := Await(ctx, &early{promise{make(chan struct{}), 5}})
		if a != 3 || b != 4 || c != 3 || d != 5 || l.Now() != epoch {
			t.Errorf("%d, %d, %d, %d at %v", a, b, c, d, l.Now())
		}
		return errors.Join(err1, err2, err3, err4)
	})
	errs := make(chan error)
	go func() {
		<-begun
		close(p.done)
		errs <- other.Run(context.Background())
	}()
	runs(t, l)
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

// late is a future whose stop comes too late: what it was given is still to be called.
type late struct {
	promise
	calls []func()
}

func (f *late) AfterDone(call func()) (stop func() bool) {
	f.calls = append(f.calls, call)
	return func() bool { return false }
}

// A call that comes when its wait is over ends no other wait of the task.
func TestLateCall(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	f := &late{promise: promise{make(chan struct{}), 1}}
	l.Go("task", func(ctx context.Context) error {
		short, cancel := WithCancel(ctx)
		l.Go("canceller", func(context.Context) error { cancel(); return nil })
		if _, err := Await(short, f); err != context.Canceled {
			t.Errorf("Await: %v", err)
		}
		l.Go("caller", func(context.Context) error { f.calls[0](); return nil })
		err := Sleep(ctx, time.Hour)
		if l.Now().Sub(epoch) != time.Hour {
			t.Errorf("Sleep has returned at %v", l.Now())
		}
		return err
	})
	runs(t, l)
}

// A task of another loop wakes who awaits it from outside.
func TestAwaitOtherLoop(t *testing.T) {
	l, other := NewLoop(Options{}), NewLoop(Options{})
	release := &promise{make(chan struct{}), 3}
	foreign := Start(other, "foreign", func(ctx context.Context) (int, error) { return Await(ctx, release) })
	l.Go("awaiter", func(ctx context.Context) error {
		n, err := Await(ctx, foreign)
		if n != 3 {
			t.Errorf("Await: %d", n)
		}
		return err
	})
	l.Go("releaser", func(context.Context) error { close(release.done); return nil }) // after the awaiter sleeps
	errs := make(chan error)
	go func() { errs <- other.Run(context.Background()) }()
	runs(t, l)
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

// To await a task of another loop takes no goroutine, and to give up leaves none.
func TestAwaitWithoutGoroutines(t *testing.T) {
	l, other := NewLoop(Options{}), NewLoop(Options{})
	foreign := Start(other, "foreign", func(context.Context) (int, error) { return 4, nil })
	before := runtime.NumGoroutine()
	const n = 50
	for range n {
		l.Go("awaiter", func(ctx context.Context) error { _, err := Await(ctx, foreign); return err })
	}
	l.Go("counter", func(ctx context.Context) error {
		if now := runtime.NumGoroutine(); now > before+n+1+2 { // the tasks, and what the test starts
			t.Errorf("%d goroutines more than tasks", now-before-n-1)
		}
		l.fail(io.EOF)
		return nil
	})
	if err := run(t, l); err != io.EOF {
		t.Error(err)
	}
	if foreign.t.hooks != (hooks{}) {
		t.Error("registrations are left")
	}
	if err := other.Run(context.Background()); err != nil {
		t.Error(err)
	}
}

// Those who await each other in a circle are told, others go on.
func TestCircle(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	var a, b, c *Task[int]
	told := 0
	await := func(next **Task[int]) func(ctx context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			n, err := Await(ctx, *next)
			if errors.As(err, new(*DeadlockError)) {
				told++
				if want := `coro: deadlock: task "c" waits for task "a", task "a" waits for task "b", task "b" waits for task "c"`; err.Error() != want {
					t.Errorf("error %v", err)
				}
				return 1, nil
			}
			return n + 1, err
		}
	}
	a, b, c = Start(l, "a", await(&b)), Start(l, "b", await(&c)), Start(l, "c", await(&a))
	l.Go("sleeper", func(ctx context.Context) error { return Sleep(ctx, time.Hour) })
	var self *Task[struct{}]
	self = l.Go("self", func(ctx context.Context) error {
		if _, err := Await(ctx, self); !errors.As(err, new(*DeadlockError)) {
			t.Errorf("to await oneself: %v", err)
		}
		if _, err := Gather(ctx, self); !errors.As(err, new(*DeadlockError)) {
			t.Errorf("to gather oneself: %v", err)
		}
		return nil
	})
	l.Go("asker", func(ctx context.Context) error {
		n, err := Await(ctx, a)
		if n != 3 {
			t.Errorf("the row's end is %d", n)
		}
		return err
	})
	runs(t, l)
	if told != 1 {
		t.Errorf("%d were told", told)
	}
}

// A circle through those who gather is found while others live: by the one that closes it, whether
// that awaits or gathers.
func TestCircleOfGatherers(t *testing.T) {
	for _, gathers := range []bool{true, false} {
		l := NewLoop(Options{Clock: Virtual})
		sleeper := Start(l, "sleeper", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
		var a, b, c *Task[int]
		a = Start(l, "a", func(ctx context.Context) (int, error) { _, err := Gather(ctx, sleeper, b); return 1, err })
		b = Start(l, "b", func(ctx context.Context) (int, error) { n, err := Await(ctx, c); return n, err })
		c = Start(l, "c", func(ctx context.Context) (n int, err error) {
			if gathers {
				_, err = Gather(ctx, sleeper, a)
			} else {
				_, err = Await(ctx, a)
			}
			if want := `coro: deadlock: task "c" waits for task "a", task "a" waits for task "b", task "b" waits for task "c"`; err == nil || err.Error() != want {
				t.Errorf("error %v", err)
			}
			if l.Now() != epoch {
				t.Errorf("it was found at %v", l.Now())
			}
			return 3, nil
		})
		l.Go("asker", func(ctx context.Context) error { _, err := Await(ctx, a); return err })
		runs(t, l)
	}
}

// Many tasks may each await the one before, or the one after.
func TestLongRows(t *testing.T) {
	n := 20_000
	if long {
		n = 100_000
	} else if raceDetector {
		n = 5_000
	}
	for _, seed := range []uint64{0, 1} {
		l := NewLoop(Options{Clock: Virtual, Seed: seed})
		all := make([]*Task[int], n)
		row := func(i, other int) *Task[int] {
			return Start(l, "row", func(ctx context.Context) (int, error) {
				if other < 0 || other >= n {
					return 1, Sleep(ctx, time.Hour)
				}
				m, err := Await(ctx, all[other])
				return m + 1, err
			})
		}
		for _, step := range []int{-1, 1} {
			for i := range all {
				all[i] = row(i, i+step)
			}
			last := all[map[int]int{-1: n - 1, 1: 0}[step]]
			l.Go("asker", func(ctx context.Context) error {
				if m, err := Await(ctx, last); m != n || err != nil {
					t.Errorf("the row is %d long, %v", m, err)
				}
				return nil
			})
			if step == -1 {
				runs(t, l)
				l = NewLoop(Options{Clock: Virtual, Seed: seed})
			}
		}
		runs(t, l)
	}
}

// When nothing can happen any more all who wait are told, and so is who runs the loop.
func TestDeadlock(t *testing.T) {
	for _, clock := range []Clock{Real, Virtual} {
		l := NewLoop(Options{Clock: clock})
		q := NewQueue[int](1)
		full := NewQueue[int](1)
		deferred := 0
		l.Go("getter", func(ctx context.Context) error {
			defer func() { deferred++ }()
			_, err := q.Get(ctx)
			return fmt.Errorf("Get: %w", err)
		})
		p := l.Go("putter", func(ctx context.Context) error {
			defer func() { deferred++ }()
			return errors.Join(full.Put(ctx, 1), full.Put(ctx, 2))
		})
		l.Go("awaiter", func(ctx context.Context) error {
			defer func() { deferred++ }()
			ctx, cancel := WithCancel(ctx)
			defer cancel()
			_, err := Gather(ctx, p)
			if !errors.As(err, new(*DeadlockError)) {
				t.Errorf("Gather: %v", err)
			}
			return nil
		})
		l.Go("sleeper", func(ctx context.Context) error { return Sleep(ctx, time.Millisecond) })
		ctx, cancel := context.WithCancel(context.Background()) // that it could be cancelled is no hope
		err := l.Run(ctx)
		cancel()
		var dead *DeadlockError
		want := `coro: deadlock: task "getter" waits for an item of a queue, task "putter" waits for room in a queue, task "awaiter" waits for task "putter"`
		if !errors.As(err, &dead) || err.Error() != want || deferred != 3 {
			t.Errorf("Run: %v, %d deferred calls", err, deferred)
		}
	}
}

// That nothing can end a context is no hope either.
func TestDeadlockShielded(t *testing.T) {
	l := NewLoop(Options{})
	l.Go("getter", func(ctx context.Context) error {
		_, err := NewQueue[int](1).Get(context.WithoutCancel(ctx))
		return err
	})
	if err := run(t, l); !errors.As(err, new(*DeadlockError)) {
		t.Errorf("Run: %v", err)
	}
}

// Tasks that gather each other in a circle, and do not give up, do not hang the loop.
func TestDeadlockOfGatherers(t *testing.T) {
	l := NewLoop(Options{})
	var a, b *Task[int]
	a = Start(l, "a", func(ctx context.Context) (int, error) { _, err := Gather(ctx, b); return 0, err })
	b = Start(l, "b", func(ctx context.Context) (int, error) { _, err := Gather(ctx, a); return 0, err })
	var dead *DeadlockError
	if err := run(t, l); !errors.As(err, &dead) || len(dead.Waits) != 2 {
		t.Errorf("Run: %v", err)
	}
}

// A long deadlock is told shortly.
func TestDeadlockErrorIsShort(t *testing.T) {
	l := NewLoop(Options{})
	for range 1000 {
		l.Go("getter", func(ctx context.Context) error { _, err := NewQueue[int](1).Get(ctx); return err })
	}
	if err := run(t, l); err == nil || len(err.Error()) > 1000 || !strings.HasSuffix(err.Error(), "and 990 more") {
		t.Errorf("Run: %v", err)
	}
}

// Gather has all results in order, or the first error when all have ended.
func TestGather(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	ended := 0
	work := func(d time.Duration, fail error) *Task[time.Duration] {
		return Start(l, fmt.Sprint("work ", d), func(ctx context.Context) (time.Duration, error) {
			defer func() { ended++ }()
			if err := Sleep(ctx, d); err != nil {
				return 0, errors.Join(err, Sleep(context.WithoutCancel(ctx), time.Second))
			}
			return d, fail
		})
	}
	l.Go("main", func(ctx context.Context) error {
		all, err := Gather(ctx, work(3, nil), work(1, nil), work(2, nil))
		if !slices.Equal(all, []time.Duration{3, 1, 2}) || err != nil {
			t.Errorf("Gather: %v, %v", all, err)
		}
		ended = 0
		began := l.Now()
		all, err = Gather(ctx, work(time.Hour, nil), work(time.Minute, io.EOF), work(time.Second, nil))
		if took := l.Now().Sub(began); all != nil || err != io.EOF || ended != 3 || took != time.Minute+time.Second {
			t.Errorf("Gather of one that fails: %v, %v, %d have ended after %v", all, err, ended, took)
		}
		ended = 0
		short, cancel := WithTimeout(ctx, time.Minute)
		defer cancel()
		all, err = Gather(short, work(time.Hour, nil), work(time.Second, nil))
		if all != nil || err != context.DeadlineExceeded || ended != 2 {
			t.Errorf("Gather for a minute: %v, %v, %d have ended", all, err, ended)
		}
		done := work(0, nil)
		if _, err := Await(ctx, done); err != nil {
			t.Error(err)
		}
		if all, err := Gather(ctx, done, done); len(all) != 2 || err != nil {
			t.Errorf("Gather of what has ended: %v, %v", all, err)
		}
		if all, err := Gather[int](ctx); len(all) != 0 || err != nil {
			t.Errorf("Gather of nothing: %v, %v", all, err)
		}
		twice := work(1, nil)
		if all, err := Gather(ctx, twice, twice); !slices.Equal(all, []time.Duration{1, 1}) || err != nil {
			t.Errorf("Gather of one twice: %v, %v", all, err)
		}
		foreign := Start(NewLoop(Options{}), "foreign", func(context.Context) (int, error) { return 0, nil })
		if _, err := Gather(ctx, foreign); err != ErrLoop {
			t.Errorf("Gather of another loop's: %v", err)
		}
		return nil
	})
	runs(t, l)
}
