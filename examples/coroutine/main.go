// The chapter "coroutine". A coroutine is a function that can stop in the middle, and go on
// there later: its local variables are its saved state. Who resumes it gives it something
// and gets something back. Two of them, resumed in turns, alternate in a fixed order, and
// all of it is one thread: no lock is needed, and none could help, as nothing happens at
// the same time. A loop does the resuming for those that wait: for a time, or for each
// other.
//
// Python: generators with yield, send and close; asyncio with create_task and sleep. Here:
// coro.New with Yield, Resume and Close; coro.NewLoop with Go and Sleep.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/coro"
)

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	if err := alternate(); err != nil {
		return err
	}
	if err := sleepers(ctx); err != nil {
		return err
	}
	return costs()
}

// counter says its name and counts what it was given, until it is closed.
func counter(name string) *coro.Coroutine[int, string] {
	return coro.New(func(co *coro.Co[int, string], step int) string {
		defer fmt.Println(name, "is closed")
		for sum := step; ; {
			sum += co.Yield(fmt.Sprint(name, " has ", sum))
		}
	})
}

// alternate resumes two coroutines in turns.
func alternate() error {
	ann, bob := counter("Ann"), counter("Bob")
	defer ann.Close()
	defer bob.Close()
	for turn := range 3 {
		for _, c := range []*coro.Coroutine[int, string]{ann, bob} {
			said, err := c.Resume(turn + 1)
			if err != nil {
				return err
			}
			fmt.Println(said)
		}
	}
	return nil
}

// sleepers lets a loop run two tasks that wait. Its time is virtual: it jumps when all wait.
func sleepers(ctx context.Context) error {
	loop := coro.NewLoop(coro.Options{Clock: coro.Virtual})
	began, really := loop.Now(), time.Now()
	every := func(name string, pause time.Duration) {
		loop.Go(name, func(ctx context.Context) error {
			for range 3 {
				if err := coro.Sleep(ctx, pause); err != nil {
					return err
				}
				fmt.Println(name, "after", loop.Now().Sub(began))
			}
			return nil
		})
	}
	every("tick", 2*time.Hour)
	every("tock", 3*time.Hour)
	err := loop.Run(ctx)
	fmt.Printf("%v have passed in %d ms\n", loop.Now().Sub(began), time.Since(really).Milliseconds())
	return err
}

// costs compares a switch to a coroutine and back with a hand-over to a goroutine and back.
func costs() error {
	const n = 200_000
	c := coro.New(func(co *coro.Co[int, int], number int) int {
		for {
			number = co.Yield(number + 1)
		}
	})
	defer c.Close()
	number, began := 0, time.Now()
	for range n {
		var err error
		if number, err = c.Resume(number); err != nil {
			return err
		}
	}
	fmt.Printf("coroutine: %d switches there and back, %d ns each\n", number, time.Since(began).Nanoseconds()/n)

	there, back := make(chan int), make(chan int)
	defer close(there)
	go func() {
		for number := range there {
			back <- number + 1
		}
	}()
	number, began = 0, time.Now()
	for range n {
		there <- number
		number = <-back
	}
	fmt.Printf("channels: %d hand-overs there and back, %d ns each\n", number, time.Since(began).Nanoseconds()/n)
	return nil
}
