// The chapter "join". To join a process is to wait until it has ended. Three
// children that sleep for 1, 2 and 3 units of time run beside each other, so that
// to join all three takes as long as the longest, not as long as their sum.
//
// Python: p.join(). Here: Process.Join.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/brood-go/brood"
)

// unit is the unit of time.
const unit = 300 * time.Millisecond

var sleep = brood.NewFunc("sleep", func(_ context.Context, units int) (struct{}, error) {
	time.Sleep(time.Duration(units) * unit)
	fmt.Println("child of", units, "units: done")
	return struct{}{}, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	began := time.Now()
	var children []*brood.Process[struct{}]
	for units := 1; units <= 3; units++ {
		p, err := sleep.Start(ctx, units, brood.ProcessOptions{})
		if err != nil {
			return err
		}
		children = append(children, p)
	}
	for _, p := range children {
		if err := p.Join(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("all joined after %d ms: the longest sleeps for %d ms, the sum is %d ms\n",
		time.Since(began).Milliseconds(), (3 * unit).Milliseconds(), (6 * unit).Milliseconds())
	return nil
}
