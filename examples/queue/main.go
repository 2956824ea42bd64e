// The chapter "queue". A queue hands on what was put into it, first in, first out. This one has
// room for 6 items: who puts one more waits until another one was taken, or gives up after
// a time, or does not wait at all; and so does who takes from an empty one. A stack is the
// same, last in, first out.
//
// Python: queue.Queue and LifoQueue, multiprocessing.Queue; put, put_nowait, get, get_nowait, the
// exceptions Full, Empty and ShutDown. Here: share.Queue and Stack; Put, TryPut, Get, TryGet, ErrFull,
// ErrEmpty and ErrClosed. A timeout is a context's.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

const bound = 6

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	space, err := share.New()
	if err != nil {
		return err
	}
	defer space.Close()
	queue, err := share.NewQueue[int](space, "queue", bound)
	if err != nil {
		return err
	}
	if err := fill(ctx, space, queue); err != nil {
		return err
	}
	if err := empty(ctx, space, queue); err != nil {
		return err
	}
	stack, err := share.NewStack[int](space, "stack", bound)
	if err != nil {
		return err
	}
	n, err := stack.PutAll(ctx, 0, 1, 2, 3, 4, 5)
	if err != nil {
		return err
	}
	fmt.Println("stack: put 0 to 5, full:", stack.Full(), "and one more:", says(stack.TryPut(6)))
	all, err := stack.GetUpTo(ctx, n)
	fmt.Println("stack: got", all, says(err))
	_, err = stack.TryGet()
	fmt.Println("stack: one more:", says(err))
	return nil
}

// fill puts more than there is room for.
func fill(ctx context.Context, space *share.Space, queue *share.Queue[int]) error {
	for n := range bound {
		if err := queue.Put(ctx, n); err != nil {
			return err
		}
	}
	fmt.Printf("put 0 to 5: %d of %d, full: %v\n", queue.Len(), queue.Cap(), queue.Full())
	fmt.Println("TryPut:", says(queue.TryPut(6)))
	fmt.Println("Put for 50 ms:", says(within(ctx, func(ctx context.Context) error { return queue.Put(ctx, 6) })))

	put := make(chan error, 1)
	go func() { put <- queue.Put(ctx, 6) }()
	if err := blocked(ctx, space); err != nil {
		return err
	}
	fmt.Println("Put waits, and there are still", queue.Len())
	n, err := queue.Get(ctx)
	fmt.Println("Get:", n, says(err))
	fmt.Println("Put returns:", says(<-put))
	return nil
}

// empty gets more than there is.
func empty(ctx context.Context, space *share.Space, queue *share.Queue[int]) error {
	var all []int
	for !queue.Empty() {
		n, err := queue.Get(ctx)
		if err != nil {
			return err
		}
		all = append(all, n)
	}
	fmt.Println("Get until it is empty:", all)
	_, err := queue.TryGet()
	fmt.Println("TryGet:", says(err))
	fmt.Println("Get for 50 ms:", says(within(ctx, func(ctx context.Context) error { _, err := queue.Get(ctx); return err })))

	got := make(chan int, 1)
	go func() { n, _ := queue.Get(ctx); got <- n }()
	if err := blocked(ctx, space); err != nil {
		return err
	}
	fmt.Println("Get waits")
	fmt.Println("Put:", says(queue.Put(ctx, 7)))
	fmt.Println("Get returns:", <-got)

	// Nothing more comes: what is left can still be taken.
	if err := errors.Join(queue.Put(ctx, 8), queue.Close()); err != nil {
		return err
	}
	fmt.Println("Put into a closed queue:", says(queue.Put(ctx, 9)))
	n, err := queue.Get(ctx)
	fmt.Println("Get what is left:", n, says(err))
	_, err = queue.Get(ctx)
	fmt.Println("Get when nothing is left:", says(err))
	return nil
}

// within calls f with a context that ends after 50 ms.
func within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	return f(ctx)
}

// blocked returns when somebody waits for the queue, as can be seen from outside.
func blocked(ctx context.Context, space *share.Space) error {
	for ctx.Err() == nil {
		info, err := share.Inspect(space.Name())
		if err != nil || len(info.Objects[0].Waiters) > 0 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return context.Cause(ctx)
}

// says is the word for an error.
func says(err error) string {
	for _, known := range []struct {
		err  error
		name string
	}{{share.ErrFull, "ErrFull"}, {share.ErrEmpty, "ErrEmpty"}, {share.ErrClosed, "ErrClosed"}, {context.DeadlineExceeded, "DeadlineExceeded"}} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return fmt.Sprint(err)
}
