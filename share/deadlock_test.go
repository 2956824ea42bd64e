package share

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/brood-go/brood/internal/waits"
)

// acquirer is what can be waited for and held.
type acquirer interface {
	Acquire(ctx context.Context) (Guard, error)
}

// circle lets n strands each acquire its own of the things, and, when all have, the next
// one's. It returns the errors of the second step, one for each strand; whoever has an error
// gives up what it holds.
func circle(t *testing.T, things []acquirer) (errs []error) {
	t.Helper()
	ctx, meet := bounded(t), must(Local().Barrier("all hold one", len(things), nil))
	errs = make([]error, len(things))
	all(len(things), func(i int) {
		ctx := asStrand(ctx, fmt.Sprintf("s%d", i))
		first := must(things[i].Acquire(ctx))
		must(meet.Wait(ctx))
		second, err := things[(i+1)%len(things)].Acquire(ctx)
		if errs[i] = err; err == nil {
			second.Release()
		}
		first.Release()
	})
	return errs
}

// oneTold checks that exactly one strand was told of a deadlock of n edges that names all
// objects, and the others have what they wanted.
func oneTold(t *testing.T, errs []error, n int, names ...string) {
	t.Helper()
	told := 0
	for i, err := range errs {
		var d *DeadlockError
		switch {
		case err == nil:
		case !errors.As(err, &d):
			t.Errorf("%v, want a deadlock", err)
		default:
			told++
			if len(d.Edges) != n {
				t.Errorf("%d edges, not %d: %v", len(d.Edges), n, err)
			}
			contains(t, err, append(names, fmt.Sprintf(`thread "s%d"`, i), "deadlock: ", "which is held by the first")...)
			for i := range n {
				contains(t, err, fmt.Sprintf(`thread "s%d"`, i))
			}
		}
	}
	if told != 1 {
		t.Errorf("%d were told, not one: %v", told, errs)
	}
	if w := waits.Waiting(); w != 0 {
		t.Errorf("%d waits are still noted", w)
	}
}

func TestDeadlock(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		a, b, c := must(s.Lock("a")), must(s.RLock("b")), must(s.Lock("c"))
		for range 50 {
			oneTold(t, circle(t, []acquirer{a, b}), 2, `lock "a"`, `rlock "b"`)
			oneTold(t, circle(t, []acquirer{a, b, c}), 3, `lock "a"`, `rlock "b"`, `lock "c"`)
		}
		sem, cond := must(s.BoundedSemaphore("s", 1)), must(s.Condition("cond", nil))
		oneTold(t, circle(t, []acquirer{a, sem}), 2, `lock "a"`, `bounded semaphore "s"`)
		oneTold(t, circle(t, []acquirer{a, sem, c}), 3, `bounded semaphore "s"`)
		oneTold(t, circle(t, []acquirer{a, cond.Lock()}), 2, `lock of condition "cond"`)
		for i, l := range []acquirer{a, b, c, sem, cond} {
			if _, err := l.Acquire(asStrand(bounded(t), "last")); err != nil {
				t.Errorf("%d is left taken: %v", i, err)
			}
		}
	})
}

// Circles through several spaces of one process are found, too.
func TestDeadlockAcrossSpaces(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		oneTold(t, circle(t, []acquirer{must(s.Lock("a")), must(s2(t).Lock("b"))}), 2, `lock "a" of `, `lock "b" of a local space`)
	})
}

// The one lock that a goroutine has it will never get again; an RLock it does.
func TestSelfDeadlock(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, r, ctx := must(s.Lock("l")), must(s.RLock("r")), asStrand(bounded(t), "me")
		g := must(l.Acquire(ctx))
		var d *DeadlockError
		if _, err := l.Acquire(ctx); !errors.As(err, &d) {
			t.Errorf("%v, want a deadlock", err)
		} else {
			contains(t, err, `share: acquire lock "l" of `, `thread "me"`, "which is held by the first")
		}
		g.Release()
		outer := must(r.Acquire(ctx))
		must(r.Acquire(ctx)).Release()
		outer.Release()
	})
}

// A guard that was handed on is nobody's in the search: there is no alarm.
func TestDeadlockDetached(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		l, ctx := must(s.Lock("l")), bounded(t)
		g := must(l.Acquire(ctx)).Detach()
		w := start(func() {
			asleep(t, 1, "(*lock).acquireSlow")
			g.Release()
		})
		must(l.Acquire(ctx)).Release()
		w()
	})
}

// Nobody is told if it was asked for: then they wait, until a context ends.
func TestNoDeadlockDetection(t *testing.T) {
	onEachWith(t, Options{NoDeadlockDetection: true}, func(t *testing.T, s *Space) {
		l := must(s.Lock("l"))
		g := must(l.Acquire(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		w := start(func() {
			asleep(t, 1, "(*lock).acquireSlow")
			cancel()
		})
		if _, err := l.Acquire(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		w()
		g.Release()
	})
}

// Goroutines that share one context, and so one strand, are different owners.
func TestNoAlarmSharedContext(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		a, b, r := must(s.Lock("a")), must(s.Lock("b")), must(s.RLock("r"))
		ctx := asStrand(bounded(t), "group")
		all(8, func(i int) {
			for range 300 {
				g, h, k := must(a.Acquire(ctx)), must(b.Acquire(ctx)), must(r.Acquire(ctx))
				must(r.Acquire(ctx)).Release()
				k.Release()
				h.Release()
				g.Release()
			}
		})
	})
}

// Who takes locks in one order never waits in a circle.
func TestNoAlarmOrdered(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		rounds := 1000
		if long {
			rounds = 50_000
		}
		var locks []acquirer
		for i := range 8 {
			switch i % 3 {
			case 0:
				locks = append(locks, must(s.Lock(fmt.Sprint(i))))
			case 1:
				locks = append(locks, must(s.RLock(fmt.Sprint(i))))
			case 2:
				locks = append(locks, must(s.BoundedSemaphore(fmt.Sprint(i), 1+i%2)))
			}
		}
		ctx := bounded(t)
		if long {
			ctx = t.Context()
		}
		var done atomic.Int64
		all(10, func(i int) {
			ctx, rng := asStrand(ctx, fmt.Sprint("s", i)), rand.New(rand.NewPCG(1, uint64(i)))
			for range rounds {
				some := rng.Perm(len(locks))[:1+rng.IntN(4)]
				slices.Sort(some)
				var guards []Guard
				for _, k := range some {
					guards = append(guards, must(locks[k].Acquire(ctx)))
				}
				for _, g := range guards {
					g.Release()
				}
				done.Add(1)
			}
		})
		if done.Load() != int64(10*rounds) {
			t.Errorf("%d rounds", done.Load())
		}
	})
}

// Permits that are acquired by one goroutine and released by another are a limiter, and
// no circle.
func TestNoAlarmLimiter(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := asStrand(bounded(t), "dispatcher")
		for _, sem := range []acquirer{must(s.BoundedSemaphore("b", 3)), must(s.Semaphore("s", 3))} {
			work := make(chan Guard, 100)
			w := start(func() {
				all(4, func(int) {
					for g := range work {
						g.Release()
					}
				})
			})
			for range 2000 {
				work <- must(sem.Acquire(ctx))
			}
			close(work)
			w()
		}
		// The dispatcher has all permits itself when it waits for one more.
		sem := must(s.BoundedSemaphore("all", 2))
		a, b := must(sem.Acquire(ctx)), must(sem.Acquire(ctx))
		w := start(func() {
			asleep(t, 1, "(*semaphore).acquireSlow")
			a.Release()
		})
		must(sem.Acquire(ctx)).Release()
		w()
		b.Release()
	})
}

// A producer posts what a consumer takes: nobody holds anything in a circle.
func TestNoAlarmPost(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		items, room, l := must(s.Semaphore("items", 0)), must(s.Semaphore("room", 4)), must(s.Lock("l"))
		ctx := bounded(t)
		queue := 0
		take := func(sem *Semaphore) {
			if err := sem.Consume(ctx, must(sem.Acquire(ctx))); err != nil {
				t.Error(err)
			}
		}
		step := func(by int) {
			g := must(l.Acquire(ctx))
			if queue += by; queue < 0 || queue > 4 {
				t.Errorf("%d in the queue", queue)
			}
			g.Release()
		}
		all(4, func(i int) {
			for range 500 {
				if i%2 == 0 {
					take(room)
					step(1)
					items.Post(1)
				} else {
					take(items)
					step(-1)
					room.Post(1)
				}
			}
		})
		if queue != 0 || items.Value() != 0 || room.Value() != 4 {
			t.Errorf("%d left, %d items, room for %d", queue, items.Value(), room.Value())
		}
	})
}
