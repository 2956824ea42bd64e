// The chapter "pool". A pool bounds the load: 50 tasks share 4 workers, so that never
// more than 4 run at once. Map yields the results in the order of the arguments,
// whichever is ready first, and Shutdown waits for what was submitted. The same
// function runs in goroutines and in processes.
//
// Python: ThreadPoolExecutor and ProcessPoolExecutor with map, submit and
// shutdown(wait=True). Here: NewThreadPool, NewProcessPool, Func.Map, Func.Submit,
// Shutdown.
package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/brood-go/brood"
)

const tasks, workers = 50, 4

// Span is when a task ran. The clock is the same in all processes of a machine.
type Span struct {
	Task       int
	Begin, End int64 // in nanoseconds since 1970
}

// nap sleeps, the sooner the later the task, so that results get ready out of order.
var nap = brood.NewFunc("nap", func(_ context.Context, task int) (Span, error) {
	begin := time.Now().UnixNano()
	time.Sleep(time.Duration(10+(tasks-task)%workers*10) * time.Millisecond)
	return Span{task, begin, time.Now().UnixNano()}, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	threads, err := brood.NewThreadPool(brood.PoolOptions{Workers: workers})
	if err != nil {
		return err
	}
	defer threads.Close()
	processes, err := brood.NewProcessPool(brood.PoolOptions{Workers: workers})
	if err != nil {
		return err
	}
	defer processes.Close()
	if err := use(ctx, "threads", threads, threads.Shutdown); err != nil {
		return err
	}
	return use(ctx, "processes", processes, processes.Shutdown)
}

// use runs the tasks on a pool and says what there was to see.
func use(ctx context.Context, name string, pool brood.Executor, shutdown func(context.Context) error) error {
	var spans []Span
	var order []int
	for s, err := range nap.Map(ctx, pool, numbers) {
		if err != nil {
			return err
		}
		spans, order = append(spans, s), append(order, s.Task)
	}
	fmt.Println(name, "results:", order)
	fmt.Println(name, "at most at once:", atOnce(spans))
	last := nap.Submit(ctx, pool, tasks)
	if err := shutdown(ctx); err != nil {
		return err
	}
	fmt.Println(name, "after Shutdown the last one has", last.State())
	return nil
}

// numbers yields the tasks' arguments.
func numbers(yield func(int) bool) {
	for n := 0; n < tasks && yield(n); n++ {
	}
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
