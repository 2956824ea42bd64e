// The chapter "lost_update". 180 threads each read a number, wait, and write back one less. Each
// single step is safe; together they are not: without a lock almost all read the same
// number, and 179 of the updates are lost. With a lock none is.
//
// Python: threading.Lock; its global interpreter lock does not help, as it protects single
// steps, too. Here: share.Lock in a local space.
package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const threads = 180

// Account is what the threads work on.
type Account struct {
	number atomic.Int64
	lock   *share.Lock    // nil: without
	begin  *share.Barrier // all are there
}

// withdraw takes one off the number.
var withdraw = brood.NewFunc("withdraw", func(ctx context.Context, a *Account) (struct{}, error) {
	if _, err := a.begin.Wait(ctx); err != nil {
		return struct{}{}, err
	}
	if a.lock != nil {
		guard, err := a.lock.Acquire(ctx)
		if err != nil {
			return struct{}{}, err
		}
		defer guard.Release()
	}
	n := a.number.Load()
	time.Sleep(2 * time.Millisecond)
	a.number.Store(n - 1)
	return struct{}{}, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("account")
	if err != nil {
		return err
	}
	if err := together(ctx, space, "without a lock", nil); err != nil {
		return err
	}
	return together(ctx, space, "with a lock", lock)
}

// together lets all threads withdraw at once.
func together(ctx context.Context, space *share.Space, name string, lock *share.Lock) error {
	begin, err := space.Barrier(name, threads, nil)
	if err != nil {
		return err
	}
	a := &Account{lock: lock, begin: begin}
	a.number.Store(threads)
	pool, err := brood.NewThreadPool(brood.PoolOptions{Workers: threads})
	if err != nil {
		return err
	}
	defer pool.Close()
	var all []*brood.Future[struct{}]
	for range threads {
		all = append(all, withdraw.Submit(ctx, pool, a))
	}
	for _, f := range all {
		if _, err := f.Result(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("%s: %d threads took one each off %d, and %d are left\n", name, threads, threads, a.number.Load())
	return nil
}
