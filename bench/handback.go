package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const itemBack = "joinable queue, a consumer killed → another one has its item"

// handBack shows how long an item is missed whose consumer was killed.
func (b *bench) handBack() error {
	if !b.only.MatchString(itemBack) {
		return nil
	}
	fmt.Fprintf(b.out, "## Queues: %s\n\nFrom SIGKILL until the one runs that slept in Get. The consumer had as much memory more than its own as the table says. multiprocessing.JoinableQueue loses the item.\n\n", itemBack)
	b.spreadHeader()
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	q, err := share.NewJoinableQueue[int](space, "items", share.JoinableOptions{Capacity: 1})
	if err != nil {
		return err
	}
	for _, size := range []int{0, 64 << 20} {
		var all []float64
		for range b.some(100) {
			t, err := handBackOnce(q, size)
			if err != nil {
				return fmt.Errorf("%s: %w", itemBack, err)
			}
			all = append(all, t)
		}
		b.spread("brood, consumer of "+bytesOf(size), all, 0.020)
	}
	fmt.Fprintln(b.out)
	return nil
}

// eater is what a consumer is told.
type eater struct {
	Items *share.JoinableQueue[int]
	Size  int
}

// chew gets an item, with memory of a size, and never says that it is done.
var chew = brood.NewFunc("chew", func(ctx context.Context, e eater) (took, error) {
	held = make([]byte, e.Size)
	for i := 0; i < e.Size; i += 4096 {
		held[i] = 1
	}
	if _, err := e.Items.Get(ctx); err != nil {
		return took{}, err
	}
	<-ctx.Done()
	return took{}, ctx.Err()
})

// handBackOnce kills the consumer of an item and returns the seconds until this process has it.
func handBackOnce(q *share.JoinableQueue[int], size int) (float64, error) {
	if err := q.Put(ctx, 1); err != nil {
		return 0, err
	}
	p, err := chew.Start(ctx, eater{q, size}, brood.ProcessOptions{})
	if err != nil {
		return 0, err
	}
	defer p.Join(ctx)
	defer p.Kill()
	for !q.Empty() { // until it has the item
		if !p.Alive() {
			_, err := p.Result(ctx)
			return 0, err
		}
	}
	type got struct {
		at  float64
		err error
	}
	back := make(chan got)
	go func() {
		d, err := q.Get(ctx)
		at := monotonic()
		if err == nil && d.Attempt() != 2 {
			err = fmt.Errorf("attempt %d", d.Attempt())
		}
		if err == nil {
			err = d.Done()
		}
		back <- got{at, err}
	}()
	time.Sleep(2 * time.Millisecond)
	began := monotonic()
	if err := unix.Kill(p.PID(), unix.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill the consumer: %w", err)
	}
	g := <-back
	return g.at - began, g.err
}
