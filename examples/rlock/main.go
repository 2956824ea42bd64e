// The chapter "rlock". A re-entrant lock may be acquired again by the one who has it, and
// counts: others get in when it was released as often. With one such lock for knife and fork
// the program of the chapter "deadlock" has no circle: who has it once can take it again.
//
// Python: multiprocessing.RLock. Here: share.RLock; who it belongs to is in the context.
package main

import (
	"context"
	"fmt"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

// Table is what an eater is told.
type Table struct {
	Name    string
	Cutlery *share.RLock
}

// eat takes the lock for the knife, and again for the fork.
var eat = brood.NewFunc("eat", func(ctx context.Context, t Table) ([]string, error) {
	knife, err := t.Cutlery.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	fork, err := t.Cutlery.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	said := []string{t.Name + " has it twice"}
	fork.Release()
	said = append(said, t.Name+" has it once")
	knife.Release()
	return append(said, t.Name+" ate"), nil
})

// peek tries to take the lock, without waiting.
var peek = brood.NewFunc("peek", func(ctx context.Context, t Table) (bool, error) {
	guard, ok := t.Cutlery.TryAcquire(ctx)
	if ok {
		guard.Release()
	}
	return ok, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	cutlery, err := space.RLock("cutlery")
	if err != nil {
		return err
	}
	for _, name := range []string{"Ann", "Bob"} {
		p, err := eat.Start(ctx, Table{name, cutlery}, brood.ProcessOptions{Name: name})
		if err != nil {
			return err
		}
		said, err := p.Result(ctx)
		if err != nil {
			return err
		}
		for _, line := range said {
			fmt.Println(line)
		}
	}
	return count(ctx, cutlery)
}

// count shows that another strand gets in only at count zero.
func count(ctx context.Context, cutlery *share.RLock) error {
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	var guards []share.Guard
	for range 2 {
		g, err := cutlery.Acquire(ctx)
		if err != nil {
			return err
		}
		guards = append(guards, g)
	}
	for n := 2; ; n-- {
		in, err := peek.Call(ctx, pool, Table{Cutlery: cutlery})
		if err != nil {
			return err
		}
		fmt.Printf("we have it %d times: another process gets in: %v\n", n, in)
		if n == 0 {
			return nil
		}
		guards[n-1].Release()
	}
}
