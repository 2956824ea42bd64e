package brood

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/waits"
	"github.com/brood-go/brood/share"
)

// alarmFunc runs what a test says. Its tests run one after another.
var (
	alarmHook func(ctx context.Context, n int) (int, error)
	alarmFunc = NewFunc("alarm", func(ctx context.Context, n int) (int, error) { return alarmHook(ctx, n) })
)

func isDeadlock(err error) bool {
	var d *DeadlockError
	return errors.As(err, &d)
}

// untilWaiting returns when so many goroutines wait.
func untilWaiting(n int) {
	for waits.Waiting() < n {
		runtime.Gosched()
	}
}

// alarmed makes a local space with a lock, and a pool.
func alarmed(t *testing.T, o PoolOptions) (*share.Space, *share.Lock, *ThreadPool) {
	t.Helper()
	watchdog(t, time.Minute)
	space := share.Local()
	lock, err := space.Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewThreadPool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), space.Close()); err != nil {
			t.Error(err)
		}
	})
	return space, lock, p
}

// Room in a pool was made, and who waits for it has not run yet: it does not wait for the task
// that waits for its lock.
func TestNoAlarmRoom(t *testing.T) {
	_, lock, p := alarmed(t, PoolOptions{Workers: 1, MaxPending: 2})
	ctx := t.Context()
	for range 200 {
		begin := make(chan struct{})
		alarmHook = func(ctx context.Context, n int) (int, error) {
			switch n {
			case 1:
				<-begin
			case 2:
				g, err := lock.Acquire(ctx)
				if err != nil {
					return 0, err
				}
				g.Release()
			}
			return n, nil
		}
		first, second := alarmFunc.Submit(ctx, p, 1), alarmFunc.Submit(ctx, p, 2)
		held, done := make(chan struct{}), make(chan error)
		go func() {
			g, err := lock.Acquire(ctx)
			close(held)
			if err != nil {
				done <- err
				return
			}
			third := alarmFunc.Submit(ctx, p, 3) // waits for room, and has the lock
			g.Release()
			_, err = third.Result(ctx)
			done <- err
		}()
		<-held
		untilWaiting(1)
		close(begin)
		_, err1 := first.Result(ctx)
		_, err2 := second.Result(ctx)
		if err := errors.Join(err1, err2, <-done); err != nil {
			t.Fatal(err)
		}
	}
}

// A task hands permits on to goroutines that release them. Neither it nor who waits for it gets
// an alarm.
func TestNoAlarmLimiterSeenFromOutside(t *testing.T) {
	space, _, p := alarmed(t, PoolOptions{Workers: 1})
	sem, err := space.BoundedSemaphore("s", 2)
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	alarmHook = func(ctx context.Context, n int) (int, error) {
		for range n {
			g, err := sem.Acquire(ctx)
			if err != nil {
				return 0, err
			}
			g = g.Detach() // or its end would take it back
			go func() {
				<-release
				g.Release()
			}()
		}
		return n, nil
	}
	f := alarmFunc.Submit(t.Context(), p, 4)
	untilWaiting(1)
	go func() {
		untilWaiting(2)
		close(release)
	}()
	if _, err := f.Result(t.Context()); err != nil {
		t.Error(err)
	}
}

// A future that was cancelled can't keep anybody waiting.
func TestNoAlarmCancelled(t *testing.T) {
	_, _, p := alarmed(t, PoolOptions{Workers: 1})
	alarmHook = func(ctx context.Context, n int) (int, error) {
		if n == 2 {
			return n, nil
		}
		brief, cancel := context.WithCancel(ctx)
		f := alarmFunc.Submit(brief, p, 2)
		cancel()
		_, err := f.Result(ctx)
		return n, err
	}
	for range 100 {
		if _, err := alarmFunc.Call(t.Context(), p, 1); isDeadlock(err) || !errors.Is(err, context.Canceled) {
			t.Fatalf("%v, want that it was cancelled", err)
		}
	}
}

// What a goroutine acquires that a task has left behind is not the next task's.
func TestLeftBehind(t *testing.T) {
	_, lock, p := alarmed(t, PoolOptions{Workers: 1})
	got, acquire := make(chan share.Guard), make(chan struct{})
	var guard share.Guard
	alarmHook = func(ctx context.Context, n int) (int, error) {
		if n == 1 {
			go func() {
				<-acquire
				g, err := lock.Acquire(context.WithoutCancel(ctx))
				if err != nil {
					t.Error(err)
				}
				got <- g
			}()
			return n, nil
		}
		close(acquire)
		guard = <-got
		return n, nil
	}
	for n := range 2 {
		if _, err := alarmFunc.Call(t.Context(), p, n+1); err != nil {
			t.Errorf("task %d: %v", n+1, err)
		}
	}
	if _, ok := lock.TryAcquire(t.Context()); ok {
		t.Error("the lock was taken from who has it")
	}
	guard.Release()
}
