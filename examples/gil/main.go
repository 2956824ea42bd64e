// The chapter "gil". Under a global interpreter lock one thread at a time runs, and the others
// wait for their turn. Four threads that compute then need as long as one after the other; four
// that wait for something give up the lock meanwhile, and wait together. Threads without such
// a lock, and processes, which have one each, also compute together.
//
// Python: the lock that every thread of CPython has to have, sys.setswitchinterval. Here:
// package gil, for what is not safe for threads; goroutines have no such lock by themselves.
package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/gil"
)

const threads = 4

// Span is a while in which somebody worked. The clock is the same in all processes.
type Span struct{ Begin, End int64 } // in nanoseconds since 1970

// timed is the span of f.
func timed(f func()) Span {
	begin := time.Now().UnixNano()
	f()
	return Span{begin, time.Now().UnixNano()}
}

// work is a job in pieces: between two of them others may run, within them only if the piece
// needs no lock.
type work struct {
	name   string
	pieces int
	piece  func()
	waits  bool
}

var jobs = []work{
	{"CPU-bound", 200, compute, false},
	{"I/O-bound", 4, func() { time.Sleep(30 * time.Millisecond) }, true},
}

// compute takes some fraction of a millisecond.
func compute() {
	x := uint64(time.Now().UnixNano())
	for range 200_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 {
		fmt.Println("never: but now the loop has a purpose")
	}
}

// alone does the job of a number without a lock.
func alone(_ context.Context, job int) (spans []Span, err error) {
	for range jobs[job].pieces {
		spans = append(spans, timed(jobs[job].piece))
	}
	return spans, nil
}

var inProcess = brood.NewFunc("alone", alone)

// underLock does it as a thread of a GIL.
func underLock(ctx context.Context, g *gil.GIL, job work) (spans []Span, err error) {
	err = g.Do(ctx, job.name, func(ctx context.Context, t *gil.Thread) (err error) {
		for i := 0; i < job.pieces && err == nil; i++ {
			if job.waits {
				err = t.Unlocked(ctx, func() { spans = append(spans, timed(job.piece)) })
				continue
			}
			spans = append(spans, timed(job.piece))
			err = t.Check(ctx) // a safe point: another one may run
		}
		return err
	})
	return spans, err
}

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: threads})
	if err != nil {
		return err
	}
	defer pool.Close()
	g := new(gil.GIL)
	fmt.Println("work      | by                  |     one |    four | at most at once")
	for job, w := range jobs {
		ways := []struct {
			name string
			do   func(ctx context.Context) ([]Span, error)
		}{
			{"threads under a GIL", func(ctx context.Context) ([]Span, error) { return underLock(ctx, g, w) }},
			{"threads", func(ctx context.Context) ([]Span, error) { return alone(ctx, job) }},
			{"processes", func(ctx context.Context) ([]Span, error) { return inProcess.Call(ctx, pool, job) }},
		}
		for _, way := range ways {
			if err := measure(ctx, w.name, way.name, way.do); err != nil {
				return err
			}
		}
	}
	return nil
}

// measure lets one thread do a job, and then four at once.
func measure(ctx context.Context, job, by string, do func(ctx context.Context) ([]Span, error)) error {
	var took [2]time.Duration
	var all []Span
	for i, n := range []int{1, threads} {
		var mu sync.Mutex
		all = nil
		group := brood.NewGroup(ctx)
		began := time.Now()
		for range n {
			group.Go(brood.ThreadOptions{}, func(ctx context.Context) error {
				spans, err := do(ctx)
				mu.Lock()
				defer mu.Unlock()
				all = append(all, spans...)
				return err
			})
		}
		if err := group.Wait(ctx); err != nil {
			return err
		}
		took[i] = time.Since(began)
	}
	fmt.Printf("%-9s | %-19s | %4d ms | %4d ms | %d\n", job, by, took[0].Milliseconds(), took[1].Milliseconds(), atOnce(all))
	return nil
}

// atOnce is how many spans overlap at most.
func atOnce(spans []Span) (most int) {
	type event struct{ at, change int64 }
	var events []event
	for _, s := range spans {
		events = append(events, event{s.Begin, 1}, event{s.End, -1})
	}
	slices.SortFunc(events, func(a, b event) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.change, b.change)) })
	now := 0
	for _, e := range events {
		now += int(e.change)
		most = max(most, now)
	}
	return most
}
