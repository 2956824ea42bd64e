package coro

import (
	"context"
	"fmt"

	"github.com/brood-go/brood/internal/strand"
)

// gathering is a Gather.
type gathering struct {
	all   []*task
	left  int // of those that have not ended
	err   error
	loop  *Loop
	waits *task
}

func (g *gathering) what() string {
	for _, t := range g.all {
		if !t.settled.Load() {
			if g.left > 1 {
				return fmt.Sprintf("%s and %d more", t.what(), g.left-1)
			}
			return t.what()
		}
	}
	return "nothing"
}

// ended is called when one has.
func (g *gathering) ended(t *task) {
	g.left--
	g.outcome(t)
	if g.left == 0 {
		g.loop.wake(g.waits, nil)
	}
}

// outcome looks at one that has ended.
func (g *gathering) outcome(t *task) {
	t.seen.Store(true)
	if t.err != nil {
		g.stop(t.err)
	}
}

// stop cancels all because of the first error.
func (g *gathering) stop(err error) {
	if g.err != nil {
		return
	}
	g.err = err
	for _, t := range g.all {
		g.loop.end(&t.scope, endCanceled)
	}
}

// Gather waits until all tasks have ended, and returns their results in the order given. If
// one fails, or ctx ends, the others are cancelled; Gather returns when they have ended as
// well, with the error that came first. The tasks are of the caller's loop, otherwise it is
// ErrLoop. Its own errors are those of Await; if one of the tasks awaits the caller none is cancelled.
func Gather[T any](ctx context.Context, tasks ...*Task[T]) ([]T, error) {
	s, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if strand.Locked() != s.task.loop.thread {
		return nil, ErrThread // before anything is cancelled: it could not wait for that
	}
	g := &gathering{loop: s.task.loop, waits: s.task}
	for _, t := range tasks {
		if t.t.loop != g.loop {
			return nil, ErrLoop
		}
		if err := g.waits.circle(&t.t); err != nil && !t.t.settled.Load() {
			return nil, err
		}
		g.all = append(g.all, &t.t)
	}
	if err := g.wait(ctx, s); err != nil {
		return nil, err
	}
	results := make([]T, len(tasks))
	for i, t := range tasks {
		results[i] = t.result
	}
	return results, nil
}

// wait returns when all have ended.
func (g *gathering) wait(ctx context.Context, s *scope) error {
	registered := make([]waiter[func(*task)], len(g.all))
	for i, t := range g.all {
		if t.settled.Load() {
			g.outcome(t)
			continue
		}
		g.left++
		registered[i] = waiter[func(*task)]{task: g.waits, value: g.ended}
		t.joiners.add(&registered[i])
		defer t.joiners.remove(&registered[i])
	}
	if g.left > 0 && g.err == nil {
		if err := wait(ctx, s, g); err != nil {
			g.stop(err)
		}
	}
	for g.left > 0 { // no context ends this: they have been cancelled
		if err := g.waits.park(nil, g); err != nil {
			return g.err // a deadlock
		}
	}
	return g.err
}
