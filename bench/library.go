package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"github.com/brood-go/brood"
)

// library prints what concerns the library.
func (b *bench) library() error {
	p := b.startPeers()
	defer p.stop()
	pool, err := brood.NewProcessPool(brood.PoolOptions{Workers: runtime.NumCPU()})
	if err != nil {
		return err
	}
	defer pool.Close()
	for range 1000 {
		if _, err := square.Call(ctx, pool, 3); err != nil {
			return err
		}
	}
	if err := b.table("The library: processes", slices.Concat(b.tasks(pool, p), b.starts())); err != nil {
		return err
	}
	if err := b.table("The library: cost of a task as its payload grows, argument and result of that size", b.payloads(pool, p)); err != nil {
		return err
	}
	if err := b.latencies(pool, p); err != nil {
		return err
	}
	for _, part := range []func() error{b.memories, b.deaths, b.locks, b.queues, b.gils, b.coroutines, b.servers} {
		if err := part(); err != nil {
			return err
		}
	}
	if err := b.table("The library: threads", b.named()); err != nil {
		return err
	}
	return b.table("The library: goroutines", b.threads())
}

// ctx is that of tasks which nobody wants to cancel.
var ctx = context.Background()

// tasks compares small tasks, with numbers for argument and result.
func (b *bench) tasks(pool *brood.ProcessPool, p *peers) []comparison {
	one, few, many := b.some(20_000), b.some(2_000), b.some(10_000)
	return []comparison{
		{"one task at a time", 0, []side{
			{name: "brood", run: perTask(one, func() error { return callSquare(pool) })},
			p.executor.side("ProcessPoolExecutor.submit, result", 1./20, "call", few, 0),
			p.pool.side("multiprocessing.Pool.apply", 0, "call", few, 0),
			p.plugin.side("go-plugin, net/rpc", 0, "call", few, 0),
			p.pingPong.side("bare futex ping-pong in C", 2.5, "futex", one, 0),
			p.pingPong.side("bare pipe ping-pong in C", 0, "pipe", one, 0),
		}},
		{fmt.Sprintf("%d tasks submitted, then all results", many), 0, []side{
			{name: "brood", run: func() (float64, error) { return submitAll(ctx, pool, many) }},
			p.executor.side("ProcessPoolExecutor.submit", 1./50, "many", many, 0),
			p.pool.side("multiprocessing.Pool.map, chunksize=1", 0, "many", many, 0),
		}},
	}
}

// payloads compares tasks by the size of their argument and result.
func (b *bench) payloads(pool *brood.ProcessPool, p *peers) (cs []comparison) {
	for _, size := range []int{8, 1 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20} {
		target := 0.0
		if size == 1<<20 {
			target = 1. / 3
		}
		n := b.some(min(2000, max(10, 512<<20/size)))
		arg := make([]byte, size)
		cs = append(cs, comparison{"echo of " + bytesOf(size), 0, []side{
			{name: "brood", run: perTask(n, func() error {
				out, err := echo.Call(ctx, pool, arg)
				if err == nil && len(out) != len(arg) {
					err = fmt.Errorf("%d of %d bytes came back", len(out), len(arg))
				}
				return err
			})},
			p.executor.side("ProcessPoolExecutor", target, "echo", max(n/4, 3), size),
		}})
	}
	return cs
}

// nothing makes this program end at once.
const nothing = "nothing"

// starts compares a function in a process of its own with a bare process.
func (b *bench) starts() []comparison {
	n := b.some(50)
	return []comparison{{"start of a process and its end", 0, []side{
		{name: "brood", run: perTask(n, func() error {
			p, err := square.Start(ctx, 3, brood.ProcessOptions{})
			if err != nil {
				return err
			}
			if err := p.Join(ctx); err != nil {
				return err
			}
			_, err = p.Result(ctx)
			return err
		})},
		{name: "fork+exec of the same program, doing nothing", target: 1.5, run: perTask(n, func() error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return exec.Command(self, nothing).Run()
		})},
	}}}
}

// perTask runs a task n times and returns the seconds for each.
func perTask(n int, task func() error) func() (float64, error) {
	return func() (float64, error) {
		began := time.Now()
		for range n {
			if err := task(); err != nil {
				return 0, err
			}
		}
		return time.Since(began).Seconds() / float64(n), nil
	}
}

func callSquare(ex brood.Executor) error {
	n, err := square.Call(ctx, ex, 3)
	if err == nil && n != 9 {
		err = fmt.Errorf("the square of 3 is %d", n)
	}
	return err
}

// submitAll submits n tasks, then takes all results, and returns the seconds for
// each.
func submitAll(ctx context.Context, ex brood.Executor, n int) (float64, error) {
	began := time.Now()
	fs := make([]*brood.Future[int], n)
	for i := range fs {
		fs[i] = square.Submit(ctx, ex, i)
	}
	sum := 0
	for _, f := range fs {
		v, err := f.Result(ctx)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return time.Since(began).Seconds() / float64(n), checkSum(sum, n)
}

// checkSum compares with the sum of the squares of all numbers below n.
func checkSum(sum, n int) error {
	if want := (n - 1) * n * (2*n - 1) / 6; sum != want {
		return fmt.Errorf("the squares add up to %d instead of %d", sum, want)
	}
	return nil
}

// bytesOf writes a size.
func bytesOf(n int) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	u := 0
	for ; n >= 1<<10 && n%(1<<10) == 0; n >>= 10 {
		u++
	}
	return fmt.Sprintf("%d %s", n, units[u])
}

// quantile is the sample below which a share q of them lies.
func quantile(samples []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	return s[max(int(math.Ceil(q*float64(len(s))))-1, 0)]
}
