package coro_test

import (
	"context"
	"fmt"
	"time"

	"github.com/brood-go/brood/coro"
)

// What is given to Resume is what Yield returns, and the other way round.
func ExampleNew() {
	average := coro.New(func(co *coro.Co[float64, float64], first float64) float64 {
		sum, n := first, 1.0
		for {
			sum += co.Yield(sum / n)
			n++
		}
	})
	defer average.Close()
	for _, x := range []float64{10, 30, 5} {
		fmt.Println(average.Resume(x))
	}
	// Output:
	// 10 <nil>
	// 20 <nil>
	// 15 <nil>
}

// Yield may be called from far within.
func ExampleGenerate() {
	var permute func(yield func(string), done, left string)
	permute = func(yield func(string), done, left string) {
		if left == "" {
			yield(done)
		}
		for i := range left {
			permute(yield, done+left[i:i+1], left[:i]+left[i+1:])
		}
	}
	for word := range coro.Generate(func(yield func(string)) { permute(yield, "", "abc") }) {
		if word == "bca" {
			break
		}
		fmt.Println(word)
	}
	// Output:
	// abc
	// acb
	// bac
}

// Tasks wait beside each other. By a virtual clock an hour takes no time.
func ExampleLoop() {
	loop := coro.NewLoop(coro.Options{Clock: coro.Virtual})
	began := loop.Now()
	cook := func(dish string, d time.Duration) *coro.Task[string] {
		return coro.Start(loop, dish, func(ctx context.Context) (string, error) {
			err := coro.Sleep(ctx, d)
			fmt.Println(dish, "after", loop.Now().Sub(began))
			return dish, err
		})
	}
	loop.Go("waiter", func(ctx context.Context) error {
		menu, err := coro.Gather(ctx, cook("soup", 20*time.Minute), cook("cake", time.Hour), cook("fish", 30*time.Minute))
		fmt.Println(menu)
		return err
	})
	fmt.Println(loop.Run(context.Background()))
	// Output:
	// soup after 20m0s
	// fish after 30m0s
	// cake after 1h0m0s
	// [soup cake fish]
	// <nil>
}

// The first task that fails ends the others.
func ExampleLoop_Go() {
	loop := coro.NewLoop(coro.Options{Clock: coro.Virtual})
	loop.Go("server", func(ctx context.Context) error {
		defer fmt.Println("the server is closed")
		return coro.Sleep(ctx, 24*time.Hour)
	})
	loop.Go("disk", func(ctx context.Context) error {
		if err := coro.Sleep(ctx, time.Minute); err != nil {
			return err
		}
		return fmt.Errorf("no room")
	})
	fmt.Println(loop.Run(context.Background()))
	// Output:
	// the server is closed
	// coro: task "disk": no room
}
