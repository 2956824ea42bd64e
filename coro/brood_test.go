package coro_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/coro"
	"github.com/brood-go/brood/share"
)

// waits returns 7 once its argument is closed.
var waits = brood.NewFunc("coro/waits", func(_ context.Context, release chan struct{}) (int, error) { <-release; return 7, nil })

var double = brood.NewFunc("coro/double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

// The futures of pools are awaited beside the tasks of a loop.
func TestAwaitPool(t *testing.T) {
	pool, err := brood.NewThreadPool(brood.PoolOptions{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	l := coro.NewLoop(coro.Options{Clock: coro.Virtual})
	sum := 0
	for i := range 20 {
		l.Go("caller", func(ctx context.Context) error {
			if s := brood.Current(ctx); s.Name != "caller" || s.Kind.String() != "coroutine" {
				t.Errorf("strand %+v", s)
			}
			n, err := coro.Await(ctx, double.Submit(ctx, pool, i))
			sum += n
			return err
		})
	}
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sum != 380 {
		t.Errorf("the sum is %d", sum)
	}
}

// Who gives up on a future leaves it alone.
func TestAwaitPoolCancelled(t *testing.T) {
	pool, err := brood.NewThreadPool(brood.PoolOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	release := make(chan struct{})
	f := waits.Submit(t.Context(), pool, release)
	l := coro.NewLoop(coro.Options{})
	l.Go("impatient", func(ctx context.Context) error {
		short, cancel := coro.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := coro.Await(short, f); err != context.DeadlineExceeded {
			t.Errorf("Await: %v", err)
		}
		close(release)
		n, err := coro.Await(ctx, f)
		if n != 7 {
			t.Errorf("Await: %d", n)
		}
		return err
	})
	if err := l.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// A task that forgets a lock gives it back, and its outcome names it.
func TestHeld(t *testing.T) {
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("forgotten")
	if err != nil {
		t.Fatal(err)
	}
	l := coro.NewLoop(coro.Options{})
	l.Go("forgetful", func(ctx context.Context) error {
		_, err := lock.Acquire(ctx)
		return err
	})
	err = l.Run(t.Context())
	var held *coro.HeldError
	if !errors.As(err, &held) || len(held.Held) != 1 || !strings.Contains(err.Error(), "forgotten") {
		t.Fatalf("Run: %v", err)
	}
	g, ok := lock.TryAcquire(t.Context())
	if !ok || !g.Recovered() {
		t.Fatal("the lock was not given back")
	}
	g.Release()
}

// AfterDone calls once, unless it was stopped before.
func TestAfterDone(t *testing.T) {
	pool, err := brood.NewThreadPool(brood.PoolOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	release := make(chan struct{})
	f := waits.Submit(t.Context(), pool, release)
	calls := make(chan string, 10)
	stop := f.AfterDone(func() { calls <- "stopped" })
	stopTooLate := f.AfterDone(func() { calls <- "before" })
	if !stop() || stop() {
		t.Error("stop does not know whether it stopped")
	}
	close(release)
	if _, err := f.Result(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.AfterDone(func() { calls <- "after" })
	said := []string{<-calls, <-calls}
	slices.Sort(said)
	if !slices.Equal(said, []string{"after", "before"}) || stopTooLate() {
		t.Errorf("called: %v", said)
	}
}

// A wait for a lock that holds up the whole loop ends with its context all the same.
func TestBlockingWaitEnds(t *testing.T) {
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("held elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	guard, err := lock.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Release()
	l := coro.NewLoop(coro.Options{})
	l.Go("waits", func(ctx context.Context) error {
		ctx, cancel := coro.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := lock.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		return nil
	})
	if err := l.Run(t.Context()); err != nil {
		t.Error(err)
	}
}
