package main

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/brood-go/brood"
)

// deaths measures how long a worker is missed that died, and how long one lives
// that is to be killed.
func (b *bench) deaths() error {
	const killed, cancelled = "worker killed", "endless loop cancelled"
	if b.only.MatchString(killed) {
		fmt.Fprintf(b.out, "## The library: %s → the next task has its result\n\nOne worker, one spare: from SIGKILL to the result of a task submitted at once. The killed worker had as much memory as the table says.\n\n", killed)
		b.spreadHeader()
		for _, size := range []int{0, 64 << 20, 256 << 20, 1 << 30} {
			if err := b.killed(size, b.some(min(200, 20<<30/max(size, 1)))); err != nil {
				return fmt.Errorf("%s: %w", killed, err)
			}
		}
		b.killedInPython()
	}
	if b.only.MatchString(cancelled) {
		fmt.Fprintf(b.out, "## The library: %s, no grace → its future is settled and its worker reaped\n\n", cancelled)
		b.spreadHeader()
		samples, err := cancelLoops(b.some(200))
		if err != nil {
			return fmt.Errorf("%s: %w", cancelled, err)
		}
		b.spread("endless loop, zero grace", samples, 0.020)
		fmt.Fprintln(b.out)
	}
	return nil
}

// spreadHeader and spread print a table of samples, each row against a limit for its
// p99; 0: none.
func (b *bench) spreadHeader() {
	fmt.Fprint(b.out, "| what | samples | p50 | p99 | max | target for p99 | met |\n|---|---|---|---|---|---|---|\n")
}

func (b *bench) spread(name string, samples []float64, limit float64) {
	target, met := "", ""
	p99 := quantile(samples, 0.99)
	if limit > 0 {
		target, met = "≤ "+seconds(limit), yes(p99 <= limit)
	}
	fmt.Fprintf(b.out, "| %s | %d | %s | %s | %s | %s | %s |\n", name, len(samples), seconds(quantile(samples, 0.5)), seconds(p99), seconds(quantile(samples, 1)), target, met)
}

// killed measures with a worker of a size.
func (b *bench) killed(size, n int) error {
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1, Spares: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	var samples []float64
	for range n {
		victim, err := ballast.Call(ctx, pool, size)
		if err != nil {
			return err
		}
		until(func() bool { return count(pool, "spare") == 1 })
		began := time.Now()
		if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
			return err
		}
		// A task that the victim has taken dies with it, or is its last one.
		for {
			server, err := pid.Call(ctx, pool, struct{}{})
			if died := (*brood.WorkerDied)(nil); err != nil && !errors.As(err, &died) {
				return err
			}
			if err == nil && server != victim {
				break
			}
		}
		samples = append(samples, time.Since(began).Seconds())
	}
	limit := 0.0
	if size <= 64<<20 {
		limit = 0.010
	}
	b.spread("brood, worker of "+bytesOf(size)+" more than its own", samples, limit)
	return nil
}

// killedInPython shows what CPython's pools do. They don't recover: an executor is
// broken for good (the program has to make another one), and a multiprocessing.Pool
// whose idle worker dies never answers again.
func (b *bench) killedInPython() {
	for _, kind := range []string{"executor", "pool"} {
		name := map[string]string{"executor": "ProcessPoolExecutor: BrokenProcessPool for ever; the program makes a new one", "pool": "multiprocessing.Pool"}[kind]
		p := b.pools(kind, "1")
		a, err := p.ask("death", b.some(10), 0)
		p.stop()
		if err == nil && a.Error != "" {
			err = errors.New(a.Error)
		}
		if err != nil {
			fmt.Fprintf(b.out, "| %s | | %v | | | | |\n", name, err)
			continue
		}
		b.spread(name, a.Samples, 0)
	}
	fmt.Fprintln(b.out)
}

// cancelLoops cancels functions that never look.
func cancelLoops(n int) (samples []float64, err error) {
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: 1, Spares: 1, Grace: -1})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	for range n {
		victim, err := pid.Call(ctx, pool, struct{}{})
		if err != nil {
			return nil, err
		}
		until(func() bool { return count(pool, "spare") == 1 })
		f := endless.Submit(ctx, pool, struct{}{})
		until(func() bool { return f.State() == brood.Running })
		began := time.Now()
		f.Cancel()
		if _, err := f.Result(ctx); err == nil {
			return nil, errors.New("an endless loop has a result")
		}
		// A process that was not reaped can still be signalled.
		until(func() bool { return errors.Is(syscall.Kill(victim, 0), syscall.ESRCH) })
		samples = append(samples, time.Since(began).Seconds())
	}
	return samples, nil
}

// until waits for what nobody reports.
func until(done func() bool) {
	for !done() {
		runtime.Gosched()
		time.Sleep(50 * time.Microsecond)
	}
}

// count counts a pool's workers in a state.
func count(pool *brood.ProcessPool, state string) (n int) {
	for _, w := range pool.Stats().Processes {
		if w.State == state {
			n++
		}
	}
	return n
}
