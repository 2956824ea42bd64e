// The chapter "shared_data". Threads share the memory of their process: what one does to a
// variable the others see. Each knows its own name, and the program knows its threads.
//
// Python: a global changed in a threading.Thread, current_thread().name, active_count() and
// enumerate(). Here: a variable, brood.Current(ctx).Name, brood.ActiveThreads().
package main

import (
	"context"
	"fmt"

	"github.com/brood-go/brood"
)

var number = 18

// set changes the one variable that there is, and says who did it.
func set(ctx context.Context) error {
	number = 16
	fmt.Printf("thread %q: number is %d\n", brood.Current(ctx).Name, number)
	return nil
}

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	fmt.Printf("thread %q: number is %d\n", brood.Current(ctx).Name, number)
	setter := brood.Go(ctx, brood.ThreadOptions{Name: "setter"}, set)
	if err := setter.Join(ctx); err != nil { // also: what it wrote can be read from here on
		return err
	}
	fmt.Printf("thread %q: number is now %d\n", brood.Current(ctx).Name, number)
	return count(ctx)
}

// count looks at the threads that are active: beside main, which is not among them.
func count(ctx context.Context) error {
	enough := make(chan struct{})
	group := brood.NewGroup(ctx)
	for _, name := range []string{"Ann", "Bob", "Cem"} {
		group.Go(brood.ThreadOptions{Name: name}, func(context.Context) error {
			<-enough
			return nil
		})
	}
	fmt.Println("active threads beside main:", len(brood.ActiveThreads()), names())
	close(enough)
	if err := group.Wait(ctx); err != nil {
		return err
	}
	fmt.Println("when they have ended:", len(brood.ActiveThreads()), names())
	return nil
}

// names are those of the threads that are active.
func names() (all []string) {
	for _, t := range brood.ActiveThreads() {
		all = append(all, t.Name())
	}
	return all
}
