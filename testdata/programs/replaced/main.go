// Program replaced goes on after its file was replaced: workers started later are
// the program that runs, not the one that lies there now.
package main

import (
	"context"
	"fmt"

	"github.com/brood-go/brood"
)

var double = brood.NewFunc("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

func main() {
	brood.Main(func(ctx context.Context) error {
		pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1, MaxTasks: 1, Spares: -1})
		if err != nil {
			return err
		}
		defer pool.Close()
		for i := range 4 {
			n, err := double.Call(ctx, pool, i)
			if err != nil {
				return err
			}
			fmt.Println(n)
			if i == 1 {
				fmt.Scanln() // meanwhile the file is replaced
			}
		}
		return nil
	})
}
