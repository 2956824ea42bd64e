// The chapter "pids". A process has an id, and knows that of its parent. To terminate
// a process is a request: right afterwards it may still be alive, after Join it never
// is, and its exit code is minus the number of the signal that ended it.
//
// Python: os.getpid(), os.getppid(), p.pid, p.terminate(), p.is_alive(), p.exitcode.
// Here: os.Getpid, os.Getppid, Process.PID, Terminate, Alive, ExitCode.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/brood-go/brood"
)

// IDs is what a process can tell of itself.
type IDs struct{ Own, Parent int }

var ids = brood.NewFunc("ids", func(context.Context, struct{}) (IDs, error) {
	return IDs{Own: os.Getpid(), Parent: os.Getppid()}, nil
})

// forever never returns.
var forever = brood.NewFunc("forever", func(context.Context, struct{}) (struct{}, error) { select {} })

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	first, err := ids.Start(ctx, struct{}{}, brood.ProcessOptions{})
	if err != nil {
		return err
	}
	told, err := first.Result(ctx)
	if err != nil {
		return err
	}
	fmt.Println("we are", os.Getpid())
	fmt.Println("the first child is", first.PID(), "and says that it is", told.Own, "and its parent is", told.Parent)

	second, err := forever.Start(ctx, struct{}{}, brood.ProcessOptions{})
	if err != nil {
		return err
	}
	fmt.Println("the second child is alive:", second.Alive())
	second.Terminate()
	fmt.Println("right after Terminate it is alive:", second.Alive(), "(it may be)")
	if err := second.Join(ctx); err != nil {
		return err
	}
	code, _ := second.ExitCode()
	fmt.Println("after Join it is alive:", second.Alive())
	fmt.Println("its exit code is", code)
	return nil
}
