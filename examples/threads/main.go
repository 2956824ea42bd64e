// The chapter "threads". A thread is the unit of execution: what runs is never a process
// but a thread of it. It is cheap, and there are two ways to start one: a function, and a type
// with a Run method.
//
// Python: threading.Thread(target=f), and a subclass of Thread with a run method. Here:
// brood.Go, with a function or with a method value. A thread is a goroutine with a name, an
// identity and an end that can be waited for.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/brood-go/brood"
)

// hello is the first way: a function.
func hello(ctx context.Context) error {
	fmt.Printf("a function runs in thread %q of process %d\n", brood.Current(ctx).Name, os.Getpid())
	return nil
}

// Greeter is the second way: a type with a Run method.
type Greeter struct{ Whom string }

// Run is what the thread does.
func (g Greeter) Run(ctx context.Context) error {
	fmt.Printf("a method runs in thread %q of process %d: hello, %s\n", brood.Current(ctx).Name, os.Getpid(), g.Whom)
	return nil
}

func nothing(context.Context) error { return nil }

// idle is what a process does that is started to see what that costs. It returns its id.
var idle = brood.NewFunc("idle", func(context.Context, struct{}) (int, error) { return os.Getpid(), nil })

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	fmt.Println("we are process", os.Getpid())
	greeter := Greeter{Whom: "Ada"}
	for _, t := range []*brood.Thread{
		brood.Go(ctx, brood.ThreadOptions{Name: "first"}, hello),
		brood.Go(ctx, brood.ThreadOptions{Name: "second"}, greeter.Run),
	} {
		if err := t.Join(ctx); err != nil {
			return err
		}
	}
	p, err := idle.Start(ctx, struct{}{}, brood.ProcessOptions{})
	if err != nil {
		return err
	}
	pid, err := p.Result(ctx)
	if err != nil {
		return err
	}
	fmt.Println("a process is another one:", pid)
	return costs(ctx)
}

// costs prints what it costs to start something that does nothing, and to wait for its end.
func costs(ctx context.Context) error {
	for _, way := range []struct {
		name  string
		times int
		start func() error // one, and waits for its end
	}{
		{"a goroutine", 1000, func() error {
			done := make(chan struct{})
			go func() { close(done) }()
			<-done
			return nil
		}},
		{"a thread", 1000, func() error { return brood.Go(ctx, brood.ThreadOptions{}, nothing).Join(ctx) }},
		{"a process", 4, func() error {
			p, err := idle.Start(ctx, struct{}{}, brood.ProcessOptions{})
			if err != nil {
				return err
			}
			return p.Join(ctx)
		}},
	} {
		cost, err := least(way.times, way.start)
		if err != nil {
			return err
		}
		fmt.Printf("%-11s %10d ns\n", way.name, cost.Nanoseconds())
	}
	return nil
}

// least is what one of so many takes, in the best of five rounds: what else the machine does
// disturbs it least there.
func least(times int, start func() error) (best time.Duration, err error) {
	for round := range 5 {
		began := time.Now()
		for range times {
			if err := start(); err != nil {
				return 0, err
			}
		}
		if took := time.Since(began) / time.Duration(times); round == 0 || took < best {
			best = took
		}
	}
	return best, nil
}
