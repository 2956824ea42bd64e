// Program unguarded forgot brood.Main.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/brood-go/brood"
)

var double = brood.NewFunc("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

func main() {
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 2})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(double.Call(context.Background(), pool, 2))
}
