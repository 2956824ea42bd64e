package brood

import (
	"context"
	"sync"
)

// Group is threads that belong together: the first of them that fails ends the context of
// all. Make it with NewGroup, start its threads with its Go, and wait for them with
// Wait. Its methods may be called by any goroutine.
type Group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	active threadList
	first  *Thread // that has failed
	obeyed bool    // it has, and no more: another one that fails takes its place
}

// NewGroup makes a group of threads whose contexts end with ctx, or when one of them returns
// an error, which is their cause then.
func NewGroup(ctx context.Context) *Group {
	g := &Group{active: threadList{of: inGroup}}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// Go starts a thread of the group: see the package's Go. Threads of the group may start more.
// In a group that has failed, or whose context has ended, it starts with a context that
// has ended.
func (g *Group) Go(o ThreadOptions, fn func(ctx context.Context) error) *Thread {
	return startThread(g.ctx, o, fn, g)
}

// Wait waits until all threads of the group have ended, and returns the first error, or the
// context's if ctx ends before. The context of the group then ends. A panic is an error like any;
// one that is not the first is logged.
func (g *Group) Wait(ctx context.Context) error {
	for {
		t := g.any()
		if t == nil {
			break
		}
		if err := t.await(ctx); err != nil {
			return err
		}
		g.left(t)
	}
	g.cancel(context.Canceled)
	g.mu.Lock()
	first := g.first
	g.mu.Unlock()
	if first == nil {
		return nil
	}
	return first.outcome()
}

// any is one of the threads that have not ended, or are about to say so; nil without any.
func (g *Group) any() *Thread {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.active.first
}

func (g *Group) entered(t *Thread) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active.add(t)
}

// failed is called before the end of a thread is known. It reports whether the thread's error is
// the group's: it is the first, but for those that did no more than to obey their context.
func (g *Group) failed(t *Thread, obeyed bool) bool {
	g.mu.Lock()
	first := g.first == nil || g.obeyed && !obeyed
	if first {
		g.first, g.obeyed = t, obeyed
	}
	g.mu.Unlock()
	g.cancel(t.err)
	return first
}

// left is called when it is, by the thread and by who waits for it.
func (g *Group) left(t *Thread) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active.remove(t)
}
