package share_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/brood-go/brood/share"
)

// A producer puts, and closes the queue when that was all. However many consumers there are, each
// stops when nothing is left.
func ExampleQueue() {
	ctx := context.Background()
	space := share.Local() // share.Open("orders") for several processes
	defer space.Close()
	queue, err := share.NewQueue[string](space, "orders", 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		defer queue.Close()
		for _, order := range []string{"soup", "fish", "cake"} {
			if err := queue.Put(ctx, order); err != nil { // waits for room
				return
			}
		}
	}()
	for order, err := range queue.All(ctx) {
		fmt.Println(order, err)
	}
	_, err = queue.TryGet()
	fmt.Println(errors.Is(err, share.ErrClosed))
	// Output:
	// soup <nil>
	// fish <nil>
	// cake <nil>
	// true
}

// An item counts as done when its delivery does. One that is given back, as those of a
// consumer that dies are, is delivered again, and in the end to whoever asks for what has failed.
func ExampleJoinableQueue() {
	ctx := context.Background()
	space := share.Local()
	defer space.Close()
	queue, err := share.NewJoinableQueue[string](space, "jobs", share.JoinableOptions{Capacity: 10, Attempts: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := queue.PutAll(ctx, "good", "bad"); err != nil {
		fmt.Println(err)
		return
	}
	for !queue.Empty() {
		d, err := queue.Get(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(d.Value, "attempt", d.Attempt())
		if d.Value == "bad" {
			d.Return()
		} else {
			d.Done()
		}
	}
	var left *share.FailedItemsError
	fmt.Println(errors.As(queue.Join(ctx), &left), left.Count)
	d, err := queue.Failed(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Value, "has failed:", d.Err())
	d.Done()
	fmt.Println(queue.Join(ctx))
	// Output:
	// good attempt 1
	// bad attempt 1
	// bad attempt 2
	// true 1
	// bad has failed: it was handed out 2 times and never done
	// <nil>
}
