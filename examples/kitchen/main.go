// The chapter "kitchen". Producers and consumers: two cooks make eight dishes each, and eaters
// eat them. Each is a process, and a queue lies between them. The cooks need not know how
// many eaters there are: when all is cooked the queue is closed, and every eater stops when
// nothing is left. With a joinable queue somebody can wait until all is eaten, and an eater that
// is killed in the middle of a dish leaves it to another.
//
// Python: multiprocessing.Queue, with one None ("poison pill") for each consumer, and somebody who
// counts the consumers; JoinableQueue with task_done and join, where join waits for ever when
// a consumer is killed. Here: share.Queue with Close, share.JoinableQueue with Done and Join.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const cooks, dishes = 2, 8

// Dish is what is cooked and eaten.
type Dish struct{ Cook, Number int }

// fatal is the dish on which an eater chokes, if it is the first to try it.
var fatal = Dish{Cook: 1, Number: 3}

// Eaten is a dish that was eaten.
type Eaten struct {
	Dish
	Eater   string
	Attempt int
}

// Kitchen is what a cook is told: who it is, and where its dishes go.
type Kitchen struct {
	Cook   int
	Hatch  *share.Queue[Dish]         // one of the two
	Served *share.JoinableQueue[Dish] // is nil
}

// cook cooks.
var cook = brood.NewFunc("cook", func(ctx context.Context, k Kitchen) (struct{}, error) {
	put := k.Hatch.Put
	if k.Served != nil {
		put = k.Served.Put
	}
	for n := range dishes {
		if err := put(ctx, Dish{k.Cook, n}); err != nil {
			return struct{}{}, err
		}
	}
	return struct{}{}, nil
})

// eat eats what comes until nothing comes any more, and returns it.
var eat = brood.NewFunc("eat", func(ctx context.Context, hatch *share.Queue[Dish]) (all []Dish, err error) {
	for dish, err := range hatch.All(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, dish)
	}
	return all, nil
})

// Guest is what an eater at a joinable queue is told.
type Guest struct {
	Name   string
	Served *share.JoinableQueue[Dish]
	Book   *share.Queue[Eaten] // where it notes what it has eaten
}

// dine is eat for dishes that somebody counts.
var dine = brood.NewFunc("dine", func(ctx context.Context, g Guest) (struct{}, error) {
	for d, err := range g.Served.All(ctx) {
		if err != nil {
			return struct{}{}, err
		}
		if d.Value == fatal && d.Attempt() == 1 {
			self, err := os.FindProcess(os.Getpid())
			if err != nil {
				return struct{}{}, err
			}
			self.Kill() // SIGKILL: there is no time to say anything
			select {}
		}
		if err := errors.Join(g.Book.Put(ctx, Eaten{d.Value, g.Name, d.Attempt()}), d.Done()); err != nil {
			return struct{}{}, err
		}
	}
	return struct{}{}, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	for _, eaters := range []int{2, 5} {
		if err := closing(ctx, space, eaters); err != nil {
			return err
		}
	}
	return joining(ctx, space)
}

// closing ends the eaters by closing the queue.
func closing(ctx context.Context, space *share.Space, eaters int) error {
	hatch, err := share.NewQueue[Dish](space, fmt.Sprint("hatch for ", eaters), 4)
	if err != nil {
		return err
	}
	var all []*brood.Process[[]Dish]
	for n := range eaters {
		p, err := eat.Start(ctx, hatch, brood.ProcessOptions{Name: fmt.Sprint("eater ", n)})
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	if err := cookAll(ctx, Kitchen{Hatch: hatch}); err != nil {
		return err
	}
	if err := hatch.Close(); err != nil {
		return err
	}
	var eaten []Dish
	for _, p := range all {
		some, err := p.Result(ctx)
		if err != nil {
			return err
		}
		eaten = append(eaten, some...)
	}
	slices.SortFunc(eaten, func(a, b Dish) int { return cmp.Or(a.Cook-b.Cook, a.Number-b.Number) })
	fmt.Printf("%d eaters have stopped, and have eaten %v\n", eaters, eaten)
	return nil
}

// cookAll returns when everything is cooked.
func cookAll(ctx context.Context, k Kitchen) error {
	var all []*brood.Process[struct{}]
	for k.Cook = range cooks {
		p, err := cook.Start(ctx, k, brood.ProcessOptions{Name: fmt.Sprint("cook ", k.Cook)})
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	for _, p := range all {
		if _, err := p.Result(ctx); err != nil {
			return err
		}
	}
	return nil
}

// joining waits until all is eaten, though an eater is killed.
func joining(ctx context.Context, space *share.Space) error {
	served, err := share.NewJoinableQueue[Dish](space, "served", share.JoinableOptions{Capacity: 4})
	if err != nil {
		return err
	}
	book, err := share.NewQueue[Eaten](space, "book", 100)
	if err != nil {
		return err
	}
	var eaters []*brood.Process[struct{}]
	for _, name := range []string{"Ann", "Bob"} {
		p, err := dine.Start(ctx, Guest{name, served, book}, brood.ProcessOptions{Name: name})
		if err != nil {
			return err
		}
		eaters = append(eaters, p)
	}
	if err := cookAll(ctx, Kitchen{Served: served}); err != nil {
		return err
	}
	if err := served.Join(ctx); err != nil {
		return err
	}
	fmt.Println("Join has returned; dishes eaten:", book.Len(), "not eaten:", served.Unfinished())
	if err := errors.Join(served.Close(), book.Close()); err != nil {
		return err
	}
	for _, p := range eaters {
		_, err := p.Result(ctx)
		var died *brood.WorkerDied
		switch {
		case errors.As(err, &died):
			fmt.Println(p.Name(), "was killed in the middle of a dish")
		case err != nil:
			return err
		default:
			fmt.Println(p.Name(), "has stopped")
		}
	}
	for e, err := range book.All(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("%s ate dish %d of cook %d, attempt %d\n", e.Eater, e.Number, e.Cook, e.Attempt)
	}
	return nil
}
