// The chapter "isolation". Processes share no memory: what a child does to a variable
// it does to its own copy, and the parent never notices. What a child has to tell it
// returns.
//
// Python: a global changed in a multiprocessing.Process stays what it was in the
// parent. Here: the same.
package main

import (
	"context"
	"fmt"

	"github.com/brood-go/brood"
)

var number = 18

// set changes the variable of the process that it runs in, and returns what it reads.
var set = brood.NewFunc("set", func(_ context.Context, n int) (int, error) {
	number = n
	fmt.Println("child: number is", number)
	return number, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	fmt.Println("parent: number is", number)
	p, err := set.Start(ctx, 16, brood.ProcessOptions{})
	if err != nil {
		return err
	}
	returned, err := p.Result(ctx)
	if err != nil {
		return err
	}
	fmt.Println("parent: the child returned", returned)
	fmt.Println("parent: number is still", number)
	return nil
}
