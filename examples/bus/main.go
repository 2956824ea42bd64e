// The chapter "bus". An event is a flag to wait for: ten passengers, each in a process of its
// own, wait at the stop. None boards before the bus is there; then all do.
//
// Python: multiprocessing.Event. Here: share.Event.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const passengers = 10

// Stop is what a passenger is told.
type Stop struct {
	Bus     *share.Event
	Waiting *share.Semaphore // one permit for each who has come
}

// board waits for the bus, and returns when it got on.
var board = brood.NewFunc("board", func(ctx context.Context, s Stop) (time.Time, error) {
	s.Waiting.Post(1)
	if err := s.Bus.Wait(ctx); err != nil {
		return time.Time{}, err
	}
	return time.Now(), nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	bus, err := space.Event("bus")
	if err != nil {
		return err
	}
	waiting, err := space.Semaphore("waiting", 0)
	if err != nil {
		return err
	}
	var all []*brood.Process[time.Time]
	for range passengers {
		p, err := board.Start(ctx, Stop{bus, waiting}, brood.ProcessOptions{})
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	if _, err := waiting.AcquireN(ctx, passengers); err != nil {
		return err
	}
	fmt.Println(passengers, "passengers wait")
	came := time.Now()
	bus.Set()
	before, after := 0, 0
	for _, p := range all {
		boarded, err := p.Result(ctx)
		if err != nil {
			return err
		}
		if boarded.Before(came) {
			before++
		} else {
			after++
		}
	}
	fmt.Println("boarded before the bus came:", before)
	fmt.Println("boarded after it came:", after)
	return nil
}
