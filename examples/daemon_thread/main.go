// The chapter "daemon_thread". The program waits for its threads before it ends, but not for
// a daemon thread, which ends with it.
//
// Python: Thread(target=work, daemon=True). Here: ThreadOptions.Daemon; and the context of the
// thread ends, so that it may put things in order, for a moment.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/brood-go/brood"
)

// sleep is what a thread does that takes so long.
func sleep(d time.Duration) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		name := brood.Current(ctx).Name
		fmt.Println(name, "begins")
		time.Sleep(d) // it does not look at its context
		fmt.Println(name, "ends")
		return nil
	}
}

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	brood.Go(ctx, brood.ThreadOptions{Name: "the daemon", Daemon: true}, sleep(time.Hour))
	brood.Go(ctx, brood.ThreadOptions{Name: "the thread"}, sleep(500*time.Millisecond))
	for _, t := range brood.ActiveThreads() {
		fmt.Println(t.Name(), "is a daemon:", t.Daemon())
	}
	fmt.Println("main ends")
	return nil
}
