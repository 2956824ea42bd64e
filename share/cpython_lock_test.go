package share

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// pyLock is a Lock or an RLock.
type pyLock struct {
	acquire func(ctx context.Context) (Guard, error)
	try     func(ctx context.Context) (Guard, bool)
}

// eachLock makes a port for both kinds of locks of one for a lock.
func eachLock(test func(t *testing.T, l pyLock, ctx context.Context)) func(t *testing.T, s *Space) {
	return func(t *testing.T, s *Space) {
		t.Run("lock", func(t *testing.T) {
			l := must(s.Lock("l"))
			test(t, pyLock{l.Acquire, func(context.Context) (Guard, bool) { return l.TryAcquire(context.Background()) }}, asStrand(bounded(t), "main"))
		})
		t.Run("rlock", func(t *testing.T) {
			r := must(s.RLock("r"))
			test(t, pyLock{r.Acquire, r.TryAcquire}, asStrand(bounded(t), "main"))
		})
	}
}

// soon is a context with a deadline that comes.
func soon(ctx context.Context) context.Context {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	context.AfterFunc(ctx, cancel)
	return ctx
}

var lockPorts = map[string]func(t *testing.T, s *Space){
	"lock: constructor": eachLock(func(t *testing.T, l pyLock, ctx context.Context) {
		must(l.acquire(ctx)).Release()
	}),
	"lock: acquire, destroy": eachLock(func(t *testing.T, l pyLock, ctx context.Context) {
		must(l.acquire(ctx)) // the space is closed with it held
	}),
	"lock: try": eachLock(func(t *testing.T, l pyLock, ctx context.Context) {
		g, ok := l.try(ctx)
		if !ok {
			t.Fatal("not taken")
		}
		g.Release()
	}),
	"lock: try, contended": eachLock(func(t *testing.T, l pyLock, ctx context.Context) {
		g := must(l.acquire(ctx))
		bunch(t, 1, func(ctx context.Context) {
			if _, ok := l.try(ctx); ok {
				t.Error("taken twice")
			}
		})()
		g.Release()
	}),
	"lock: contended": eachLock(func(t *testing.T, l pyLock, ctx context.Context) {
		g := must(l.acquire(ctx))
		var finished atomic.Int32
		wait := bunch(t, 5, func(ctx context.Context) {
			must(l.acquire(ctx)).Release()
			finished.Add(1)
		})
		asleep(t, 5, "(*lock).acquireSlow")
		if finished.Load() != 0 {
			t.Error("got in")
		}
		g.Release()
		wait()
	}),
	"lock: with": eachLock(func(t *testing.T, l pyLock, ctx context.Context) {
		with := func(f func()) {
			g := must(l.acquire(ctx))
			defer g.Release()
			f()
		}
		free := func() { bunch(t, 1, func(ctx context.Context) { must(l.acquire(ctx)).Release() })() }
		with(func() {})
		free()
		contains(t, panics(t, func() { with(func() { panic("an exception") }) }), "an exception")
		free()
	}),
	"lock: foreign threads": eachLock(func(t *testing.T, l pyLock, ctx context.Context) {
		bunch(t, 15, func(ctx context.Context) { must(l.acquire(ctx)).Release() })()
	}),
	"lock: timeout": eachLock(func(t *testing.T, l pyLock, ctx context.Context) {
		far, cancel := context.WithDeadline(ctx, time.Now().AddDate(250, 0, 0))
		defer cancel()
		must(l.acquire(far)).Release()
		g := must(l.acquire(far))
		bunch(t, 1, func(ctx context.Context) {
			began := time.Now()
			if _, err := l.acquire(soon(ctx)); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) < 4*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			if _, err := l.acquire(elapsed(ctx)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})()
		g.Release()
	}),
	"lock: reacquire": func(t *testing.T, s *Space) {
		l := must(s.Lock("l"))
		guards := make(chan Guard, 1)
		var phase atomic.Int32
		wait := bunch(t, 1, func(ctx context.Context) {
			guards <- must(l.Acquire(ctx)).Detach() // another will release it
			phase.Add(1)
			must(l.Acquire(ctx)).Release()
			phase.Add(1)
		})
		g := <-guards
		asleep(t, 1, "(*lock).acquireSlow")
		if phase.Load() != 1 {
			t.Error("acquired twice")
		}
		g.Release()
		wait()
	},
	"lock: different thread": func(t *testing.T, s *Space) {
		l, ctx := must(s.Lock("l")), bounded(t)
		g := must(l.Acquire(ctx))
		bunch(t, 1, func(context.Context) { g.Release() })()
		must(l.Acquire(ctx)).Release()
	},
	"lock: state after timeout": func(t *testing.T, s *Space) {
		l := must(s.Lock("l"))
		g := must(l.Acquire(t.Context()))
		bunch(t, 1, func(ctx context.Context) {
			if _, err := l.Acquire(soon(ctx)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})()
		g.Release()
		if _, ok := l.TryAcquire(context.Background()); !ok {
			t.Error("left taken")
		}
	},
	"rlock: reacquire": func(t *testing.T, s *Space) {
		l, ctx := must(s.RLock("r")), asStrand(t.Context(), "main")
		a, b := must(l.Acquire(ctx)), must(l.Acquire(ctx))
		b.Release()
		b = must(l.Acquire(ctx))
		b.Release()
		a.Release()
	},
	"rlock: release unacquired": func(t *testing.T, s *Space) {
		l, ctx := must(s.RLock("r")), asStrand(t.Context(), "main")
		panics(t, Guard{}.Release)
		a, b := must(l.Acquire(ctx)), must(l.Acquire(ctx))
		b.Release()
		c := must(l.Acquire(ctx))
		c.Release()
		a.Release()
		for _, g := range []Guard{a, b, c} {
			panics(t, g.Release)
		}
	},
	"rlock: recursion count": func(t *testing.T, s *Space) {
		l, ctx := must(s.RLock("r")), asStrand(t.Context(), "main")
		var guards []Guard
		depth := func(want int32) {
			if got := l.l.depth; got != int(want) {
				t.Errorf("depth %d, want %d", got, want)
			}
		}
		for n := range int32(3) {
			depth(n)
			guards = append(guards, must(l.Acquire(ctx)))
		}
		for n := range guards {
			depth(int32(3 - n))
			guards[n].Release()
		}
		depth(0)
	},
	"rlock: owned": func(t *testing.T, s *Space) {
		l, ctx := must(s.RLock("r")), asStrand(t.Context(), "main")
		others := func(want bool) {
			t.Helper()
			bunch(t, 1, func(ctx context.Context) {
				g, ok := l.TryAcquire(ctx)
				if ok != want {
					t.Errorf("another can acquire: %v", ok)
				}
				if ok {
					g.Release()
				}
			})()
		}
		others(true)
		a, b := must(l.Acquire(ctx)), must(l.Acquire(ctx))
		others(false)
		b.Release()
		others(false)
		a.Release()
		others(true)
	},
	"multiprocessing: lock": func(t *testing.T, s *Space) {
		l := must(s.Lock("l"))
		g := must(l.Acquire(t.Context()))
		if _, ok := l.TryAcquire(context.Background()); ok {
			t.Error("taken twice")
		}
		g.Release()
		panics(t, g.Release)
	},
	"multiprocessing: rlock": func(t *testing.T, s *Space) {
		l, ctx := must(s.RLock("r")), asStrand(t.Context(), "main")
		guards := []Guard{must(l.Acquire(ctx)), must(l.Acquire(ctx)), must(l.Acquire(ctx))}
		for _, g := range guards {
			g.Release()
		}
		panics(t, guards[0].Release)
	},
}

// elapsed is a context whose deadline has passed.
func elapsed(ctx context.Context) context.Context {
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	cancel()
	return ctx
}
