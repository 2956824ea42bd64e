// The chapter "process_type". The second way to say what a process runs: a type with
// a Run method. Its exported fields are what the process gets to know; they travel
// as a copy.
//
// Python: class Greeter(multiprocessing.Process) with a run method. Here:
// brood.NewRunner.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/brood-go/brood"
)

// Greeter is a process that greets.
type Greeter struct {
	Name  string
	Pause time.Duration
}

// Run is what the process does.
func (g Greeter) Run(context.Context) error {
	fmt.Println("child", os.Getpid(), "begins: hello,", g.Name)
	time.Sleep(g.Pause)
	fmt.Println("child", os.Getpid(), "ends")
	return nil
}

var greeter = brood.NewRunner[Greeter]("greeter")

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	fmt.Println("parent", os.Getpid(), "begins")
	p, err := greeter.Start(ctx, Greeter{Name: "Ada", Pause: 500 * time.Millisecond}, brood.ProcessOptions{})
	if err != nil {
		return err
	}
	fmt.Println("parent", os.Getpid(), "goes on beside child", p.PID())
	return nil // Main waits for the child
}
