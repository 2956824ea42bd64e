package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/brood-go/brood"
	"golang.org/x/sync/errgroup"
)

// named compares threads and groups of them with goroutines. Whoever starts one waits for
// its end and learns how it ended.
func (b *bench) named() []comparison {
	live, cancel := context.WithCancel(ctx)
	_ = cancel // never: they are to end by themselves
	const crowd = 1000
	nothing := func(context.Context) error { return nil }
	per := func(name string, target float64, n int, f func(n int) error) side {
		return side{name: name, target: target, run: func() (float64, error) {
			began := time.Now()
			if err := f(n); err != nil {
				return 0, err
			}
			return time.Since(began).Seconds() / float64(n), nil
		}}
	}
	one, many := b.some(500_000), b.some(500)*crowd
	return []comparison{
		{"thread: start and join, one at a time", 0, []side{
			per("brood", 0, one, func(n int) error {
				for range n {
					if err := brood.Go(live, brood.ThreadOptions{Name: "t"}, nothing).Join(live); err != nil {
						return err
					}
				}
				return nil
			}),
			per("go statement and a channel for its error", 2, one, func(n int) error {
				for range n {
					done := make(chan error)
					go func() { done <- nothing(live) }()
					if err := <-done; err != nil {
						return err
					}
				}
				return nil
			}),
			per("go statement and a WaitGroup", 0, one, func(n int) error {
				for range n {
					var wg sync.WaitGroup
					wg.Go(func() { nothing(live) })
					wg.Wait()
				}
				return nil
			}),
		}},
		{fmt.Sprintf("threads: start %d, then join all", crowd), 0, []side{
			per("brood", 0, many, crowds(crowd, func(n int) error {
				all := make([]*brood.Thread, n)
				for i := range all {
					all[i] = brood.Go(live, brood.ThreadOptions{Name: "t"}, nothing)
				}
				for _, t := range all {
					if err := t.Join(live); err != nil {
						return err
					}
				}
				return nil
			})),
			per("go statements, a channel for each error", 2, many, crowds(crowd, func(n int) error {
				all := make([]chan error, n)
				for i := range all {
					done := make(chan error, 1)
					all[i] = done
					go func() { done <- nothing(live) }()
				}
				for _, done := range all {
					if err := <-done; err != nil {
						return err
					}
				}
				return nil
			})),
			per("go statements and a WaitGroup", 0, many, crowds(crowd, func(n int) error {
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() { nothing(live) })
				}
				wg.Wait()
				return nil
			})),
		}},
		{fmt.Sprintf("group of %d threads", crowd), 0, []side{
			per("brood", 0, many, crowds(crowd, func(n int) error {
				g := brood.NewGroup(live)
				for range n {
					g.Go(brood.ThreadOptions{Name: "t"}, nothing)
				}
				return g.Wait(live)
			})),
			per("errgroup", 0, many, crowds(crowd, func(n int) error {
				g, ctx := errgroup.WithContext(live)
				for range n {
					g.Go(func() error { return nothing(ctx) })
				}
				return g.Wait()
			})),
		}},
	}
}

// crowds is n goroutines, so many at a time.
func crowds(at int, f func(n int) error) func(n int) error {
	return func(n int) error {
		for range max(n/at, 1) {
			if err := f(at); err != nil {
				return err
			}
		}
		return nil
	}
}
