package brood_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/brood-go/brood"
)

// The functions of the examples, at package level, where every process of this
// program runs through.
var (
	square = brood.NewFunc("example/square", func(_ context.Context, n int) (int, error) {
		if n < 0 {
			return 0, errors.New("negative numbers are not for squaring")
		}
		return n * n, nil
	})
	// await gets a channel, which only a ThreadPool can pass on: the others encode.
	await = brood.NewFunc("example/await", func(_ context.Context, word chan string) (string, error) { return <-word, nil })
)

func ExampleNewThreadPool() {
	// var square = brood.NewFunc("square", …) at package level
	ctx := context.Background()
	pool, err := brood.NewThreadPool(brood.PoolOptions{Workers: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	future := square.Submit(ctx, pool, 7) // asynchronous
	fmt.Println(square.Call(ctx, pool, 12))
	fmt.Println(future.Result(ctx))
	fmt.Println(pool.Shutdown(ctx))
	_, err = square.Call(ctx, pool, 1)
	fmt.Println(errors.Is(err, brood.ErrClosed))
	// Output:
	// 144 <nil>
	// 49 <nil>
	// <nil>
	// true
}

// An error stands at its place, and the others go on.
func ExampleFunc_Map() {
	// var square = brood.NewFunc("square", …) at package level
	ctx := context.Background()
	pool, err := brood.NewThreadPool(brood.PoolOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	for v, err := range square.Map(ctx, pool, slices.Values([]int{1, 2, -3, 4})) {
		fmt.Println(v, err)
	}
	// Output:
	// 1 <nil>
	// 4 <nil>
	// 0 negative numbers are not for squaring
	// 16 <nil>
}

func ExampleFuture_OnDone() {
	// var square = brood.NewFunc("square", …) at package level
	ctx := context.Background()
	pool, err := brood.NewThreadPool(brood.PoolOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	var called sync.WaitGroup // nothing else waits for a callback
	called.Add(1)
	square.Submit(ctx, pool, 12).OnDone(func(f *brood.Future[int]) {
		defer called.Done()
		v, err := f.Result(ctx) // it is there: this does not wait
		fmt.Println("callback:", v, err)
	})
	called.Wait()
	// Output: callback: 144 <nil>
}

func ExampleAsCompleted() {
	// var await = brood.NewFunc("await", …) at package level: it returns what it gets
	// through a channel
	ctx := context.Background()
	pool, err := brood.NewThreadPool(brood.PoolOptions{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	first, second := make(chan string, 1), make(chan string, 1)
	futures := []*brood.Future[string]{await.Submit(ctx, pool, first), await.Submit(ctx, pool, second)}
	second <- "submitted second, done first"
	for f := range brood.AsCompleted(ctx, futures...) {
		fmt.Println(f.Result(ctx))
		first <- "submitted first, done second"
	}
	// Output:
	// submitted second, done first <nil>
	// submitted first, done second <nil>
}
