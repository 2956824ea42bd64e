package brood

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
)

// countingContext counts what is registered with it.
type countingContext struct {
	context.Context
	mu         sync.Mutex
	registered int
	most       int
}

// Value hides the context below, which would be registered with instead.
func (c *countingContext) Value(any) any { return nil }

func (c *countingContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	c.registered++
	c.most = max(c.most, c.registered)
	c.mu.Unlock()
	inner := context.AfterFunc(c.Context, f)
	return func() bool {
		c.mu.Lock()
		c.registered--
		c.mu.Unlock()
		return inner()
	}
}

func (c *countingContext) now() (registered, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.registered, c.most
}

// Tasks that have a context in common cost it one registration, which ends with the
// last of them; when it ends, all of them do.
func TestWatch(t *testing.T) {
	p, err := NewThreadPool(PoolOptions{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	inner, cancel := context.WithCancel(t.Context())
	defer cancel()
	ctx := &countingContext{Context: inner}
	holder := untilDone.Submit(t.Context(), p, struct{}{})
	var fs []*Future[int]
	for i := range 100 {
		fs = append(fs, square.Submit(ctx, p, i))
	}
	if now, most := ctx.now(); now != 1 || most != 1 {
		t.Errorf("%d registrations of 100 tasks, at most %d, want 1", now, most)
	}
	for i := 0; i < len(fs); i += 2 { // first, middle and last ones leave
		fs[i].Cancel()
	}
	fs[99].Cancel()
	if now, _ := ctx.now(); now != 1 {
		t.Errorf("%d registrations while tasks wait", now)
	}
	holder.Cancel()
	for i, f := range fs {
		if v, err := f.Result(t.Context()); i%2 == 1 && i != 99 && (v != i*i || err != nil) {
			t.Errorf("task %d: %d, %v", i, v, err)
		}
	}
	for now := 1; now != 0; now, _ = ctx.now() { // the last one leaves after its outcome is known
		runtime.Gosched()
	}
	holder = untilDone.Submit(t.Context(), p, struct{}{})
	fs = nil
	for i := range 10 {
		fs = append(fs, square.Submit(ctx, p, i))
	}
	cancel()
	for _, f := range fs {
		if _, err := f.Result(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("a task whose context has ended: %v", err)
		}
	}
	holder.Cancel()
}

// Goroutines with contexts of their own use one Func.
func TestWatchMany(t *testing.T) {
	p, err := NewThreadPool(PoolOptions{Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				var fs []*Future[int]
				for i := range 10 {
					fs = append(fs, square.Submit(ctx, p, i))
				}
				cancel()
				for i, f := range fs {
					if v, err := f.Result(t.Context()); err == nil && v != i*i || err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("%d, %v", v, err)
					}
				}
			}
		})
	}
	wg.Wait()
}
