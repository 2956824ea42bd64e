// The chapter "daemon". A daemon process serves the program and ends with it; for
// any other child the program waits before it ends.
//
// Python: Process(target=work, daemon=True). Here: ProcessOptions.Daemon.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/brood-go/brood"
)

var sleep = brood.NewFunc("sleep", func(ctx context.Context, d time.Duration) (struct{}, error) {
	name := brood.Current(ctx).Name
	fmt.Println(name, "begins")
	time.Sleep(d)
	fmt.Println(name, "ends")
	return struct{}{}, nil
})

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	daemon, err := sleep.Start(ctx, time.Hour, brood.ProcessOptions{Name: "daemon", Daemon: true})
	if err != nil {
		return err
	}
	child, err := sleep.Start(ctx, 500*time.Millisecond, brood.ProcessOptions{Name: "child"})
	if err != nil {
		return err
	}
	fmt.Println("the daemon is process", daemon.PID())
	fmt.Println("the child is process", child.PID())
	fmt.Println("main ends")
	return nil
}
