// The chapter "tickets". Seven buyers in seven processes want three tickets. How many are
// left stands in a file; between reading it and writing it back lies the network's delay.
// Without a lock everybody reads the same number and sells a ticket that is not there. With
// a lock only one buyer at a time reads, waits and writes.
//
// Python: multiprocessing.Lock. Here: share.Lock, which also survives a buyer that is killed.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const buyers, tickets = 7, 3

// Counter is what a buyer is told.
type Counter struct {
	File string
	Lock *share.Lock    // nil: without
	Open *share.Barrier // everybody has come: the sale begins
}

// left is the file's content.
type left struct{ Tickets int }

// buy tries to buy a ticket, and returns its number, or 0 if none is left.
var buy = brood.NewFunc("buy", func(ctx context.Context, c Counter) (int, error) {
	if _, err := c.Open.Wait(ctx); err != nil {
		return 0, err
	}
	if c.Lock != nil {
		guard, err := c.Lock.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		defer guard.Release()
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return 0, err
	}
	var l left
	if err := json.Unmarshal(text, &l); err != nil || l.Tickets == 0 {
		return 0, err
	}
	time.Sleep(50 * time.Millisecond) // the network
	return l.Tickets, write(c.File, left{l.Tickets - 1})
})

// write replaces the file.
func write(file string, l left) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	next := fmt.Sprintf("%s.%d", file, os.Getpid())
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	lock, err := space.Lock("counter")
	if err != nil {
		return err
	}
	if err := sale(ctx, space, "without a lock", nil); err != nil {
		return err
	}
	return sale(ctx, space, "with a lock", lock)
}

// sale lets all buyers loose at once.
func sale(ctx context.Context, space *share.Space, name string, lock *share.Lock) error {
	dir, err := os.MkdirTemp("", "tickets")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	open, err := space.Barrier(name, buyers, nil)
	if err != nil {
		return err
	}
	c := Counter{File: filepath.Join(dir, "tickets.json"), Lock: lock, Open: open}
	if err := write(c.File, left{tickets}); err != nil {
		return err
	}
	var all []*brood.Process[int]
	for range buyers {
		p, err := buy.Start(ctx, c, brood.ProcessOptions{})
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	var sold []int
	for _, p := range all {
		number, err := p.Result(ctx)
		if err != nil {
			return err
		}
		if number > 0 {
			sold = append(sold, number)
		}
	}
	slices.Sort(sold)
	fmt.Printf("%s: %d tickets, %d sold: %v\n", name, tickets, len(sold), sold)
	return nil
}
