// The chapter "deadlock". Two processes need two locks, a knife and a fork, and take them in
// opposite order. When each has one, each waits for the other's.
//
// Python: two multiprocessing.Locks, and the program hangs. Here: two share.Locks, and the one that
// would close the circle gets a *share.DeadlockError, which names both processes and both
// locks. It gives up what it has, and the other one eats.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

// Table is what an eater is told.
type Table struct {
	Name          string
	First, Second *share.Lock
	Both          *share.Barrier // each has its first
}

// eat takes the first lock, then the second.
var eat = brood.NewFunc("eat", func(ctx context.Context, t Table) (string, error) {
	first, err := t.First.Acquire(ctx)
	if err != nil {
		return "", err
	}
	defer first.Release()
	if _, err := t.Both.Wait(ctx); err != nil {
		return "", err
	}
	second, err := t.Second.Acquire(ctx)
	var deadlock *share.DeadlockError
	if errors.As(err, &deadlock) {
		return fmt.Sprintf("%s did not eat: %v", t.Name, deadlock), nil
	}
	if err != nil {
		return "", err
	}
	defer second.Release()
	return t.Name + " ate", nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	knife, err := space.Lock("knife")
	if err != nil {
		return err
	}
	fork, err := space.Lock("fork")
	if err != nil {
		return err
	}
	both, err := space.Barrier("both have one", 2, nil)
	if err != nil {
		return err
	}
	var eaters []*brood.Process[string]
	for _, t := range []Table{{"Ann", knife, fork, both}, {"Bob", fork, knife, both}} {
		p, err := eat.Start(ctx, t, brood.ProcessOptions{Name: t.Name})
		if err != nil {
			return err
		}
		eaters = append(eaters, p)
	}
	for _, p := range eaters {
		said, err := p.Result(ctx)
		if err != nil {
			return err
		}
		fmt.Println(said)
	}
	return nil
}
