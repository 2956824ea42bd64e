package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const lockKilled = "lock, its owner killed → the next one has it"

// recovery shows how long a lock is missed whose owner was killed.
func (b *bench) recovery(p lockPeers) error {
	if !b.only.MatchString(lockKilled) {
		return nil
	}
	fmt.Fprintf(b.out, "## Locks: %s\n\nFrom SIGKILL until the one runs that slept in Acquire. The owner had as much memory more than its own as the table says.\n\n", lockKilled)
	b.spreadHeader()
	heirs, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1})
	if err != nil {
		return err
	}
	defer heirs.Close()
	for _, size := range []int{0, 64 << 20} {
		if err := b.recover(heirs, size, p.c); err != nil {
			return fmt.Errorf("%s: %w", lockKilled, err)
		}
	}
	const python = "multiprocessing.Lock"
	a, err := p.python.ask("recover", 1, 0)
	if a.Error == "" {
		a.Error = p.python.why
	}
	switch {
	case a.Error != "":
		fmt.Fprintf(b.out, "| %s | | %s | | | | |\n", python, a.Error)
	case err != nil:
		return fmt.Errorf("%s: %w", lockKilled, err)
	default:
		b.spread(python, a.Samples, 0)
	}
	fmt.Fprintln(b.out)
	return nil
}

// recover measures with owners of a size, in turns.
func (b *bench) recover(heirs *brood.ProcessPool, size int, c *peer) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	e := estate{Size: size}
	if e.Lock, err = space.Lock("lock"); err != nil {
		return err
	}
	if e.Owns, err = space.Event("owns"); err != nil {
		return err
	}
	if e.Waits, err = space.Event("waits"); err != nil {
		return err
	}
	var ours, theirs []float64
	for range b.some(100) {
		t, err := recoverOnce(heirs, e)
		if err != nil {
			return err
		}
		ours = append(ours, t)
		if c.why != "" {
			continue
		}
		a, err := c.ask("recover", 1, size)
		if err != nil {
			return err
		}
		theirs = append(theirs, a.Samples...)
	}
	b.spread("brood, owner of "+bytesOf(size), ours, 0.020)
	name := "robust pthread mutex in C, owner of " + bytesOf(size)
	if c.why != "" {
		fmt.Fprintf(b.out, "| %s | | %s | | | | |\n", name, c.why)
		return nil
	}
	b.spread(name, theirs, 0)
	return nil
}

// estate is what the owner of a lock and the one who waits for it are told.
type estate struct {
	Lock        *share.Lock
	Owns, Waits *share.Event
	Size        int
}

var (
	// own takes a lock and keeps it, with memory of a size.
	own = brood.NewFunc("own", func(ctx context.Context, e estate) (took, error) {
		held = make([]byte, e.Size)
		for i := 0; i < e.Size; i += 4096 {
			held[i] = 1
		}
		g, err := e.Lock.Acquire(ctx)
		if err != nil {
			return took{}, err
		}
		defer g.Release()
		e.Owns.Set()
		<-ctx.Done()
		return took{}, ctx.Err()
	})

	// inherit waits for a lock whose owner dies, and says when it has it.
	inherit = brood.NewFunc("inherit", func(ctx context.Context, e estate) (float64, error) {
		e.Waits.Set()
		g, err := e.Lock.Acquire(ctx)
		at := monotonic()
		if err != nil {
			return 0, err
		}
		defer g.Release()
		if !g.Recovered() {
			return 0, errors.New("the owner has released the lock")
		}
		return at, nil
	})
)

// recoverOnce kills the owner of a lock and returns the seconds until another one has it.
func recoverOnce(heirs *brood.ProcessPool, e estate) (float64, error) {
	e.Owns.Clear()
	e.Waits.Clear()
	owner, err := own.Start(ctx, e, brood.ProcessOptions{})
	if err != nil {
		return 0, err
	}
	defer owner.Join(ctx)
	defer owner.Kill()
	if err := e.Owns.Wait(ctx); err != nil {
		return 0, err
	}
	heir := inherit.Submit(ctx, heirs, e)
	if err := e.Waits.Wait(ctx); err != nil {
		return 0, err
	}
	time.Sleep(2 * time.Millisecond)
	began := monotonic()
	if err := unix.Kill(owner.PID(), unix.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill the owner: %w", err)
	}
	at, err := heir.Result(ctx)
	return at - began, err
}
