package brood

import (
	"context"
	"fmt"
	"slices"

	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
)

// DeadlockError is returned to the one that would close a circle of strands which wait for
// each other: for locks, or for tasks of a ThreadPool. It is share.DeadlockError.
type DeadlockError = waits.DeadlockError

// HeldError is the outcome of a task whose function returned while it still held locks or
// permits of package share. They were taken back: who gets a lock next is told that it was
// not released.
type HeldError struct {
	Task string   // the Func's name
	Held []string // what it held
	Err  error    // what the function returned; nil if it returned a result
}

// Error names what was held.
func (e *HeldError) Error() string {
	s := fmt.Sprintf("brood: %s ended while it held %s", e.Task, e.Held[0])
	if n := len(e.Held) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is what the function returned.
func (e *HeldError) Unwrap() error { return e.Err }

// takeBack takes back what a task still holds when its function has ended with err, and
// makes the outcome name it.
func takeBack(c *taskContext, task string, err error) error {
	s := c.strand
	if s == nil {
		return err
	}
	c.hasReturned()
	if held := strand.End(s); held != nil {
		return &HeldError{Task: task, Held: held, Err: err}
	}
	return err
}

// awaits notes that the caller is about to wait for any of some tasks, and returns an error
// if it would wait for ever.
func awaits(ctx context.Context, tasks ...*Task) (*waits.Wait, error) {
	if !mayBeAwaited(ctx) {
		return nil, nil
	}
	targets := make([]waits.Target, len(tasks))
	for i, t := range tasks {
		targets[i] = awaited{t}
	}
	return begin(ctx, targets)
}

// begin notes that the caller is about to wait for any of some targets. Only who may be
// waited for has to: a task, or in a program that uses locks anybody.
func begin(ctx context.Context, targets []waits.Target) (*waits.Wait, error) {
	if len(targets) == 0 || !mayBeAwaited(ctx) {
		return nil, nil
	}
	w, err := waits.Begin(ctx, waits.Agent{Goroutine: strand.Goroutine(), Strand: strand.From(ctx)}, targets...)
	if err != nil {
		return nil, fmt.Errorf("brood: wait: %w", err)
	}
	return w, nil
}

// mayBeAwaited reports whether anybody could wait for the caller.
func mayBeAwaited(ctx context.Context) bool {
	if waits.Armed() {
		return true
	}
	s := strand.From(ctx)
	return s != nil && (s.Kind == strand.Task || s.Kind == strand.Thread)
}

// await waits until the task is settled, or ctx has ended before.
func (t *Task) await(ctx context.Context) error {
	w, err := awaits(ctx, t)
	if err != nil {
		return err
	}
	defer w.End()
	sleep := w.Context(ctx)
	select {
	case <-t.doneChan():
	case <-sleep.Done():
		if !t.settled.Load() {
			return sleepError(sleep)
		}
	}
	return nil
}

// sleepError is why a sleep ended before its time: its context's error or, as an error of
// its own, a circle that was found in it.
func sleepError(sleep context.Context) error {
	if d, ok := context.Cause(sleep).(*DeadlockError); ok {
		return fmt.Errorf("brood: wait: %w", d)
	}
	return contextError(sleep)
}

// awaited is a task as somebody waits for it.
type awaited struct{ *Task }

var _ waits.Foreign = awaited{}

// Holders implements waits.Target: whoever runs the task or, while it waits in a full
// ThreadPool, those that run the others.
func (t awaited) Holders() (goroutines []uint64, known bool) {
	t.mu.Lock()
	p, ok := t.place.(*ThreadPool)
	ok = ok && t.cancelled == nil
	t.mu.Unlock()
	if !ok || t.settled.Load() || t.ctx.parent.Err() != nil {
		return nil, false
	}
	switch t.pool.phase.Load() {
	case phaseGone:
		return nil, false
	case phaseRunning:
		g := t.pool.who.Load()
		return []uint64{g}, g != 0
	}
	return p.busy()
}

// Told implements waits.Foreign.
func (t awaited) Told() bool { return waits.Places() }

// Extend implements waits.Foreign: a task in a process of its own may wait there for what its
// caller holds here.
func (t awaited) Extend(dependents []waits.Agent) (withdraw func(), err error) {
	t.mu.Lock()
	_, ok := t.place.(*pool)
	t.mu.Unlock()
	if !ok || t.settled.Load() {
		return nil, nil
	}
	return waits.Tell(dependents, t.tag(), t.String())
}

// String implements waits.Target.
func (t awaited) String() string { return "task " + t.Func() }

// tag names the task for this process and the one that runs it.
func (t *Task) tag() uint64 {
	if tag := t.pool.who.Load(); tag != 0 {
		return tag
	}
	t.pool.who.CompareAndSwap(0, waits.NewTag())
	return t.pool.who.Load()
}

// awaitedRoom is a ThreadPool as somebody waits for room in it.
type awaitedRoom struct{ p *ThreadPool }

// Holders implements waits.Target: who runs the pool's tasks, if no worker is free. Room that was made, and given to somebody who does not know it yet, is made.
func (r awaitedRoom) Holders() (goroutines []uint64, known bool) {
	if r.p.gate.hasRoom() || r.p.makesRoom() {
		return nil, false
	}
	return r.p.busy()
}

// makesRoom reports whether tasks that the pool has are about to leave it, because they are
// cancelled.
func (p *ThreadPool) makesRoom() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	running := p.running()
	if int64(p.queued+len(running)) < p.gate.max {
		return true
	}
	return slices.ContainsFunc(append(running, p.queue.items[p.queue.head:]...), func(t *Task) bool { return t.ctx.parent.Err() != nil })
}

// busy is who runs the pool's tasks, known if no worker is free.
func (p *ThreadPool) busy() (goroutines []uint64, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.crew) < p.limit {
		return nil, false
	}
	for _, t := range p.running() {
		g := t.pool.who.Load()
		if g == 0 {
			return nil, false
		}
		goroutines = append(goroutines, g)
	}
	return goroutines, len(goroutines) == len(p.crew)
}

// String implements waits.Target.
func (r awaitedRoom) String() string { return "room in the pool " + r.p.o.Name }

// ended is a context that has ended.
var ended = func() context.Context {
	ctx, end := context.WithCancel(background)
	end()
	return ctx
}()
