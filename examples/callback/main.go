// The chapter "callback". Instead of waiting for a result one can leave a function
// that is called with it when it is there. Each callback is called once, with the
// outcome of its own task, be that a result or an error. A panic in one is logged, and
// hurts neither the other callbacks nor the pool.
//
// Python: future.add_done_callback(f), pool.apply_async(callback=f). Here:
// Future.OnDone.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/brood-go/brood"
)

var square = brood.NewFunc("square", func(_ context.Context, n int) (int, error) {
	if n == 4 {
		return 0, errors.New("4 is not for squaring")
	}
	return n * n, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 2})
	if err != nil {
		return err
	}
	defer pool.Close()
	var calls sync.WaitGroup // to know when all callbacks have returned
	for n := range 8 {
		f := square.Submit(ctx, pool, n)
		calls.Add(2)
		f.OnDone(func(f *brood.Future[int]) {
			defer calls.Done()
			v, err := f.Result(ctx)
			fmt.Printf("callback of %d: %d, %v\n", n, v, err)
			if n == 2 {
				panic("a careless callback")
			}
		})
		f.OnDone(func(*brood.Future[int]) {
			defer calls.Done()
			fmt.Println("second callback of", n)
		})
	}
	fmt.Println("main goes on")
	calls.Wait()
	v, err := square.Call(ctx, pool, 12)
	fmt.Println("the pool goes on:", v, err)
	return nil
}
