// The chapter "lost_update". 180 threads each read a number, wait, and write back one less. Each
// single step is safe; together they are not: without a lock almost all read the same
// number, and 179 of the updates are lost. A global interpreter lock changes nothing, because a
// thread gives it up while it waits. With a lock of their own no update is lost.
//
// Python: threading.Lock; its global interpreter lock protects the interpreter, not your
// data. Here: share.Lock in a local space, and gil.GIL to show that.
package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/gil"
	"github.com/brood-go/brood/share"
)

const threads = 180

// Account is what the threads work on.
type Account struct {
	number atomic.Int64
	lock   *share.Lock    // nil: without
	gil    *gil.GIL       // nil: without
	begin  *share.Barrier // all are there
}

// withdraw takes one off the number. It is what each thread does.
func (a *Account) withdraw(ctx context.Context) error {
	if _, err := a.begin.Wait(ctx); err != nil {
		return err
	}
	if a.lock != nil {
		guard, err := a.lock.Acquire(ctx)
		if err != nil {
			return err
		}
		defer guard.Release()
	}
	if a.gil != nil {
		return a.gil.Do(ctx, "", func(ctx context.Context, t *gil.Thread) error {
			n := a.number.Load()
			if err := t.Unlocked(ctx, wait); err != nil { // others run meanwhile
				return err // without the lock: the number is not ours
			}
			a.number.Store(n - 1)
			return nil
		})
	}
	n := a.number.Load()
	wait()
	a.number.Store(n - 1)
	return nil
}

func wait() { time.Sleep(2 * time.Millisecond) }

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space := share.Local()
	defer space.Close()
	lock, err := space.Lock("account")
	if err != nil {
		return err
	}
	for _, way := range []struct {
		name    string
		account *Account
	}{
		{"without a lock", &Account{}},
		{"under a GIL alone", &Account{gil: new(gil.GIL)}},
		{"with a lock", &Account{lock: lock}},
	} {
		if err := together(ctx, space, way.name, way.account); err != nil {
			return err
		}
	}
	return nil
}

// together lets all threads withdraw at once.
func together(ctx context.Context, space *share.Space, name string, a *Account) (err error) {
	if a.begin, err = space.Barrier(name, threads, nil); err != nil {
		return err
	}
	a.number.Store(threads)
	all := brood.NewGroup(ctx)
	for range threads {
		all.Go(brood.ThreadOptions{}, a.withdraw)
	}
	if err := all.Wait(ctx); err != nil {
		return err
	}
	fmt.Printf("%s: %d threads took one each off %d, and %d are left\n", name, threads, threads, a.number.Load())
	return nil
}
