package gil_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/gil"
	"github.com/brood-go/brood/internal/waits"
	"github.com/brood-go/brood/share"
)

// blocked waits until so many goroutines are noted as waiting.
func blocked(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); waits.Waiting() != n; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d wait, not %d", waits.Waiting(), n)
		}
	}
}

// checkDeadlock looks for one circle of one and two through the GIL and the lock.
func checkDeadlock(t *testing.T, err error, parts ...string) {
	t.Helper()
	var d *gil.DeadlockError
	if !errors.As(err, &d) || len(d.Edges) != 2 {
		t.Errorf("%v, want a deadlock of two", err)
		return
	}
	for _, part := range append(parts, `thread "one"`, "which waits for the GIL", `lock "l"`, "which is held by the first") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not in %v", part, err)
		}
	}
}

// circle is the classic deadlock of a GIL: one has the lock and wants the GIL, two has the GIL and
// wants the lock. Whoever is told gives up what it has. One gets the GIL by unlocked, or
// else by Acquire.
func circle(t *testing.T, g *gil.GIL, oneWaitsFirst, unlocked bool) (one, two error) {
	t.Helper()
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	hasLock, hasGIL := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		<-hasLock
		two = g.Do(ctx, "two", func(ctx context.Context, _ *gil.Thread) error {
			hasGIL <- true
			if oneWaitsFirst {
				blocked(t, 1)
			}
			guard, err := lock.Acquire(ctx) // with the GIL: that is the mistake
			if err == nil {
				guard.Release()
			}
			return err
		})
	})
	meet := func() {
		hasLock <- true
		<-hasGIL
		if !oneWaitsFirst {
			blocked(t, 1)
		}
	}
	wg.Go(func() {
		guard, err := lock.Acquire(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		defer guard.Release()
		if unlocked {
			one = g.Do(ctx, "one", func(ctx context.Context, th *gil.Thread) error { return th.Unlocked(ctx, meet) })
			return
		}
		meet()
		one = g.Do(ctx, "one", func(context.Context, *gil.Thread) error { return nil })
	})
	wg.Wait()
	if n := waits.Waiting(); n != 0 {
		t.Errorf("%d waits are still noted", n)
	}
	return one, two
}

// The last one to wait is told, and the other goes on.
func TestDeadlock(t *testing.T) {
	for range 20 {
		for _, unlocked := range []bool{false, true} {
			g := new(gil.GIL)
			one, two := circle(t, g, false, unlocked)
			checkDeadlock(t, one, `gil: thread "one" waits for the GIL: deadlock: `)
			if two != nil {
				t.Errorf("two, which waited first, was told: %v", two)
			}
			one, two = circle(t, g, true, unlocked)
			checkDeadlock(t, two, `share: acquire lock "l"`)
			if one != nil {
				t.Errorf("one, which waited first, was told: %v", one)
			}
			if err := g.Do(t.Context(), "next", func(context.Context, *gil.Thread) error { return nil }); err != nil {
				t.Errorf("the GIL is not free: %v", err)
			}
		}
	}
}

var shared gil.GIL

var wantsGIL = brood.NewFunc("wants the GIL", func(ctx context.Context, _ int) (int, error) {
	return 1, shared.Do(ctx, "task", func(context.Context, *gil.Thread) error { return nil })
})

// Who waits for a task with the GIL, and the task wants the GIL: one of the two is told.
func TestDeadlockFuture(t *testing.T) {
	pool, err := brood.NewThreadPool(brood.PoolOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var d *gil.DeadlockError
	err = shared.Do(t.Context(), "waits for it", func(ctx context.Context, _ *gil.Thread) error {
		_, err := wantsGIL.Call(ctx, pool, 1)
		return err
	})
	if !errors.As(err, &d) || !strings.Contains(err.Error(), "which waits for the GIL") {
		t.Errorf("%v, want a deadlock", err)
	}
}

// Who does not want to be told waits until its context ends.
func TestNoDeadlockDetection(t *testing.T) {
	g := gil.New(gil.Options{NoDeadlockDetection: true})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	has, over := make(chan bool), make(chan bool)
	wg.Go(func() {
		_ = g.Do(t.Context(), "has it", func(context.Context, *gil.Thread) error {
			has <- true
			<-over
			return nil
		})
	})
	<-has
	wg.Go(func() {
		for g.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		if n := waits.Waiting(); n != 0 {
			t.Errorf("%d waits are noted", n)
		}
		cancel()
	})
	if err := g.Do(ctx, "waits", func(context.Context, *gil.Thread) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(over)
	wg.Wait()
}

// Threads that do it right, waiting for the lock without the GIL, are never told.
func TestNoFalseAlarm(t *testing.T) {
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	g := gil.New(gil.Options{SwitchInterval: 10 * time.Microsecond})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			err := g.Do(t.Context(), "", func(ctx context.Context, th *gil.Thread) (err error) {
				for i := 0; i < 300 && err == nil; i++ {
					var guard share.Guard
					var failed error
					if err = th.Unlocked(ctx, func() { guard, failed = lock.Acquire(ctx) }); failed != nil {
						return failed
					}
					for j := 0; j < 40 && err == nil; j++ {
						err = th.Check(ctx) // with the lock, for which nobody waits with the GIL
					}
					guard.Release()
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
