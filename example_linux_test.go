package brood_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/brood-go/brood"
)

// These examples start processes. They run because TestMain calls brood.Init.

var (
	crash = brood.NewFunc("example/crash", func(_ context.Context, code int) (int, error) {
		os.Exit(code)
		return 0, nil
	})
	forever = brood.NewFunc("example/forever", func(context.Context, struct{}) (struct{}, error) { select {} })
	report  = brood.NewRunner[Report]("example/report")
)

// Report is a process as a type: its fields are the argument.
type Report struct{ Title string }

// Run is what the process does.
func (r Report) Run(context.Context) error {
	fmt.Println("report", r.Title)
	return nil
}

// A program calls brood.Main in func main, which then consists of nothing else:
//
//	var square = brood.NewFunc("square", func(ctx context.Context, n int) (int, error) { return n * n, nil })
//
//	func main() { brood.Main(run) }
//
// What follows is the body of its function run.
func ExampleNewFunc() {
	ctx := context.Background()
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	fmt.Println(square.Call(ctx, pool, 12))
	fmt.Println(square.Call(ctx, pool, -1))
	// Output:
	// 144 <nil>
	// 0 negative numbers are not for squaring
}

// A task that takes its process with it hurts no other task: the pool puts another
// process in its place.
func ExampleWorkerDied() {
	// square and crash, which calls os.Exit, are made by brood.NewFunc at package level
	ctx := context.Background()
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	_, err = crash.Call(ctx, pool, 3)
	var died *brood.WorkerDied
	if errors.As(err, &died) {
		fmt.Println("died with exit code", died.ExitCode)
	}
	fmt.Println(square.Call(ctx, pool, 12))
	// Output:
	// died with exit code 3
	// 144 <nil>
}

func ExampleFunc_Start() {
	// var square = brood.NewFunc("square", …) at package level
	ctx := context.Background()
	p, err := square.Start(ctx, 12, brood.ProcessOptions{Name: "child"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Name(), "is another process:", p.PID() != os.Getpid())
	fmt.Println(p.Result(ctx))
	fmt.Println(p.Join(ctx), p.Alive())
	fmt.Println(p.ExitCode())
	// Output:
	// child is another process: true
	// 144 <nil>
	// <nil> false
	// 0 true
}

func ExampleNewRunner() {
	// type Report struct{ Title string }
	// func (r Report) Run(ctx context.Context) error { … }
	// var report = brood.NewRunner[Report]("report")
	ctx := context.Background()
	p, err := report.Start(ctx, Report{Title: "of the year"}, brood.ProcessOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Join(ctx))
	// Output:
	// report of the year
	// <nil>
}

func ExampleChild_Terminate() {
	// var forever = brood.NewFunc("forever", …) at package level
	ctx := context.Background()
	p, err := forever.Start(ctx, struct{}{}, brood.ProcessOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	p.Terminate() // a request
	if err := p.Join(ctx); err != nil {
		fmt.Println(err)
		return
	}
	code, _ := p.ExitCode()
	fmt.Println(code == -int(syscall.SIGTERM))
	// Output: true
}
