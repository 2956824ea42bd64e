package share

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// A peer overwrites everything that belongs to the objects, again and again. What is called
// meanwhile may fail, or get what it should not, but ends: none panics, and none waits beyond
// its context.
func TestGarbage(t *testing.T) {
	rounds := 1000
	if long {
		rounds = 20_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s, err := New()
	s = closed(t, s, err)
	useWhileOverwritten(t, s, seed, rounds, garbageObjects(t, s))
}

// useWhileOverwritten calls each use in a goroutine of its own, as a peer overwrites the space.
func useWhileOverwritten(t *testing.T, s *Space, seed uint64, rounds int, uses []func(ctx context.Context)) {
	t.Helper()
	var stop atomic.Bool
	var writers, users sync.WaitGroup
	writers.Go(func() { overwrite(s.space, &stop, rand.New(rand.NewPCG(seed, 0))) })
	for i, use := range uses {
		users.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					buf := make([]byte, 1<<14)
					t.Errorf("%d panics: %v\n%s", i, v, buf[:runtime.Stack(buf, false)])
				}
			}()
			for range rounds {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Microsecond)
				use(ctx)
				cancel()
			}
		})
	}
	ended := make(chan struct{})
	go func() { users.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		buf := make([]byte, 1<<20)
		panic("a call does not end\n" + string(buf[:runtime.Stack(buf, true)]))
	}
	stop.Store(true)
	writers.Wait()
}

// garbageObjects is one use of each kind of object.
func garbageObjects(t *testing.T, s *Space) []func(ctx context.Context) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	lock, err := s.Lock("lock")
	must(err)
	rlock, err := s.RLock("rlock")
	must(err)
	sem, err := s.Semaphore("semaphore", 3)
	must(err)
	event, err := s.Event("event")
	must(err)
	cond, err := s.Condition("condition", nil)
	must(err)
	barrier, err := s.Barrier("barrier", 2, func(context.Context) error { return nil })
	must(err)
	queue, err := NewQueue[[]byte](s, "queue", 4)
	must(err)
	stack, err := NewStack[int](s, "stack", 4)
	must(err)
	prio, err := NewPriorityQueue[string](s, "priority", 4)
	must(err)
	joinable, err := NewJoinableQueue[[]byte](s, "joinable", JoinableOptions{Capacity: 4, Attempts: 2})
	must(err)
	here, there, err := NewPipe[int](s, "pipe", PipeOptions{})
	must(err)
	release := func(g Guard, err error) {
		if err == nil {
			g.Release()
		}
	}
	meet := func(ctx context.Context) {
		if _, err := barrier.Wait(ctx); errors.Is(err, ErrBrokenBarrier) {
			resetCtx(ctx, barrier)
		}
	}
	strand := asStrand(t.Context(), "s")
	return []func(ctx context.Context){
		func(ctx context.Context) { release(lock.Acquire(ctx)) },
		func(ctx context.Context) { release(lock.Acquire(ctx)) },
		func(context.Context) {
			if g, ok := rlock.TryAcquire(strand); ok {
				g.Release()
			}
		},
		func(ctx context.Context) { release(sem.AcquireN(ctx, 2)) },
		func(ctx context.Context) { release(sem.AcquireN(ctx, 2)) },
		func(context.Context) { sem.Post(1); sem.Value() },
		func(ctx context.Context) { event.Wait(ctx); event.Clear() },
		func(context.Context) { event.Set() },
		func(ctx context.Context) {
			if g, err := cond.Acquire(ctx); err == nil {
				release(cond.Wait(ctx, g))
			}
		},
		func(context.Context) { cond.Notify(1); cond.NotifyAll() },
		meet, meet,
		func(ctx context.Context) { queue.Put(ctx, make([]byte, 100_000)); queue.PutAll(ctx, nil, nil) },
		func(ctx context.Context) { queue.Get(ctx); queue.GetUpTo(ctx, 3) },
		func(ctx context.Context) { stack.Put(ctx, 1); stack.TryGet(); prio.Put(ctx, "x", 1); prio.Get(ctx) },
		func(ctx context.Context) { joinable.Put(ctx, make([]byte, 500)); joinable.Join(ctx) },
		func(ctx context.Context) {
			if d, err := joinable.Get(ctx); err == nil && d.Return() != nil {
				d.Done()
			}
			if d, err := joinable.Failed(ctx); err == nil {
				d.Done()
			}
		},
		func(ctx context.Context) { here.Send(ctx, 1); there.Receive(ctx); there.TrySend(2); here.TryReceive() },
		func(context.Context) { Inspect(s.Name()) },
	}
}

// resetCtx resets a barrier within a context, as its latch may be overwritten.
func resetCtx(ctx context.Context, b *Barrier) { _ = b.b.reset(ctx) }

// overwrite writes chance values, and with small low halves, into words of objects, and of their extents,
// until stop is set. Not what could have been there: a lock that was released and acquired
// again, or the ID of a process that lives, is believed (see mutex.go).
func overwrite(s *space, stop *atomic.Bool, rnd *rand.Rand) {
	var words []cell.Word
	for index := range uint64(4096) {
		if o, ok := s.store.object(index); ok {
			words = append(words, o.words...)
		} else if x, ok := s.mem.Extent(index); ok && index > 784 {
			for i := range cell.ExtentWords {
				words = append(words, x.At(i))
			}
		}
	}
	if len(words) == 0 {
		panic("no words")
	}
	for !stop.Load() {
		w := words[rnd.IntN(len(words))]
		switch rnd.IntN(3) {
		case 0:
			w.Store(rnd.Uint64())
		case 1:
			w.Store(rnd.Uint64()<<32 | rnd.Uint64N(1000))
		default:
			w.Store(0)
		}
		for range rnd.IntN(300) {
			_ = stop.Load()
		}
	}
}
