// The chapter "parking". A semaphore counts: of 25 cars only 5 at a time find a place in the
// car park, the others wait for one to leave. Every car is a process. A 26th one breaks
// down on its place and is killed: the place becomes free by itself.
//
// Python: multiprocessing.BoundedSemaphore, which loses the place. Here:
// share.BoundedSemaphore.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const cars, places, broken = 25, 5, 7

// Car is what a car is told.
type Car struct {
	Number int
	Park   *share.BoundedSemaphore
}

// Stay is when a car was on its place.
type Stay struct{ From, To time.Time }

// visit parks for a while.
var visit = brood.NewFunc("visit", func(ctx context.Context, c Car) (Stay, error) {
	place, err := c.Park.Acquire(ctx)
	if err != nil {
		return Stay{}, err
	}
	from := time.Now()
	if c.Number == broken {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return Stay{}, err
		}
		self.Kill()
		select {}
	}
	time.Sleep(20 * time.Millisecond)
	to := time.Now()
	place.Release()
	return Stay{from, to}, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	park, err := space.BoundedSemaphore("park", places)
	if err != nil {
		return err
	}
	var all []*brood.Process[Stay]
	for n := range cars + 1 { // one more: it breaks down
		p, err := visit.Start(ctx, Car{n, park}, brood.ProcessOptions{Name: fmt.Sprint("car ", n)})
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	var stays []Stay
	for _, p := range all {
		s, err := p.Result(ctx)
		var died *brood.WorkerDied
		switch {
		case errors.As(err, &died):
			fmt.Println(p.Name(), "broke down on its place")
		case err != nil:
			return err
		default:
			stays = append(stays, s)
		}
	}
	fmt.Println("cars that were served:", len(stays), "of", cars)
	fmt.Println("cars inside at once, at most:", most(stays))
	fmt.Println("free places in the end:", park.Value(), "of", places)
	return nil
}

// most is how many stays there are at once, at most.
func most(stays []Stay) (n int) {
	for _, s := range stays {
		n = max(n, len(slices.DeleteFunc(slices.Clone(stays), func(o Stay) bool { return o.From.After(s.From) || !o.To.After(s.From) })))
	}
	return n
}
