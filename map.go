package brood

import (
	"context"
	"iter"
	"slices"
)

// mapWindow is how many calls of a Map are in flight, for an executor that does
// not say how many it likes.
const mapWindow = 64

// windowed is an executor that knows how many tasks keep it busy.
type windowed interface{ window() int }

// Map calls the function for each argument and yields the outcomes in the order of
// the arguments: an error stands at its place, and the others go on. Arguments are
// taken from in as they are needed, while the caller waits (but not on its goroutine, which
// matters to an RLock that it holds), and only a bounded number is in flight (or waits to be yielded). When the consumer stops, or
// ctx ends, what is in flight is cancelled; in the latter case an error of the
// context is yielded last.
func (f *Func[A, R]) Map(ctx context.Context, ex Executor, in iter.Seq[A]) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		next, stop := iter.Pull(in)
		defer stop()
		var flight fifo[*Future[R]]
		more := true
		for {
			for more && flight.len() < windowOf(ex) && ctx.Err() == nil {
				var arg A
				if arg, more = next(); more {
					flight.push(f.Submit(ctx, ex, arg))
				}
			}
			if flight.len() == 0 {
				break
			}
			v, err := flight.pop().Result(context.WithoutCancel(ctx))
			if !yield(v, err) {
				return
			}
		}
		if more && ctx.Err() != nil {
			var none R
			yield(none, contextError(ctx))
		}
	}
}

// MapUnordered is Map that yields each outcome as soon as it is there.
func (f *Func[A, R]) MapUnordered(ctx context.Context, ex Executor, in iter.Seq[A]) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		next, stop := iter.Pull(in)
		defer stop()
		window := windowOf(ex)
		completed := make(chan *Future[R], window)
		var flight []*Future[R]
		more := true
		for {
			for more && len(flight) < window && ctx.Err() == nil {
				var arg A
				if arg, more = next(); more {
					fut := f.Submit(ctx, ex, arg)
					fut.t.whenSettled(func() { completed <- fut })
					flight = append(flight, fut)
				}
			}
			if len(flight) == 0 {
				break
			}
			wait := context.WithoutCancel(ctx)
			fut, err := nextCompleted(wait, completed, flight, 0)
			if err != nil { // it would wait for ever
				var none R
				yield(none, err)
				return
			}
			flight = without(flight, fut)
			v, err := fut.Result(wait)
			if !yield(v, err) {
				return
			}
		}
		if more && ctx.Err() != nil {
			var none R
			yield(none, contextError(ctx))
		}
	}
}

// without removes a future from a list that has it.
func without[R any](fs []*Future[R], f *Future[R]) []*Future[R] {
	i := slices.Index(fs, f)
	fs[i] = fs[len(fs)-1]
	fs[len(fs)-1] = nil
	return fs[:len(fs)-1]
}

func windowOf(ex Executor) int {
	if w, ok := ex.(windowed); ok {
		return w.window()
	}
	return mapWindow
}

// fifo is a queue without an end.
type fifo[T any] struct {
	items []T
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }

// pop takes the oldest. The room in front is used again once it is the larger half.
func (q *fifo[T]) pop() T {
	v := q.items[q.head]
	q.items[q.head] = *new(T)
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head >= 64 && q.head*2 >= len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return v
}

// taskQueue is a queue of tasks, some of which were cancelled where they are.
type taskQueue struct {
	fifo[*Task]
	dead int // cancelled ones in it
}

// bury notes that a task in the queue is cancelled. Once more than half of them are,
// they are taken out, so that what was cancelled takes no memory for long, and a cancellation
// a constant time on average.
func (q *taskQueue) bury(alive func(*Task) bool) {
	if q.dead++; q.dead < 32 || q.dead*2 < q.len() {
		return
	}
	kept := q.items[:0]
	for _, t := range q.items[q.head:] {
		if alive(t) {
			kept = append(kept, t)
		}
	}
	clear(q.items[len(kept):])
	q.items, q.head, q.dead = kept, 0, 0
}

// pushFront puts v where it is taken next.
func (q *fifo[T]) pushFront(v T) {
	if q.head == 0 {
		grown := make([]T, 16+2*len(q.items))
		q.head = len(grown) - len(q.items)
		copy(grown[q.head:], q.items)
		q.items = grown
	}
	q.head--
	q.items[q.head] = v
}
