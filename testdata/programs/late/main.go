// Program late does not reach its guard in a worker: there it ends, waits, or makes a
// pool before.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/brood-go/brood"
)

var double = brood.NewFunc("double", func(_ context.Context, n int) (int, error) { return 2 * n, nil })

func main() {
	if strings.Contains(os.Getenv("BROOD_TREE"), ";") {
		switch os.Args[1] {
		case "waits":
			time.Sleep(time.Hour)
		case "pools":
			_, err := brood.NewProcessPool(brood.PoolOptions{})
			fmt.Fprintln(os.Stderr, "in the worker:", err)
		}
		os.Exit(1)
	}
	brood.Init()
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1, StartTimeout: 300 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	_, err = double.Call(context.Background(), pool, 2)
	fmt.Println(err)
}
