package brood

import (
	"context"
	"sync"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// taskContext is the context that a task's function gets: the values and the
// deadline of the one it was submitted with, a strand of its own, and an end of its
// own. It is a part of the task, so that a task costs no further memory for it.
//
// It does not watch its parent: whoever owns the task does (context.AfterFunc), and
// calls cancel.
type taskContext struct {
	parent   context.Context
	strand   *strand.Strand
	deadline time.Time // of its own, zero for the parent's

	mu    sync.Mutex
	done  chan struct{} // made when first asked for
	err   error
	after map[*func()]struct{} // called at the end; the pointer is the registration
}

// Deadline implements context.Context.
func (c *taskContext) Deadline() (time.Time, bool) {
	if !c.deadline.IsZero() {
		return c.deadline, true
	}
	return c.parent.Deadline()
}

// Done implements context.Context.
func (c *taskContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *taskContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value implements context.Context.
func (c *taskContext) Value(key any) any {
	if s, ok := strand.Value(c.strand, key); ok {
		return s
	}
	return c.parent.Value(key)
}

// AfterFunc lets package context derive from this one without a goroutine.
func (c *taskContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = make(map[*func()]struct{})
	}
	c.after[&f] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waits := c.after[&f]
		delete(c.after, &f)
		return waits
	}
}

// cancel ends the context, once, with context.Canceled or context.DeadlineExceeded.
func (c *taskContext) cancel(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for f := range after {
		go (*f)()
	}
}
