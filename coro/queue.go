package coro

import (
	"context"
	"iter"
)

// Queue hands items from tasks to tasks of one loop, first in, first out, also among those
// that wait. It belongs to the loop whose task waits or could have waited in it first. Make it
// with NewQueue. Its methods are called by tasks of the loop, or before the loop runs.
//
// There is no lock and no semaphore beside it: between two waits a task is alone. What shall
// hold beyond a wait, such as "at most five at once", is a queue of five tokens.
type Queue[T any] struct {
	capacity int
	loop     *Loop
	items    []T // the first one is at head
	head     int
	getters  waiters[T]
	putters  waiters[T]
	closed   bool
}

// NewQueue makes a queue that holds at most capacity items, at least 1.
func NewQueue[T any](capacity int) *Queue[T] {
	if capacity < 1 {
		panic("coro: NewQueue: the capacity must be at least 1")
	}
	return &Queue[T]{capacity: capacity}
}

// Len is how many items are in the queue.
func (q *Queue[T]) Len() int { return len(q.items) - q.head }

// TryPut adds an item, or returns ErrFull or ErrClosed.
func (q *Queue[T]) TryPut(v T) error {
	if q.closed {
		return ErrClosed
	}
	for w := q.getters.first; w != nil; w = q.getters.first {
		q.getters.remove(w)
		if q.loop.wake(w.task, nil) { // otherwise its context has ended, and it was not told yet
			w.value, w.served = v, true
			return nil
		}
	}
	if q.Len() >= q.capacity {
		return ErrFull
	}
	q.push(v)
	return nil
}

func (q *Queue[T]) push(v T) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) { // so that it is one copy for many items
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

// Put adds an item, and waits as long as there is no room. It returns ErrClosed if the queue is
// closed, before or meanwhile; ErrLoop; or an error as Sleep does. Then the item is not in the
// queue.
func (q *Queue[T]) Put(ctx context.Context, v T) error {
	s, err := q.enter(ctx)
	if err != nil {
		return err
	}
	if err := q.TryPut(v); err != ErrFull {
		return err
	}
	w := &waiter[T]{task: s.task, value: v}
	q.putters.add(w)
	err = q.await(ctx, s, reason("room in a queue"), w)
	q.putters.remove(w)
	return err
}

// TryGet takes the first item, or returns ErrEmpty, or ErrClosed if there will be none.
func (q *Queue[T]) TryGet() (T, error) {
	var none T
	if q.Len() == 0 {
		if q.closed {
			return none, ErrClosed
		}
		return none, ErrEmpty
	}
	v := q.items[q.head]
	q.items[q.head] = none
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	for w := q.putters.first; w != nil; w = q.putters.first {
		q.putters.remove(w)
		if q.loop.wake(w.task, nil) {
			w.served = true
			q.push(w.value)
			break
		}
	}
	return v, nil
}

// Get takes the first item, and waits as long as there is none. It returns ErrClosed if the
// queue is closed and empty; ErrLoop; or an error as Sleep does.
func (q *Queue[T]) Get(ctx context.Context) (T, error) {
	s, err := q.enter(ctx)
	if err != nil {
		var none T
		return none, err
	}
	if v, err := q.TryGet(); err != ErrEmpty {
		return v, err
	}
	w := &waiter[T]{task: s.task}
	q.getters.add(w)
	err = q.await(ctx, s, reason("an item of a queue"), w)
	q.getters.remove(w)
	return w.value, err
}

// await waits until w is served or the queue is closed: nothing else is an end.
func (q *Queue[T]) await(ctx context.Context, s *scope, on reason, w *waiter[T]) error {
	for {
		switch err := wait(ctx, s, on); {
		case err != nil || w.served:
			return err
		case q.closed:
			return ErrClosed
		}
	}
}

// All is an iterator over the items until the queue is closed and empty. An error other than that
// comes last.
func (q *Queue[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, err := q.Get(ctx)
			if err == ErrClosed || !yield(v, err) || err != nil {
				return
			}
		}
	}
}

// Close says that nothing is put any more. Who waits for room, or for an item that does not come,
// gets ErrClosed; what is in the queue can still be taken. It may be called again.
func (q *Queue[T]) Close() {
	q.closed = true
	for _, waiting := range []*waiters[T]{&q.getters, &q.putters} {
		for w := waiting.first; w != nil; w = waiting.first {
			waiting.remove(w)
			q.loop.wake(w.task, nil)
		}
	}
}

// enter is the scope of a caller that may wait.
func (q *Queue[T]) enter(ctx context.Context) (*scope, error) {
	s, err := caller(ctx)
	switch {
	case err != nil:
		return nil, err
	case q.loop == nil:
		q.loop = s.task.loop
	case q.loop != s.task.loop:
		return nil, ErrLoop
	}
	return s, ctx.Err()
}
