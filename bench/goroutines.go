package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/brood-go/brood/share"
)

// queuesLocal compares queues in a local space with channels.
func (b *bench) queuesLocal() (cs []comparison, err error) {
	q, err := share.NewQueue[int64](share.Local(), "queue", capacity)
	if err != nil {
		return nil, err
	}
	for _, crew := range []int{1, 2, 4} {
		l := load{crew, 8, capacity}
		n := b.items(l, 10*often)
		cs = append(cs, comparison{"local queue, " + l.String(), 0, []side{
			{name: "brood", run: func() (float64, error) { return carryLocal(l, n, putOnes(q), getOnes(q)) }},
			{name: "channel", target: 2, run: func() (float64, error) { return carryByChannel(l, n) }},
			{name: "channel, select with ctx.Done()", run: func() (float64, error) { return carryBySelect(l, n) }},
		}})
	}
	l := load{1, 8, capacity}
	n := b.items(l, 10*often)
	return slices.Concat(cs, []comparison{{fmt.Sprintf("local queue, %v, %d at once by PutAll and GetUpTo", l, batch), 0, []side{
		{name: "brood", run: func() (float64, error) { return carryLocal(l, n, putBatches(q), getBatches(q)) }},
		{name: "channel", run: func() (float64, error) { return carryByChannel(l, n) }},
	}}}), nil
}

// handOversLocal shows how long it takes to wake a goroutine that sleeps in Get.
func (b *bench) handOversLocal() error {
	s := newSpreads()
	n := b.some(100)
	q, err := share.NewQueue[int64](share.Local(), "woken", capacity)
	if err != nil {
		return err
	}
	ch := make(chan int64, capacity)
	err = b.table("Queues: hand-over to a goroutine that sleeps", []comparison{{handOverLocal, 0, []side{
		s.side("brood", func() ([]float64, error) {
			return wakeLocal(n, func(v int64) error { return q.Put(ctx, v) }, func() (int64, error) { return q.Get(ctx) })
		}),
		s.side("channel", func() ([]float64, error) {
			return wakeLocal(n, func(v int64) error { ch <- v; return nil }, func() (int64, error) { return <-ch, nil })
		}),
	}}})
	if err == nil {
		s.print(b, handOverLocal)
	}
	return err
}

// wakeLocal are the seconds from put until the goroutine runs that slept in get.
func wakeLocal(n int, put func(int64) error, get func() (int64, error)) (samples []float64, err error) {
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() { failed = putClock(n, put) })
	samples, err = getClock(n, get)
	wg.Wait()
	return samples, errors.Join(err, failed)
}

// carryLocal has goroutines carry n items, and returns the seconds for each.
func carryLocal(l load, n int, put func(context.Context, int64, int) error, get func(context.Context, func(int64) bool, int) error) (float64, error) {
	v := numbers.make(l.size)
	right := func(v int64) bool { return numbers.right(v, l.size) }
	errs := make([]error, 2*l.crew)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			<-start
			if i < l.crew {
				errs[i] = put(ctx, v, n/l.crew)
			} else {
				errs[i] = get(ctx, right, n/l.crew)
			}
		})
	}
	began := time.Now()
	close(start)
	wg.Wait()
	return time.Since(began).Seconds() / float64(n/l.crew*l.crew), errors.Join(errs...)
}

// carryByChannel has them carry the items by a channel.
func carryByChannel(l load, n int) (float64, error) {
	ch := make(chan int64, l.capacity)
	return carryLocal(l, n, func(_ context.Context, v int64, n int) error {
		for range n {
			ch <- v
		}
		return nil
	}, func(_ context.Context, right func(int64) bool, n int) error {
		for range n {
			if !right(<-ch) {
				return errWrong
			}
		}
		return nil
	})
}

// carryBySelect has them carry the items by a channel, as those must that want to be stopped.
func carryBySelect(l load, n int) (float64, error) {
	ch := make(chan int64, l.capacity)
	return carryLocal(l, n, func(ctx context.Context, v int64, n int) error {
		for range n {
			select {
			case ch <- v:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}, func(ctx context.Context, right func(int64) bool, n int) error {
		for range n {
			select {
			case v := <-ch:
				if !right(v) {
					return errWrong
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
}
