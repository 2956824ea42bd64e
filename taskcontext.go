package brood

import (
	"context"
	"sync"
	"sync/atomic"
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

	over  atomic.Int32 // why it has ended: an index of ends, changed under mu; and returned
	mu    sync.Mutex
	done  chan struct{}        // made when first asked for
	after map[*func()]struct{} // called at the end; the pointer is the registration
}

// ends are the ways in which a taskContext ends. An error of its own would cost each task
// more memory.
var ends = [...]error{nil, context.Canceled, context.DeadlineExceeded}

const (
	endCanceled = 1 + iota
	endDeadline
	endReason = 3

	// The function has returned. What it left running is no part of the task any more, and its
	// strand may be that of another task.
	returned = 1 << 2
)

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
		if c.over.Load()&endReason != 0 {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *taskContext) Err() error {
	return ends[c.over.Load()&endReason]
}

// Value implements context.Context.
func (c *taskContext) Value(key any) any {
	if s, ok := strand.Value(c.strand, key); ok {
		if c.over.Load()&returned != 0 {
			return nil
		}
		return s
	}
	return c.parent.Value(key)
}

// hasReturned notes that the function has.
func (c *taskContext) hasReturned() { c.over.Or(returned) }

// AfterFunc lets package context derive from this one without a goroutine.
func (c *taskContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.Load()&endReason != 0 {
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
	if c.over.Load()&endReason != 0 {
		c.mu.Unlock()
		return
	}
	if err == context.DeadlineExceeded {
		c.over.Or(endDeadline)
	} else {
		c.over.Or(endCanceled)
	}
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
