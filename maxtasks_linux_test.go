package brood

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

// A worker that is used up counts as long as it runs its last task: there are no more
// workers than were asked for, and no more tasks run at once, however long they are.
func TestMaxTasksOfLongTasks(t *testing.T) {
	for _, c := range []struct{ workers, spares int }{{1, -1}, {1, 0}, {2, -1}, {2, 0}} {
		t.Run(fmt.Sprintf("%d workers, spares %d", c.workers, c.spares), func(t *testing.T) {
			watchdog(t, 20*time.Second)
			p := newProcesses(t, PoolOptions{Workers: c.workers, Spares: c.spares, MaxTasks: 1})
			serving(t, p, c.workers)
			paths := pipes(t, 10)
			var fs []*Future[string]
			for _, path := range paths {
				fs = append(fs, readPipe.Submit(t.Context(), p, path))
			}
			var watching sync.WaitGroup
			stop := make(chan struct{})
			watching.Go(func() {
				for tooMany(t, p) == nil {
					select {
					case <-stop:
						return
					default:
					}
				}
			})
			for i, path := range paths {
				tell(t, path, "go")
				want(t, fmt.Sprint("task ", i), fs[i], "go")
			}
			close(stop)
			watching.Wait()
			if s := p.Stats(); s.Done != 10 || len(s.Deaths) != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// tooMany reports whether a pool has more workers than it should have, or more tasks run.
// Those that are asked to end take a moment for it, in which the next ones start.
func tooMany(t *testing.T, p *ProcessPool) error {
	atMost := p.p.o.Workers + p.p.o.Spares
	var states []hostState
	n := 0
	p.p.mu.Lock()
	for _, h := range p.p.hosts {
		states = append(states, h.state)
		if h.state < hostQuitting {
			n++
		}
	}
	p.p.mu.Unlock()
	s := p.Stats()
	if n > atMost || s.Running > p.p.o.Workers || len(s.Processes) > atMost+5 {
		err := fmt.Errorf("%d tasks run and %d workers are not on their way out, of %d processes (states %v); at most %d and %d may", s.Running, n, len(s.Processes), states, p.p.o.Workers, atMost)
		t.Error(err)
		return err
	}
	return nil
}

var crash = NewFunc("test/crash", func(context.Context, int) (int, error) {
	os.Exit(3)
	return 0, nil
}).Idempotent()

// A task that ends its worker, and is run again, is no fault of the workers: the pool
// does not break.
func TestRetriedCrashesBreakNothing(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1, CrashRetries: 5})
	var died *WorkerDied
	if _, err := crash.Call(t.Context(), p, 1); !errors.As(err, &died) || died.ExitCode != 3 {
		t.Error(err)
	}
	want(t, "the next", square.Submit(t.Context(), p, 3), 9)
}

// Workers that take no more tasks hold their place, and no more than that.
func TestIdleTimeoutAndMaxTasks(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 4, Spares: -1, IdleTimeout: time.Minute, MaxTasks: 1})
	var fs []*Future[struct{}]
	for range 4 {
		fs = append(fs, untilDone.Submit(t.Context(), p, struct{}{}))
		eventually(t, "all of them run", func() bool { return p.Stats().Running == len(fs) })
	}
	for _, f := range fs {
		f.Cancel()
		f.Result(t.Context())
	}
}

// What was cancelled before it was taken counts for no worker's MaxTasks.
func TestCancelledAreNoTasks(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1, MaxTasks: 3})
	h := serving(t, p, 1)[0]
	resume := suspend(t, h.pid)
	t.Cleanup(resume)
	for range 10 {
		square.Submit(t.Context(), p, 1).Cancel()
	}
	resume()
	for i := range 3 {
		if pid, err := getpid.Call(t.Context(), p, struct{}{}); pid != h.pid || err != nil {
			t.Errorf("call %d ran in %d, not in %d: %v", i, pid, h.pid, err)
		}
	}
	if pid, err := getpid.Call(t.Context(), p, struct{}{}); pid == h.pid || err != nil {
		t.Errorf("a fourth call ran in the same worker, %v", err)
	}
}

// A worker that has used up its tasks, and gets one of them back, serves on only if there
// are not as many as there should be.
func TestUsedUpAndResized(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 2, Spares: -1, MaxTasks: 2})
	hosts := serving(t, p, 2)
	a, b := untilDone.Submit(t.Context(), p, struct{}{}), untilDone.Submit(t.Context(), p, struct{}{})
	eventually(t, "both run", func() bool { return a.State() == Running && b.State() == Running })
	c := untilDone.Submit(t.Context(), p, struct{}{}) // uses up the first
	p.Resize(1)
	c.Cancel()
	for _, f := range []*Future[struct{}]{c, a, b} {
		f.Cancel()
		f.Result(t.Context())
	}
	p.p.mu.Lock()
	defer p.p.mu.Unlock()
	n := 0
	for _, h := range hosts {
		if h.state == hostServing {
			n++
		}
	}
	if n > 1 {
		t.Errorf("%d workers serve", n)
	}
}
