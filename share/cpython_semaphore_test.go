package share

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// eachSemaphore makes a port for both kinds of semaphores of one for a semaphore of n permits.
func eachSemaphore(n int, test func(t *testing.T, s limiter, ctx context.Context)) func(t *testing.T, s *Space) {
	return func(t *testing.T, s *Space) {
		t.Run("semaphore", func(t *testing.T) { test(t, must(s.Semaphore("s", n)), bounded(t)) })
		t.Run("bounded", func(t *testing.T) { test(t, must(s.BoundedSemaphore("b", n)), bounded(t)) })
	}
}

// phases counts in which phase something was acquired.
type phases struct {
	mu  sync.Mutex
	now int
	n   [4]int
}

func (p *phases) got() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n[p.now]++
}

func (p *phases) next() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now++
}

// reach waits until so many were acquired in each phase.
func (p *phases) reach(t *testing.T, want [4]int) {
	t.Helper()
	eventually(t, "so many were acquired", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.n == want
	})
}

var semaphorePorts = map[string]func(t *testing.T, s *Space){
	"semaphore: constructor": func(t *testing.T, s *Space) {
		for _, n := range []int{-1, -1 << 63} {
			_, err := s.Semaphore("s", n)
			_, berr := s.BoundedSemaphore("b", n)
			if err == nil || berr == nil {
				t.Errorf("made with %d permits", n)
			}
		}
	},
	"semaphore: acquire": eachSemaphore(2, func(t *testing.T, s limiter, ctx context.Context) {
		a, b := must(s.Acquire(ctx)), must(s.Acquire(ctx))
		a.Release()
		b.Release()
	}),
	"semaphore: acquire, destroy": eachSemaphore(1, func(t *testing.T, s limiter, ctx context.Context) {
		must(s.Acquire(ctx)) // the space is closed with it held
	}),
	"semaphore: contended": eachSemaphore(7, func(t *testing.T, s limiter, _ context.Context) {
		held := make(chan Guard, 100) // a goroutine's permits are released by others
		held <- must(s.Acquire(bounded(t))).Detach()
		var p phases
		wait := bunch(t, 10, func(ctx context.Context) {
			for range 2 {
				held <- must(s.Acquire(ctx)).Detach()
				p.got()
			}
		})
		release := func(n int) {
			p.next()
			for range n {
				(<-held).Release()
			}
		}
		p.reach(t, [4]int{6})
		release(7)
		p.reach(t, [4]int{6, 7})
		release(6)
		p.reach(t, [4]int{6, 7, 6})
		if _, ok := s.TryAcquire(context.Background()); ok {
			t.Error("a permit is left")
		}
		release(1)
		wait()
		p.reach(t, [4]int{6, 7, 6, 1})
	}),
	// As in CPython nobody gives back what he has acquired: permits are posted.
	"semaphore: multirelease": func(t *testing.T, s *Space) {
		sem := must(s.Semaphore("s", 7))
		must(sem.Acquire(t.Context()))
		var p phases
		wait := bunch(t, 10, func(ctx context.Context) {
			for range 2 {
				must(sem.Acquire(ctx))
				p.got()
			}
		})
		p.reach(t, [4]int{6})
		p.next()
		sem.Post(7)
		p.reach(t, [4]int{6, 7})
		p.next()
		sem.Post(6)
		p.reach(t, [4]int{6, 7, 6})
		if _, ok := sem.TryAcquire(context.Background()); ok {
			t.Error("a permit is left")
		}
		p.next()
		sem.Post(1)
		wait()
		p.reach(t, [4]int{6, 7, 6, 1})
	},
	"semaphore: try": eachSemaphore(2, func(t *testing.T, s limiter, ctx context.Context) {
		a, ok := s.TryAcquire(context.Background())
		_, ok2 := s.TryAcquire(context.Background())
		_, ok3 := s.TryAcquire(context.Background())
		a.Release()
		_, ok4 := s.TryAcquire(context.Background())
		if got := []bool{ok, ok2, ok3, ok4}; !slices.Equal(got, []bool{true, true, false, true}) {
			t.Errorf("%v", got)
		}
	}),
	"semaphore: try, contended": eachSemaphore(4, func(t *testing.T, s limiter, ctx context.Context) {
		must(s.Acquire(ctx))
		var got atomic.Int32
		bunch(t, 5, func(context.Context) {
			for range 2 {
				if _, ok := s.TryAcquire(context.Background()); ok {
					got.Add(1)
				}
			}
		})()
		if got.Load() != 3 {
			t.Errorf("%d of 3 were had", got.Load())
		}
	}),
	"semaphore: timeout": eachSemaphore(2, func(t *testing.T, s limiter, ctx context.Context) {
		a := must(s.Acquire(ctx))
		must(s.Acquire(ctx))
		for _, ctx := range []context.Context{elapsed(ctx), soon(ctx)} {
			if _, err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		a.Release()
		must(s.Acquire(ctx))
		if _, err := s.Acquire(soon(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}),
	"semaphore: one permit": eachSemaphore(1, func(t *testing.T, s limiter, ctx context.Context) {
		g := must(s.Acquire(ctx))
		wait := bunch(t, 1, func(ctx context.Context) { must(s.Acquire(ctx)).Release() })
		asleep(t, 1, "(*semaphore).acquireSlow")
		g.Release()
		wait()
	}),
	"semaphore: with": eachSemaphore(2, func(t *testing.T, s limiter, ctx context.Context) {
		with := func(f func()) {
			g := must(s.Acquire(ctx))
			defer g.Release()
			f()
		}
		nested := func(f func()) {
			with(func() {
				g, ok := s.TryAcquire(context.Background())
				if !ok {
					t.Fatal("the second permit is taken")
				}
				g.Release()
				with(func() {
					if _, ok := s.TryAcquire(context.Background()); ok {
						t.Error("a third permit")
					}
					f()
				})
			})
		}
		nested(func() {})
		panics(t, func() { nested(func() { panic("an exception") }) })
		if s.Value() != 2 {
			t.Errorf("%d permits are left", s.Value())
		}
	}),
	"semaphore: release unacquired": func(t *testing.T, s *Space) {
		sem := must(s.Semaphore("s", 1))
		sem.Post(1)
		must(sem.Acquire(t.Context()))
		must(sem.Acquire(t.Context())).Release()
	},
	"bounded semaphore: release unacquired": func(t *testing.T, s *Space) {
		b := must(s.BoundedSemaphore("b", 1))
		g := must(b.Acquire(t.Context()))
		g.Release()
		panics(t, g.Release)
		if b.Value() != 1 {
			t.Errorf("%d permits", b.Value())
		}
	},
	"multiprocessing: semaphore": func(t *testing.T, s *Space) {
		sem := must(s.Semaphore("s", 2))
		countDown(t, sem)
		sem.Post(1)
		sem.Post(1)
		if sem.Value() != 4 {
			t.Errorf("%d permits", sem.Value())
		}
	},
	"multiprocessing: bounded semaphore": func(t *testing.T, s *Space) { countDown(t, must(s.BoundedSemaphore("b", 2))) },
}

// countDown acquires and releases the two permits of a semaphore, and looks at its value.
func countDown(t *testing.T, s limiter) {
	t.Helper()
	var guards []Guard
	value := func(want int) {
		t.Helper()
		if s.Value() != want {
			t.Errorf("%d permits, want %d", s.Value(), want)
		}
	}
	for n := range 2 {
		value(2 - n)
		guards = append(guards, must(s.Acquire(t.Context())))
	}
	value(0)
	if _, ok := s.TryAcquire(context.Background()); ok {
		t.Error("a third permit")
	}
	value(0)
	for n, g := range guards {
		g.Release()
		value(n + 1)
	}
}
