// Program flags parses its flags before main.
package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/brood-go/brood"
)

var factor = flag.Int("factor", 1, "what to multiply with")

func init() { flag.Parse() }

var times = brood.NewFunc("times", func(_ context.Context, n int) (int, error) { return *factor * n, nil })

func main() {
	brood.Main(func(ctx context.Context) error {
		pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1})
		if err != nil {
			return err
		}
		defer pool.Close()
		n, err := times.Call(ctx, pool, 6)
		fmt.Println(n)
		return err
	})
}
