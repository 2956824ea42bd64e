package coro

import (
	"context"
	"testing"
	"time"
)

// A call that comes after a wait which never began, as its context had ended, ends no later
// wait: not that of Sleep, whose timer would be left, and not that of a queue.
func TestLateCallOfNoWait(t *testing.T) {
	waits := map[string]func(l *Loop, ctx context.Context) error{
		"Sleep": func(l *Loop, ctx context.Context) error {
			err := Sleep(ctx, time.Hour)
			if d := l.Now().Sub(epoch); d != time.Hour || len(l.timers.heap) != 0 {
				t.Errorf("Sleep has returned %v at %v, %d timers are left", err, d, len(l.timers.heap))
			}
			return err
		},
		"Get": func(l *Loop, ctx context.Context) error {
			q := NewQueue[int](1)
			l.After(time.Hour, "putter", func(context.Context) error { return q.TryPut(7) })
			n, err := q.Get(ctx)
			if n != 7 {
				t.Errorf("Get: %d, %v", n, err)
			}
			return err
		},
		"Put": func(l *Loop, ctx context.Context) error {
			q := NewQueue[int](1)
			l.After(time.Hour, "getter", func(context.Context) error { _, err := q.TryGet(); return err })
			if err := q.Put(ctx, 1); err != nil {
				return err
			}
			return q.Put(ctx, 2)
		},
	}
	for name, wait := range waits {
		l := NewLoop(Options{Clock: Virtual})
		f := &late{promise: promise{make(chan struct{}), 1}}
		l.Go("task", func(ctx context.Context) error {
			ended, cancel := WithCancel(ctx)
			cancel()
			if _, err := Await(ended, f); err != context.Canceled {
				t.Errorf("Await: %v", err)
			}
			l.Go("caller", func(context.Context) error { f.calls[0](); return nil })
			return wait(l, ctx)
		})
		if err := run(t, l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever wakes a task in a queue, it is not told that the queue is closed unless it is; and
// whatever wakes a sleeper, its timer does not stay.
func TestWokenForNothing(t *testing.T) {
	l := NewLoop(Options{Clock: Virtual})
	q := NewQueue[int](1)
	getter := l.Go("getter", func(ctx context.Context) error {
		n, err := q.Get(ctx)
		if n != 7 {
			t.Errorf("Get: %d, %v", n, err)
		}
		return err
	})
	sleeper := l.Go("sleeper", func(ctx context.Context) error {
		err := Sleep(ctx, time.Hour)
		if len(l.timers.heap) != 0 {
			t.Errorf("%d timers are left", len(l.timers.heap))
		}
		return err
	})
	l.Go("waker", func(ctx context.Context) error {
		l.wake(&getter.t, nil)
		l.wake(&sleeper.t, nil)
		if err := Pass(ctx); err != nil {
			return err
		}
		return q.TryPut(7)
	})
	runs(t, l)
}
