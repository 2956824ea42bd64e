package gil_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/brood-go/brood/gil"
)

// What follows is a small Forth, written the way many libraries in C are: one machine, in global
// variables, with not a lock in it. Two goroutines that call it at once break it, and a
// program is several calls, between which nobody else may call.

var (
	stack []int
	words = map[string]string{} // what was defined
)

// forthPush and forthWord are the machine's calls.
func forthPush(n int) { stack = append(stack, n) }

func forthWord(word string) error {
	if body, ok := words[word]; ok {
		return forthRun(body)
	}
	if word == "dup" && len(stack) > 0 {
		forthPush(stack[len(stack)-1])
		return nil
	}
	if len(stack) < 2 {
		return errors.New(word + ": stack underflow")
	}
	a, b := stack[len(stack)-2], stack[len(stack)-1]
	stack = stack[:len(stack)-2]
	switch word {
	case "+":
		forthPush(a + b)
	case "*":
		forthPush(a * b)
	default:
		return errors.New(word + "?")
	}
	return nil
}

func forthRun(program string) error {
	for _, token := range strings.Fields(program) {
		if n, err := strconv.Atoi(token); err == nil {
			forthPush(n)
		} else if err := forthWord(token); err != nil {
			return err
		}
	}
	return nil
}

func forthPop() int {
	n := stack[len(stack)-1]
	stack = stack[:len(stack)-1]
	return n
}

// fetch stands for a request over the network.
func fetch(n int) string {
	<-time.After(time.Millisecond)
	return fmt.Sprintf("%d square 1 +", n)
}

// An interpreter with global state is called from many goroutines. Each is a thread of one
// GIL: it fetches its programs without the GIL, all at once, and runs one after the other with it.
func Example() {
	lock := gil.New(gil.Options{Name: "forth"})
	ctx := context.Background()
	_ = lock.Do(ctx, "main", func(context.Context, *gil.Thread) error {
		words["square"] = "dup *"
		return nil
	})

	sums := make([]int, 10)
	var wg sync.WaitGroup
	for i := range sums {
		wg.Go(func() {
			err := lock.Do(ctx, fmt.Sprint("client ", i), func(ctx context.Context, t *gil.Thread) error {
				for n := range 20 {
					var program string
					if err := t.Unlocked(ctx, func() { program = fetch(n) }); err != nil {
						return err
					}
					if err := forthRun(program); err != nil {
						return err
					}
					sums[i] += forthPop()
					if err := t.Check(ctx); err != nil { // the stack is empty: others may run
						return err
					}
				}
				return nil
			})
			if err != nil {
				fmt.Println(err)
			}
		})
	}
	wg.Wait()
	fmt.Println(sums, len(stack))
	// Output: [2490 2490 2490 2490 2490 2490 2490 2490 2490 2490] 0
}

// A GIL protects what is done between two safe points, and nothing beyond: here another
// thread may have changed the counter while this one waited.
func ExampleThread_Unlocked() {
	lock := new(gil.GIL)
	ctx := context.Background()
	counter := 0
	var wg sync.WaitGroup
	var all sync.WaitGroup
	all.Add(10)
	for range 10 {
		wg.Go(func() {
			_ = lock.Do(ctx, "", func(ctx context.Context, t *gil.Thread) error {
				n := counter
				err := t.Unlocked(ctx, func() {
					all.Done()
					all.Wait() // for a slow disk, say
				})
				if err != nil {
					return err // without the GIL: the counter is not ours
				}
				counter = n + 1 // all but one of the updates are lost
				return nil
			})
		})
	}
	wg.Wait()
	fmt.Println(counter)
	// Output: 1
}
