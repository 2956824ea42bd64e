package brood

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Cancellation at every moment of a task's life: each has one outcome, and the pool's
// books are right afterwards.
func TestCancelRacesWithOutcomes(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2, ErrorRetries: 1, CrashRetries: 1}, func(t *testing.T, p *ProcessPool) {
		rounds := 300
		if long {
			rounds = 20_000
		}
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range rounds {
					ctx, cancel := context.WithCancel(context.Background())
					if rand.IntN(4) == 0 {
						cancel()
					} else {
						time.AfterFunc(time.Duration(rand.IntN(200))*time.Microsecond, cancel)
					}
					var v int
					var err error
					if g%2 == 0 {
						v, err = square.Call(ctx, p, i)
					} else {
						v, err = square.Submit(ctx, p, i).Result(context.Background())
					}
					if err == nil && v != i*i || err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("%d, %v", v, err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		eventually(t, "nothing is queued", func() bool { s := p.Stats(); return s.Queued == 0 && s.Running == 0 })
		for i := range 50 {
			if v, err := square.Call(t.Context(), p, i); v != i*i || err != nil {
				t.Fatalf("the pool does not go on: %d, %v", v, err)
			}
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A worker that does not even take its call: the call ends with its context, and
// what is behind it keeps its time limit.
func TestStoppedBeforeTaking(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1, Spares: -1, TaskTimeout: 200 * time.Millisecond, Grace: -1}, func(t *testing.T, p *ProcessPool) {
		pid, err := getpid.Call(t.Context(), p, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		syscall.Kill(pid, syscall.SIGSTOP)
		eventually(t, "it is stopped", func() bool { return stateOf(pid) == 'T' })
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		behind := make(chan error, 1)
		go func() { behind <- second(square.Submit(t.Context(), p, 4).Result(t.Context())) }()
		if _, err := square.Call(ctx, p, 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		// Its time is up; the worker is killed and the call, which was never taken,
		// goes to another. Over a socket nobody knows that it was not.
		if err := <-behind; err != nil && !errors.As(err, new(*TimeoutError)) {
			t.Error(err)
		}
	})
}

// stateOf is the state of a process as the kernel says it.
func stateOf(pid int) byte {
	b := readFile(pid, "stat")
	for i := len(b) - 1; i > 0; i-- {
		if b[i] == ')' && i+2 < len(b) {
			return b[i+2]
		}
	}
	return 0
}

// A pool that has shrunk grows again as soon as two tasks are there.
func TestShrunkPoolGrows(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 3, IdleTimeout: time.Hour, Spares: -1}, func(t *testing.T, p *ProcessPool) {
		if _, err := square.Call(t.Context(), p, 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 3 {
			untilDone.Submit(ctx, p, struct{}{})
		}
		eventually(t, "three run", func() bool { return p.Stats().Running == 3 })
	})
}
