package brood

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood/share"
)

// lockArg is an argument with handles in it.
type lockArg struct {
	Lock  *share.Lock
	Sem   *share.BoundedSemaphore
	Event *share.Event
	Keep  bool
	Fail  bool
}

// holdFunc acquires what it is given, and keeps it or not.
var holdFunc = NewFunc("locks hold", func(ctx context.Context, a lockArg) (uint64, error) {
	g, err := a.Lock.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	if a.Sem != nil {
		p, err := a.Sem.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		if !a.Keep {
			p.Release()
		}
	}
	if !a.Keep {
		g.Release()
	}
	if a.Event != nil {
		a.Event.Set()
	}
	if a.Fail {
		panic("as asked")
	}
	if g.Recovered() {
		return 0, errors.New("recovered")
	}
	return g.Token(), nil
})

func newSpace(t *testing.T) *share.Space {
	t.Helper()
	s, err := share.Options{Dir: filepath.Join(t.TempDir(), "spaces")}.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Handles travel within an argument, and mean the same object in a worker. What a task still
// holds when it ends is taken back, and its outcome says so.
func TestHandlesTravel(t *testing.T) {
	for _, e := range executors {
		t.Run(e.name, func(t *testing.T) {
			watchdog(t, time.Minute)
			space := newSpace(t)
			lock, err := space.Lock("l")
			if err != nil {
				t.Fatal(err)
			}
			sem, err := space.BoundedSemaphore("s", 3)
			if err != nil {
				t.Fatal(err)
			}
			event, err := space.Event("e")
			if err != nil {
				t.Fatal(err)
			}
			p := e.new(t, PoolOptions{Workers: 2})
			ctx := t.Context()
			first, err := holdFunc.Call(ctx, p, lockArg{Lock: lock, Sem: sem, Event: event})
			if err != nil || !event.IsSet() {
				t.Fatalf("%v, the event is set: %v", err, event.IsSet())
			}
			g, err := lock.Acquire(ctx)
			if err != nil || g.Token() <= first {
				t.Errorf("token %d after %d, %v", g.Token(), first, err)
			}
			g.Release()
			var held *HeldError
			_, err = holdFunc.Call(ctx, p, lockArg{Lock: lock, Sem: sem, Keep: true})
			if !errors.As(err, &held) || len(held.Held) != 2 || !strings.Contains(held.Error(), `lock "l"`) && !strings.Contains(held.Error(), `semaphore "s"`) {
				t.Errorf("%v, want what it held", err)
			}
			if g, err = lock.Acquire(ctx); err != nil || !g.Recovered() {
				t.Errorf("the next owner is not told: %v", err)
			}
			g.Release()
			if n := sem.Value(); n != 3 {
				t.Errorf("%d permits of 3", n)
			}
			var panicked *PanicError
			_, err = holdFunc.Call(ctx, p, lockArg{Lock: lock, Keep: true, Fail: true})
			if !errors.As(err, &held) || !errors.As(err, &panicked) {
				t.Errorf("%v, want what it held and the panic", err)
			}
		})
	}
}

// A handle of a local space is no argument for another process.
func TestLocalHandles(t *testing.T) {
	lock, err := share.Local().Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range executors {
		t.Run(e.name, func(t *testing.T) {
			watchdog(t, time.Minute)
			p := e.new(t, PoolOptions{Workers: 1})
			_, err := holdFunc.Call(t.Context(), p, lockArg{Lock: lock})
			if e.processes && (err == nil || !strings.Contains(err.Error(), "use share.Open or share.New")) {
				t.Errorf("%v, want an error that says what to do", err)
			}
		})
	}
}

var nestFunc = NewFunc("locks nest", func(ctx context.Context, p *ThreadPool) (int, error) {
	f := oneFunc.Submit(ctx, p, 0)
	v, err := f.Result(ctx)
	if err != nil {
		f.Cancel()
	}
	return v, err
})

var oneFunc = NewFunc("locks one", func(context.Context, int) (int, error) { return 1, nil })

// Tasks that fill a ThreadPool and wait for tasks of that same pool would wait for ever:
// the last of them is told, and then the others go on.
func TestPoolOfWaiters(t *testing.T) {
	watchdog(t, time.Minute)
	for _, workers := range []int{1, 2, 5} {
		p, err := NewThreadPool(PoolOptions{Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		var fs []*Future[int]
		for range 4 * workers {
			fs = append(fs, nestFunc.Submit(t.Context(), p, p))
		}
		told := 0
		for _, f := range fs {
			var d *DeadlockError
			v, err := f.Result(t.Context())
			switch {
			case errors.As(err, &d):
				told++
			case err != nil || v != 1:
				t.Errorf("%d, %v", v, err)
			}
		}
		if told == 0 {
			t.Error("nobody was told")
		}
		t.Logf("%d workers: %d of %d were told", workers, told, len(fs))
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A task that waits for a lock which is held by one that waits for the task.
func TestLockAndFuture(t *testing.T) {
	watchdog(t, time.Minute)
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewThreadPool(PoolOptions{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	g, err := lock.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := holdFunc.Submit(t.Context(), p, lockArg{Lock: lock})
	_, err = f.Result(t.Context()) // of this wait, or of the task
	g.Release()
	var d *DeadlockError
	if !errors.As(err, &d) || len(d.Edges) != 2 {
		t.Errorf("%v, want a deadlock of two", err)
	}
	if g, err = lock.Acquire(t.Context()); err != nil {
		t.Error(err)
	}
	g.Release()
}

// A caller that holds a lock waits for a task in a worker, which waits for the lock.
func TestCallUnderLock(t *testing.T) {
	for _, e := range executors {
		for _, way := range []string{"call", "future"} {
			t.Run(e.name+"/"+way, func(t *testing.T) {
				watchdog(t, time.Minute)
				space := newSpace(t)
				lock, err := space.Lock("l")
				if err != nil {
					t.Fatal(err)
				}
				p := e.new(t, PoolOptions{Workers: 2})
				for i := range 20 {
					g, err := lock.Acquire(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if way == "call" {
						_, err = holdFunc.Call(t.Context(), p, lockArg{Lock: lock})
					} else {
						f := holdFunc.Submit(t.Context(), p, lockArg{Lock: lock})
						_, err = f.Result(t.Context())
						f.Cancel()
					}
					var d *DeadlockError
					if !errors.As(err, &d) || len(d.Edges) != 2 {
						t.Errorf("round %d: %v, want a deadlock of two", i, err)
					}
					g.Release()
				}
				if _, err := holdFunc.Call(t.Context(), p, lockArg{Lock: lock}); err != nil {
					t.Errorf("in the end: %v", err)
				}
			})
		}
	}
}

// A parent that holds a lock joins a child that waits for it.
func TestJoinUnderLock(t *testing.T) {
	watchdog(t, time.Minute)
	lock, err := newSpace(t).Lock("l")
	if err != nil {
		t.Fatal(err)
	}
	g, err := lock.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := holdFunc.Start(t.Context(), lockArg{Lock: lock}, ProcessOptions{})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Join(t.Context())
	var d *DeadlockError
	if err == nil { // the child was the last to sleep, and was told
		_, err = p.Result(t.Context())
	}
	if !errors.As(err, &d) {
		t.Errorf("%v, want a deadlock", err)
	}
	g.Release()
	if err := p.Join(t.Context()); err != nil {
		t.Error(err)
	}
}

// crowdFunc submits more to its own pool than there is room for, or maps over it.
var crowdFunc = NewFunc("locks crowd", func(ctx context.Context, a crowd) (n int, err error) {
	if a.unordered {
		for v, err := range oneFunc.MapUnordered(ctx, a.pool, slices.Values(make([]int, 3))) {
			if err != nil {
				return n, err
			}
			n += v
		}
		return n, nil
	}
	return oneFunc.Submit(ctx, a.pool, 0).Result(ctx)
})

type crowd struct {
	pool      *ThreadPool
	unordered bool
}

// Tasks that wait for room in their own pool, or for the first of several tasks of it.
func TestPoolOfCrowds(t *testing.T) {
	watchdog(t, time.Minute)
	for _, unordered := range []bool{false, true} {
		o := PoolOptions{Workers: 2}
		if !unordered {
			o.MaxPending = 2
		}
		p, err := NewThreadPool(o)
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for range 20 {
			var fs []*Future[int]
			for range 2 {
				fs = append(fs, crowdFunc.Submit(t.Context(), p, crowd{p, unordered}))
			}
			for _, f := range fs {
				var d *DeadlockError
				if _, err := f.Result(t.Context()); errors.As(err, &d) {
					told++
				} else if err != nil {
					t.Error(err)
				}
			}
		}
		if told == 0 {
			t.Errorf("unordered %v: nobody was told", unordered)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
