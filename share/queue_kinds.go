package share

import "context"

// Stack is a Queue that hands out first what was put last: last in, first out. What was given
// back by a consumer that died while it got it is in its old place again.
type Stack[T any] struct{ Queue[T] }

// NewStack opens the stack of that name in a space, or makes it with a capacity of 1 to
// MaxCapacity items.
func NewStack[T any](s *Space, name string, capacity int) (*Stack[T], error) {
	t, err := openQueue[T](s, kindStack, name, capacity)
	if err != nil {
		return nil, err
	}
	return &Stack[T]{Queue[T]{t}}, nil
}

// PriorityQueue is a Queue that hands out first what has the lowest priority number, and of those
// that are equal what was put first. What the methods of Queue put has priority 0.
type PriorityQueue[T any] struct{ Queue[T] }

// NewPriorityQueue opens the priority queue of that name in a space, or makes it with a
// capacity of 1 to MaxCapacity items.
func NewPriorityQueue[T any](s *Space, name string, capacity int) (*PriorityQueue[T], error) {
	t, err := openQueue[T](s, kindPriorityQueue, name, capacity)
	if err != nil {
		return nil, err
	}
	return &PriorityQueue[T]{Queue[T]{t}}, nil
}

// Put puts an item with a priority, and waits for room as long as ctx lets it. See Queue.Put.
func (q *PriorityQueue[T]) Put(ctx context.Context, v T, priority int64) error {
	return q.t.put(ctx, v, priority, how{})
}

// TryPut puts an item with a priority if there is room. Otherwise the error matches ErrFull.
func (q *PriorityQueue[T]) TryPut(v T, priority int64) error {
	return q.t.put(context.Background(), v, priority, how{now: true})
}

// PutAll puts items that all have one priority. It returns how many it has put.
func (q *PriorityQueue[T]) PutAll(ctx context.Context, priority int64, items ...T) (n int, err error) {
	return q.t.putAll(ctx, items, priority)
}

// GetWithPriority gets the next item as Get does, and says what priority it has.
func (q *PriorityQueue[T]) GetWithPriority(ctx context.Context) (T, int64, error) {
	var c catch
	v, err := q.t.get(ctx, &c, how{})
	return v, int64(c.prio), err
}
