package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/alitto/pond/v2"
	"github.com/brood-go/brood"
	"github.com/panjf2000/ants/v2"
	"github.com/sourcegraph/conc/pool"
	"golang.org/x/sync/errgroup"
)

// job is what goroutines do: it returns the square of n.
type job func(n int) int

// alike is the target where the work itself takes nearly all of the time: what is less
// than that apart can't be told apart.
const alike = 1.05

// threads compares pools of goroutines, each with as many as there are CPUs. Every
// one returns each result to who submitted its job.
func (b *bench) threads() []comparison {
	cancellable, cancel := context.WithCancel(ctx)
	_ = cancel // never: the jobs are to end by themselves
	trivial := func(n int) int { return n * n }
	return []comparison{
		goroutines(fmt.Sprintf("%d trivial jobs", b.some(10_000)), ctx, b.some(10_000), 1, trivial, square),
		goroutines(fmt.Sprintf("%d trivial jobs in a context that can end", b.some(10_000)), cancellable, b.some(10_000), 1, trivial, square),
		goroutines(fmt.Sprintf("%d jobs of some 10 µs", b.some(1000)), ctx, b.some(1000), alike, ground, grind),
	}
}

// goroutines is the comparison for one job, which f is as a Func. A run repeats the
// jobs until they take long enough to be measured.
func goroutines(name string, ctx context.Context, n int, target float64, f job, fn *brood.Func[int, int]) comparison {
	in := func(name string, run func(ctx context.Context, n int, f job) (sum int, err error)) side {
		return side{name: name, target: target, run: func() (float64, error) {
			const times = 20
			began := time.Now()
			for range times {
				sum, err := run(ctx, n, f)
				if err == nil {
					err = checkSum(sum, n)
				}
				if err != nil {
					return 0, err
				}
			}
			return time.Since(began).Seconds() / float64(times*n), nil
		}}
	}
	return comparison{name, 0, []side{
		in("brood", func(ctx context.Context, n int, _ job) (int, error) { return inBrood(ctx, n, fn) }),
		in("ants, a slot for each result and one WaitGroup", inAnts),
		in("ants, a channel for each result", inAntsByChannel),
		in("pond, result pool", inPond),
		in("conc, result pool", inConc),
		in("errgroup, a slot for each result", inErrgroup),
	}}
}

func inBrood(ctx context.Context, n int, f *brood.Func[int, int]) (sum int, err error) {
	p, err := brood.NewThreadPool(brood.PoolOptions{Workers: runtime.NumCPU()})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	fs := make([]*brood.Future[int], n)
	for i := range fs {
		fs[i] = f.Submit(ctx, p, i)
	}
	for _, f := range fs {
		v, err := f.Result(ctx)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// inAnts is ants as most use it. A panic is logged and its result missing.
func inAnts(ctx context.Context, n int, f job) (sum int, err error) {
	p, err := ants.NewPool(runtime.NumCPU())
	if err != nil {
		return 0, err
	}
	defer p.Release()
	results := make([]int, n)
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range results {
		if err := p.Submit(func() {
			defer wg.Done()
			if ctx.Err() == nil {
				results[i] = f(i)
			}
		}); err != nil {
			return 0, err
		}
	}
	wg.Wait()
	for _, v := range results {
		sum += v
	}
	return sum, nil
}

// inAntsByChannel lets the submitter wait for each job by itself, as futures do.
func inAntsByChannel(ctx context.Context, n int, f job) (sum int, err error) {
	p, err := ants.NewPool(runtime.NumCPU())
	if err != nil {
		return 0, err
	}
	defer p.Release()
	results := make([]chan int, n)
	for i := range results {
		results[i] = make(chan int, 1)
		if err := p.Submit(func() {
			v := 0
			defer func() { results[i] <- v }()
			if ctx.Err() == nil {
				v = f(i)
			}
		}); err != nil {
			return 0, err
		}
	}
	for _, c := range results {
		sum += <-c
	}
	return sum, nil
}

// inPond is the nearest to brood: each job has its typed result, its error and its
// panic by itself.
func inPond(ctx context.Context, n int, f job) (sum int, err error) {
	p := pond.NewResultPool[int](runtime.NumCPU(), pond.WithContext(ctx))
	defer p.StopAndWait()
	tasks := make([]pond.ResultTask[int], n)
	for i := range tasks {
		tasks[i] = p.SubmitErr(func() (int, error) { return f(i), nil })
	}
	for _, t := range tasks {
		v, err := t.Wait()
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// inConc has all results at the end, in no order, and raises a panic there.
func inConc(ctx context.Context, n int, f job) (sum int, err error) {
	p := pool.NewWithResults[int]().WithContext(ctx).WithMaxGoroutines(runtime.NumCPU())
	for i := range n {
		p.Go(func(context.Context) (int, error) { return f(i), nil })
	}
	results, err := p.Wait()
	for _, v := range results {
		sum += v
	}
	return sum, err
}

// inErrgroup has all results at the end; a panic ends the program.
func inErrgroup(ctx context.Context, n int, f job) (sum int, err error) {
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	results := make([]int, n)
	for i := range results {
		g.Go(func() error {
			results[i] = f(i)
			return nil
		})
	}
	err = g.Wait()
	for _, v := range results {
		sum += v
	}
	return sum, err
}
