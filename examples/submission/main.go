// The chapter "submission". A task is submitted synchronously if the caller waits for
// its outcome there and then, asynchronously if the caller gets a promise, the future,
// and goes on. Blocking is another matter: it says whether a process sleeps in a call
// until there is something to return.
//
// Python: pool.apply and pool.apply_async, or executor.submit; future.result,
// future.done; queue.get, get_nowait. Here: Func.Call and Func.Submit; Future.Result, Done,
// State; Queue.Get, TryGet.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const pause = 500 * time.Millisecond

var double = brood.NewFunc("double", func(_ context.Context, n int) (int, error) {
	time.Sleep(pause)
	return 2 * n, nil
})

// get gets an item of a queue, and waits for one.
var get = brood.NewFunc("get", func(ctx context.Context, queue *share.Queue[string]) (string, error) {
	return queue.Get(ctx)
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1})
	if err != nil {
		return err
	}
	defer pool.Close()

	began := time.Now()
	v, err := double.Call(ctx, pool, 1)
	fmt.Println("Call waited", time.Since(began).Milliseconds(), "ms and returned", v, err)

	began = time.Now()
	first := double.Submit(ctx, pool, 2)
	second := double.Submit(ctx, pool, 3) // waits for the only worker
	fmt.Println("Submit and Submit took", time.Since(began).Milliseconds(), "ms")

	for first.State() == brood.Queued { // until the worker has taken it
		time.Sleep(time.Millisecond)
	}
	fmt.Println("states:", first.State(), second.State())

	ended, end := context.WithCancel(ctx)
	end()
	_, err = first.Result(ended)
	fmt.Println("Result that may not wait:", err)
	select {
	case <-first.Done():
		fmt.Println("select: done")
	default:
		fmt.Println("select: not done")
	}

	began = time.Now()
	v, err = second.Result(ctx)
	fmt.Println("Result blocked for", time.Since(began).Milliseconds(), "ms and returned", v, err)
	fmt.Println("states:", first.State(), second.State())
	return queue(ctx, pool)
}

// queue lets a worker get an item that is not there yet.
func queue(ctx context.Context, pool brood.Executor) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	queue, err := share.NewQueue[string](space, "items", 1)
	if err != nil {
		return err
	}
	_, err = queue.TryGet()
	fmt.Println("TryGet does not wait:", errors.Is(err, share.ErrEmpty))
	getting := get.Submit(ctx, pool, queue)
	for waiting := 0; waiting == 0; time.Sleep(time.Millisecond) { // until it blocks
		info, err := share.Inspect(space.Name())
		if err != nil {
			return err
		}
		waiting = len(info.Objects[0].Waiters)
	}
	fmt.Println("Get blocks, its task is", getting.State())
	if err := queue.Put(ctx, "an item"); err != nil {
		return err
	}
	v, err := getting.Result(ctx)
	fmt.Println("Get returned", v, err)
	return nil
}
