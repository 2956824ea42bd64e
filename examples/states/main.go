// The chapter "states". A process in memory is ready (it could run, and has no CPU),
// running, or blocked (it waits for something, and could not use a CPU). What moves it from
// one state to another has names: it is admitted and dispatched, its slice is used up, it
// waits, the wait is over, it exits. The list of a job's transitions, beside a competitor
// under round robin: from the simulator, and from a real process.
//
// Python: none. Here: batch.Options.Trace, and the Trace of sched.Simulate.
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
	"github.com/brood-go/brood/sched"
)

const ms = time.Millisecond

// What is real is sampled: the system tells nobody that a process waits or has used up a
// slice, so brood looks every 10 ms, or more seldom on a busy machine. The lengths are such
// that the order of transitions is certain all the same:
//
//   - Bursts and slices are CPU time: of them a busy machine changes nothing.
//   - The job uses up one slice and half of the second one: 300 ms of CPU time are left for
//     the look that sees that the first one is used up, and again for that it waits.
//   - The competitor's slice is longer than the job's wait. So it is in the middle of one
//     when the wait is over, and the job has to stand in line, always.
var (
	slice = 600 * ms
	work  = sched.Workload{
		{Name: "the job", Bursts: []time.Duration{900 * ms, 400 * ms, 400 * ms}}, // compute, wait, compute
		{Name: "its competitor", Bursts: []time.Duration{1250 * ms}},
	}
)

func main() { brood.Main(run) }

func run(ctx context.Context) error {
	if len(os.Args) > 1 { // started by execute
		return job(os.Args[1:])
	}
	simulation, err := sched.Simulate(work, &sched.RR{Slice: slice}, sched.Machine{CPUs: 1, Degree: 2})
	if err != nil {
		return err
	}
	changes, err := execute(ctx)
	if err != nil {
		return err
	}
	left, right := list(simulation.Trace), list(changes)
	fmt.Printf("%-34s | %s\n", "simulated", "in fact")
	for i := range max(len(left), len(right)) {
		fmt.Printf("%-34s | %s\n", at(left, i), at(right, i))
	}
	return nil
}

// at is a line, empty if there are not as many.
func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// list is what happened to the first job.
func list(trace []sched.Change) (lines []string) {
	for _, c := range trace {
		if c.Job != 1 {
			continue
		}
		state := c.State.String()
		if c.State == sched.Held { // brood's word for: ready, and has run before
			state = "ready"
		}
		lines = append(lines, fmt.Sprintf("%5d ms  %-8s %s", c.At.Milliseconds(), state, c.Cause))
	}
	return lines
}

// execute runs the work as processes, of which one at a time has a place to compute.
func execute(ctx context.Context) (trace []sched.Change, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	jobs := func(yield func(batch.Job, error) bool) {
		for i := range work {
			argv := []string{self}
			for _, d := range work[i].Bursts {
				argv = append(argv, d.String())
			}
			if !yield(batch.Job{Command: batch.Command{Argv: argv}}, nil) {
				return
			}
		}
	}
	for r, err := range batch.Run(ctx, jobs, batch.Options{
		Slots: 1, Degree: 2, Policy: &sched.RR{Slice: slice},
		Trace: func(c sched.Change) { trace = append(trace, c) },
	}) {
		if err != nil {
			return nil, err
		}
		if !r.OK() {
			return nil, fmt.Errorf("%s ended with code %d: %v", r.Command, r.Code(), r.Err)
		}
	}
	return trace, nil
}

// job does what the bursts say: compute, wait, compute, and so on.
func job(bursts []string) error {
	for i, b := range bursts {
		d, err := time.ParseDuration(b)
		if err != nil {
			return err
		}
		if i%2 == 1 {
			time.Sleep(d)
			continue
		}
		for end := used() + d; used() < end; {
			for range 100_000 {
			}
		}
	}
	return nil
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
