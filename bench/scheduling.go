package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	jobs "github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/sched"
)

//go:embed peers/spin.c
var spinInC string

const (
	schedCPUs   = 2
	schedDegree = 64
	schedJobs   = 300
	schedSeeds  = 20
	schedLoad   = 0.8
)

// heavyTailed are the sizes of the open workloads: a bounded Pareto distribution with the
// exponent that was measured of Unix processes.
var heavyTailed = sched.Pareto{Alpha: 1.1, Low: 0.01, High: 10}

const aboutOpen = `%d jobs a seed, %d seeds; CPU-bound processes of bounded Pareto size (exponent 1.1, 10 ms to 10 s), Poisson arrivals, load 0.8 of 2 CPUs. The same workload, in turns: first come, first served (2 slots); MLFQ with its defaults and SRPT that is told the lengths, both with a degree of 64; ` + "`xargs -P2`" + ` that reads the jobs from a pipe as they arrive. The response is the mean time from a job's arrival to its end. simulated: by sched.Simulate, same seed.`

// scheduling prints what concerns policies.
func (b *bench) scheduling() error {
	spin, why := b.spinner()
	if why != "" {
		fmt.Fprintf(b.out, "## Scheduling\n\nleft out: %s\n\n", why)
		return nil
	}
	for _, part := range []struct {
		name string
		run  func(spin string) error
	}{{"scheduling, open arrivals", b.openArrivals}, {"scheduling, compute and wait", b.computeAndWait}, {"scheduling, longest first", b.longestFirst}, {"scheduling, simulator", b.simulator}} {
		if b.only.MatchString(part.name) {
			if err := part.run(spin); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	return nil
}

// spinner builds the program that the jobs run.
func (b *bench) spinner() (path, why string) {
	src := filepath.Join(b.dir, "spin.c")
	path = filepath.Join(b.dir, "spin")
	if err := os.WriteFile(src, []byte(spinInC), 0o644); err != nil {
		return "", err.Error()
	}
	if out, err := exec.Command("cc", "-O2", "-o", path, src).CombinedOutput(); err != nil {
		return "", fmt.Sprintf("the jobs' program can't be built: %v %s", err, out)
	}
	return path, ""
}

// argument is a job of a workload as spin takes it.
func argument(i int, w *sched.Work) string {
	s := strconv.Itoa(i)
	for _, d := range w.Bursts {
		s += ":" + strconv.FormatInt(d.Microseconds(), 10)
	}
	return s
}

// sinceBoot is the clock that spin prints.
func sinceBoot() time.Duration { return time.Duration(monotonic() * float64(time.Second)) }

// measured is what came of a real run.
type measured struct {
	response, makespan time.Duration
	cpu                time.Duration
	pauses             int
	costs              []float64 // of a pause and resume each, in seconds
}

// ends reads what the jobs printed.
func ends(w sched.Workload, begin time.Duration, text []byte) (m measured, err error) {
	n := 0
	for line := range strings.Lines(string(text)) {
		name, at, ok := strings.Cut(strings.TrimSpace(line), " ")
		i, err1 := strconv.Atoi(name)
		end, err2 := strconv.ParseInt(at, 10, 64)
		if !ok || err1 != nil || err2 != nil || i < 0 || i >= len(w) {
			return m, fmt.Errorf("a job said %q", line)
		}
		n++
		m.response += time.Duration(end) - begin - w[i].Arrive
		m.makespan = max(m.makespan, time.Duration(end)-begin)
	}
	if n != len(w) {
		return m, fmt.Errorf("%d of %d jobs have ended", n, len(w))
	}
	m.response /= time.Duration(n)
	return m, nil
}

// ours runs a workload by package batch.
func ours(spin string, w sched.Workload, o jobs.Options) (measured, error) {
	begin := sinceBoot()
	arriving := func(yield func(jobs.Job, error) bool) {
		for i := range w {
			time.Sleep(begin + w[i].Arrive - sinceBoot())
			j := jobs.Job{Command: jobs.Command{Argv: []string{spin, argument(i, &w[i])}}, Expect: jobs.Expectation{CPU: w[i].CPU()}}
			if !yield(j, nil) {
				return
			}
		}
	}
	var text bytes.Buffer
	var extra measured
	o.Observe = func(_ time.Duration, events []sched.Event, _ []sched.Decision) {
		for _, e := range events {
			if e.Kind == sched.Paused && e.Cost > 0 {
				extra.costs = append(extra.costs, e.Cost.Seconds())
			}
		}
	}
	b, err := jobs.New(o)
	if err != nil {
		return extra, err
	}
	sum, err := b.Each(context.Background(), iter.Seq2[jobs.Job, error](arriving), func(r *jobs.Result) error {
		_, err := io.Copy(&text, r.Stdout())
		return err
	})
	if err != nil {
		return extra, err
	}
	m, err := ends(w, begin, text.Bytes())
	m.cpu, m.costs = sum.CPU, extra.costs
	for _, o := range sum.Outcomes {
		m.pauses += o.Preemptions
	}
	return m, err
}

// xargs runs a workload by xargs, which reads the jobs from a pipe.
func xargs(spin string, w sched.Workload) (measured, error) {
	cmd := exec.Command("xargs", "-P", strconv.Itoa(schedCPUs), "-I{}", spin, "{}")
	in, err := cmd.StdinPipe()
	if err != nil {
		return measured{}, err
	}
	var text bytes.Buffer
	cmd.Stdout = &text
	if err := cmd.Start(); err != nil {
		return measured{}, err
	}
	begin := sinceBoot()
	out := bufio.NewWriter(in)
	for i := range w {
		time.Sleep(begin + w[i].Arrive - sinceBoot())
		fmt.Fprintln(out, argument(i, &w[i]))
		if err := out.Flush(); err != nil {
			return measured{}, err
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		return measured{}, err
	}
	return ends(w, begin, text.Bytes())
}

// series are ratios of several seeds.
type series []float64

func (s *series) add(a, b time.Duration) { *s = append(*s, float64(a)/float64(b)) }

// String is the median and the range.
func (s series) String() string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", median(s), slices.Min(s), slices.Max(s))
}

// openArrivals compares policies on real processes with heavy-tailed sizes.
func (b *bench) openArrivals(spin string) error {
	n, seeds := max(schedJobs/b.share, 30), max(schedSeeds/b.share, 2)
	var gain, gap, peer, live, liveFCFS, makespan, cpu, simGain, simGap series
	var pauses int
	var costs []float64
	for seed := range seeds {
		w, err := sched.Generator{Jobs: n, Sizes: heavyTailed, Load: schedLoad, CPUs: schedCPUs, Seed: uint64(seed + 1)}.Generate()
		if err != nil {
			return err
		}
		var real [3]measured
		var simulated [3]time.Duration
		for i, fresh := range []func() sched.Policy{
			func() sched.Policy { return &sched.FCFS{} },
			func() sched.Policy { return &sched.MLFQ{} },
			func() sched.Policy { return &sched.SRPT{Clairvoyant: true} },
		} {
			o := jobs.Options{Slots: schedCPUs, Policy: fresh(), Measure: true}
			if i > 0 {
				o.Degree = schedDegree
			}
			if real[i], err = ours(spin, w, o); err != nil {
				return err
			}
			r, err := sched.Simulate(w, fresh(), sched.Machine{CPUs: schedCPUs, NoTrace: true})
			if err != nil {
				return err
			}
			simulated[i] = r.Summary.Turnaround.Mean
		}
		x, err := xargs(spin, w)
		if err != nil {
			return err
		}
		gain.add(real[0].response, real[1].response)
		gap.add(real[1].response, real[2].response)
		peer.add(x.response, real[1].response)
		live.add(real[1].response, simulated[1])
		liveFCFS.add(real[0].response, simulated[0])
		makespan.add(real[1].makespan, real[0].makespan)
		cpu.add(real[1].cpu, real[0].cpu)
		simGain.add(simulated[0], simulated[1])
		simGap.add(simulated[1], simulated[2])
		pauses += real[1].pauses
		costs = append(costs, real[1].costs...)
	}
	fmt.Fprintf(b.out, "## Scheduling: policies on real processes\n\n"+aboutOpen+"\n\n| what | median (range) over the seeds | target | met |\n|---|---|---|---|\n", n, seeds)
	b.row("response: first come, first served / MLFQ", gain, "≥ 3", median(gain) >= 3)
	b.row("the same, simulated", simGain, "", false)
	most, err := simulatedGain(n, seeds, func() sched.Policy { return &sched.SRPT{Clairvoyant: true} })
	if err != nil {
		return err
	}
	b.row("the most that any policy could gain: first come, first served / SRPT, simulated", most, "", false)
	if most, err = simulatedGain(1000, seeds, func() sched.Policy { return &sched.MLFQ{} }); err != nil {
		return err
	}
	b.row("first come, first served / MLFQ, simulated, 1000 jobs a seed", most, "", false)
	b.row("response: MLFQ / SRPT", gap, "≤ 2", median(gap) <= 2)
	b.row("the same, simulated", simGap, "", false)
	b.row("response: `xargs -P2` / MLFQ", peer, "", false)
	b.row("response: MLFQ live / simulated", live, "0.80 to 1.20", median(live) >= 0.8 && median(live) <= 1.2)
	b.row("response: first come, first served live / simulated", liveFCFS, "", false)
	b.row("makespan: MLFQ / first come, first served", makespan, "≤ 1.05", median(makespan) <= 1.05)
	b.row("CPU time of the jobs: MLFQ / first come, first served", cpu, "", false)
	if slices.Sort(costs); len(costs) > 0 {
		fmt.Fprintf(b.out, "\nMLFQ paused a job %.0f times a seed. A pause and resume takes %s (median), %s (p99).\n\n",
			float64(pauses)/float64(seeds), seconds(median(costs)), seconds(costs[len(costs)*99/100]))
	}
	return nil
}

// simulatedGain is what a policy gains over first come, first served by the simulator.
func simulatedGain(n, seeds int, fresh func() sched.Policy) (s series, err error) {
	for seed := range seeds {
		w, err := sched.Generator{Jobs: n, Sizes: heavyTailed, Load: schedLoad, CPUs: schedCPUs, Seed: uint64(seed + 1)}.Generate()
		if err != nil {
			return nil, err
		}
		var turnaround [2]time.Duration
		for i, p := range []sched.Policy{&sched.FCFS{}, fresh()} {
			r, err := sched.Simulate(w, p, sched.Machine{CPUs: schedCPUs, NoTrace: true})
			if err != nil {
				return nil, err
			}
			turnaround[i] = r.Summary.Turnaround.Mean
		}
		s.add(turnaround[0], turnaround[1])
	}
	return s, nil
}

// row is a row of a table without times.
func (b *bench) row(what string, s series, target string, met bool) {
	text := ""
	if target != "" {
		text = yes(met)
	}
	fmt.Fprintf(b.out, "| %s | %s | %s | %s |\n", what, s, target, text)
}

// computeAndWait compares a degree of multiprogramming with xargs, on jobs that wait
// more than they compute.
func (b *bench) computeAndWait(spin string) error {
	var w sched.Workload
	for range max(80/b.share, 8) {
		var bursts []time.Duration
		for range 5 {
			bursts = append(bursts, 40*time.Millisecond, 120*time.Millisecond)
		}
		w = append(w, sched.Work{Bursts: bursts})
	}
	var ratio, pool series
	for range max(b.rounds, 2) {
		m, err := ours(spin, w, jobs.Options{Slots: schedCPUs, Degree: 8, Policy: &sched.FCFS{}})
		if err != nil {
			return err
		}
		x, err := xargs(spin, w)
		if err != nil {
			return err
		}
		plain, err := ours(spin, w, jobs.Options{Slots: schedCPUs})
		if err != nil {
			return err
		}
		ratio.add(x.makespan, m.makespan)
		pool.add(plain.makespan, m.makespan)
	}
	fmt.Fprintf(b.out, "## Scheduling: jobs that compute and wait\n\n%d jobs of five times 40 ms of CPU and 120 ms of waiting, 2 CPUs, `--degree 8`, first come, first served.\n\n| what | median (range) | target | met |\n|---|---|---|---|\n", len(w))
	b.row("throughput: `--degree 8` / `xargs -P2`", ratio, "≥ 1.5", median(ratio) >= 1.5)
	b.row("throughput: `--degree 8` / 2 slots alone", pool, "", false)
	fmt.Fprintln(b.out)
	return nil
}

// longestFirst compares the makespan of a batch that is run a second time, longest
// first by the history of the first time, with the least that is possible.
func (b *bench) longestFirst(spin string) error {
	var bound, fcfs series
	for seed := range max(8/b.share, 2) {
		w, err := sched.Generator{Jobs: 40, Sizes: sched.Pareto{Alpha: 1.1, Low: 0.05, High: 3}, Seed: uint64(seed + 1)}.Generate()
		if err != nil {
			return err
		}
		least := w.CPU() / schedCPUs
		var values []string
		for i := range w {
			least = max(least, w[i].CPU())
			values = append(values, argument(i, &w[i]))
		}
		history := filepath.Join(b.dir, fmt.Sprint("history", seed))
		var took [2]measured
		for i, policy := range []string{"fcfs", "lpt"} {
			args := append([]string{"run", "-j2", "--degree", "2", "--policy", policy, spin, ":::"}, values...)
			cmd := exec.Command(b.brood, args...)
			cmd.Env = append(os.Environ(), "BROOD_HISTORY="+history)
			begin := sinceBoot()
			out, err := cmd.Output()
			if err != nil {
				return err
			}
			if took[i], err = ends(w, begin, out); err != nil {
				return err
			}
		}
		bound.add(took[1].makespan, least)
		fcfs.add(took[0].makespan, least)
	}
	fmt.Fprintf(b.out, "## Scheduling: longest first, by the history of an earlier run\n\n40 jobs of bounded Pareto size that are there at once, 2 CPUs. The least possible makespan is all their CPU time on both CPUs, or the longest of them.\n\n| what | median (range) | target | met |\n|---|---|---|---|\n")
	b.row("makespan: `--policy lpt`, second run / least possible", bound, "≤ 1.17", median(bound) <= 7.0/6)
	b.row("makespan: first run, in the order of the input / least possible", fcfs, "", false)
	fmt.Fprintln(b.out)
	return nil
}

// simulator measures sched.Simulate as the number of jobs grows.
func (b *bench) simulator(string) error {
	fmt.Fprintf(b.out, "## Scheduling: the simulator\n\nBounded Pareto sizes; all jobs are there at the start, or arrive at a load of 0.9; MLFQ with its defaults on 2 CPUs.\n\n| jobs | there at the start | arriving | of an event |\n|---|---|---|---|\n")
	for n := 1000; n <= 1_000_000/b.share; n *= 10 {
		var took [2]time.Duration
		events := 0
		for i, load := range []float64{0, 0.9} {
			w, err := sched.Generator{Jobs: n, Sizes: sched.Pareto{Alpha: 1.1, Low: 0.05, High: 60}, Load: load, CPUs: schedCPUs, Seed: 1}.Generate()
			if err != nil {
				return err
			}
			p := &told{Policy: &sched.MLFQ{}}
			begin := time.Now()
			if _, err := sched.Simulate(w, p, sched.Machine{CPUs: schedCPUs, NoTrace: true}); err != nil {
				return err
			}
			took[i] = time.Since(begin)
			if i == 0 {
				events = p.events
			}
		}
		fmt.Fprintf(b.out, "| %d | %s | %s | %s |\n", n, seconds(took[0].Seconds()), seconds(took[1].Seconds()), seconds(took[0].Seconds()/float64(events)))
	}
	fmt.Fprintln(b.out)
	return nil
}

// told counts the events that a policy is told.
type told struct {
	sched.Policy
	events int
}

func (t *told) Decide(now time.Duration, events ...sched.Event) []sched.Decision {
	t.events += len(events)
	return t.Policy.Decide(now, events...)
}
