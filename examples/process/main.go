// The chapter "process". A program is code on disk; a process is a program that
// runs, with an id and memory of its own. Here a function is started in a new
// process, and the process that started it goes on without waiting.
//
// Python: multiprocessing.Process(target=work, args=(0.5,)).start(). Here: Func.Start.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/brood-go/brood"
)

// work is the function. Every process of this program knows it by its name.
var work = brood.NewFunc("work", func(_ context.Context, d time.Duration) (struct{}, error) {
	fmt.Println("child", os.Getpid(), "begins")
	time.Sleep(d)
	fmt.Println("child", os.Getpid(), "ends")
	return struct{}{}, nil
})

// Main is Python's «if __name__ == "__main__"»: the child is this program again, and
// in the child Main runs the function instead of run.
func main() { brood.Main(run) }

func run(ctx context.Context) error {
	fmt.Println("parent", os.Getpid(), "begins")
	p, err := work.Start(ctx, 500*time.Millisecond, brood.ProcessOptions{})
	if err != nil {
		return err
	}
	fmt.Println("parent", os.Getpid(), "goes on beside child", p.PID())
	return nil // Main waits for the child, as Python does
}
