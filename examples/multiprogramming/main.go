// The chapter "multiprogramming". Several programs are in memory and share one CPU: when
// one of them waits for I/O, another one computes. How many are in memory is the degree of
// multiprogramming. Of degree 1 the CPU waits along with its only job; of degree 3 the waits
// of three jobs lie side by side, although no two of them compute at once: that is
// concurrent, and not parallel.
//
// Python: none; multiprocessing starts what it is told at once. Here: batch.Options.Degree.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/chart"
	"github.com/brood-go/brood/sched"
)

// Each job computes, waits, and computes again. It waits far longer than it computes, so
// that there is something to gain also on a busy machine, where to compute takes longer.
const (
	computing = 40 * time.Millisecond
	waiting   = 480 * time.Millisecond
)

var names = []string{"A", "B", "C"}

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	if len(os.Args) == 2 && os.Args[1] == "job" { // started by execute
		compute(computing)
		time.Sleep(waiting)
		compute(computing)
		return nil
	}
	for _, degree := range []int{1, 3} {
		if err := simulate(degree); err != nil {
			return err
		}
		if err := execute(ctx, degree); err != nil {
			return err
		}
	}
	return nil
}

// simulate draws what the jobs do on one CPU if nothing else costs time.
func simulate(degree int) error {
	var w sched.Workload
	for _, name := range names {
		w = append(w, sched.Work{Name: name, Bursts: []time.Duration{computing, waiting, computing}})
	}
	r, err := sched.Simulate(w, &sched.FCFS{}, sched.Machine{CPUs: 1, Degree: degree})
	if err != nil {
		return err
	}
	err = chart.Text(os.Stdout, &chart.Schedule{
		Title: fmt.Sprintf("degree %d, as it should be", degree),
		Spans: sched.Spans(r.Trace, r.Summary.Makespan),
		Name:  func(j sched.Job) string { return names[j-1] },
	}, chart.TextOptions{Width: 100})
	fmt.Printf("degree %d simulated: total %d ms, CPU use %.0f %%\n", degree, r.Summary.Makespan.Milliseconds(), 100*r.Summary.CPUUse)
	return err
}

// execute runs the jobs as processes, of which one at a time may compute.
func execute(ctx context.Context, degree int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	jobs := func(yield func(batch.Job, error) bool) {
		for range names {
			if !yield(batch.Job{Command: batch.Command{Argv: []string{self, "job"}}}, nil) {
				return
			}
		}
	}
	var trace []sched.Change
	b, err := batch.New(batch.Options{
		Slots: 1, Degree: degree, Policy: &sched.FCFS{},
		Trace: func(c sched.Change) { trace = append(trace, c) },
	})
	if err != nil {
		return err
	}
	var sum time.Duration // of the jobs' own times
	summary, err := b.Each(ctx, jobs, func(r *batch.Result) error {
		sum += r.Runtime()
		if !r.OK() {
			return fmt.Errorf("a job ended with code %d: %v", r.Code(), r.Err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	total := summary.Wall
	fmt.Printf("degree %d in fact: total %d ms, CPU use %d %%, sum of the jobs' own times %d ms\n",
		degree, total.Milliseconds(), 100*summary.CPU/total, sum.Milliseconds())
	memory, running := atOnce(trace)
	fmt.Printf("degree %d at most at once: %d in memory, %d running\n\n", degree, memory, running)
	return nil
}

// atOnce is how many jobs were in memory at once at most, and how many of them ran.
func atOnce(trace []sched.Change) (memory, running int) {
	state := make(map[sched.Job]sched.State)
	for _, c := range trace {
		state[c.Job] = c.State
		m, r := 0, 0
		for _, s := range state {
			if s != sched.New && s != sched.Done {
				m++
			}
			if s == sched.Running {
				r++
			}
		}
		memory, running = max(memory, m), max(running, r)
	}
	return memory, running
}

// compute keeps the CPU busy until this process has had so much of it. However busy the
// machine is, the work is the same.
func compute(d time.Duration) {
	for end := used() + d; used() < end; {
		for range 100_000 {
		}
	}
}

// used is the CPU time of this process. Linux says it in ticks of 10 ms.
func used() time.Duration {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		panic(err)
	}
	fields := strings.Fields(string(stat))
	user, _ := strconv.Atoi(fields[13])
	system, _ := strconv.Atoi(fields[14])
	return time.Duration(user+system) * 10 * time.Millisecond
}
