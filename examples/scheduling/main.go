// The chapter "scheduling". When several jobs want one CPU a policy decides which gets it:
// first come, first served (fcfs); shortest job first (sjf); round robin (rr), a slice for
// each in turn; and the multi-level feedback queue (mlfq), which knows no lengths: a
// newcomer starts at the top, and who has used much sinks level by level. The same four
// jobs under each, simulated: a chart, the times, and a picture in SVG.
//
// Python: none; there the system's scheduler decides, unseen. Here: sched.Simulate.
package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/brood-go/brood/chart"
	"github.com/brood-go/brood/sched"
)

const s = time.Second

// The jobs: when they come, and for how long they compute.
var jobs = sched.Workload{
	{Name: "A", Arrive: 0, Bursts: []time.Duration{8 * s}},
	{Name: "B", Arrive: 1 * s, Bursts: []time.Duration{4 * s}},
	{Name: "C", Arrive: 2 * s, Bursts: []time.Duration{1 * s}},
	{Name: "D", Arrive: 8 * s, Bursts: []time.Duration{2 * s}},
}

// A job of mlfq moves down after 1 s at level 0, and after 2 s at level 1.
var policies = []sched.Policy{
	&sched.FCFS{},
	&sched.SJF{},
	&sched.RR{Slice: 2 * s},
	&sched.MLFQ{Levels: []sched.Level{{Slice: 2 * s, Allotment: 1 * s}, {Slice: 2 * s, Allotment: 2 * s}, {Slice: 2 * s}}, Boost: -1},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var results []*sched.Result
	var charts []chart.Schedule
	for _, p := range policies {
		r, err := sched.Simulate(jobs, p, sched.Machine{CPUs: 1})
		if err != nil {
			return err
		}
		_, levels := p.(sched.Leveler)
		results = append(results, r)
		charts = append(charts, chart.Schedule{
			Title: r.Policy, Spans: sched.Spans(r.Trace, r.Summary.Makespan),
			Name: name, End: r.Summary.Makespan, Levels: levels,
		})
	}
	for i := range charts {
		if err := chart.Text(os.Stdout, &charts[i], chart.TextOptions{}); err != nil {
			return err
		}
		fmt.Println()
	}
	if err := chart.Legend(os.Stdout, chart.TextOptions{Width: 80}, true); err != nil {
		return err
	}
	table("waiting", results, func(o *sched.Outcome) time.Duration { return o.Waiting })
	table("turnaround", results, (*sched.Outcome).Turnaround)
	table("response", results, (*sched.Outcome).Response)
	levels(charts[len(charts)-1].Spans)
	return picture(charts)
}

func name(j sched.Job) string { return jobs[j-1].Name }

// table prints a time of each job under each policy, and its mean.
func table(title string, results []*sched.Result, of func(*sched.Outcome) time.Duration) {
	fmt.Printf("\n%-12s", title)
	for _, j := range jobs {
		fmt.Printf("%4s", j.Name)
	}
	fmt.Println("    mean")
	for _, r := range results {
		fmt.Printf("%-12s", r.Policy)
		sum := 0.0
		for i := range r.Jobs {
			v := of(&r.Jobs[i]).Seconds()
			sum += v
			fmt.Printf("%4g", v)
		}
		fmt.Printf("%8.2f\n", sum/float64(len(r.Jobs)))
	}
}

// levels tells when each job ran, and at which level.
func levels(spans []sched.Span) {
	fmt.Println()
	for j := range jobs {
		var ran []string
		for _, span := range spans {
			if int(span.Job) == j+1 && span.State == sched.Running {
				ran = append(ran, fmt.Sprintf("%g-%g at level %d", span.From.Seconds(), span.To.Seconds(), span.Level))
			}
		}
		fmt.Printf("mlfq: %s comes at %g and runs %s\n", jobs[j].Name, jobs[j].Arrive.Seconds(), strings.Join(ran, ", "))
	}
}

// picture draws all of it, for a browser.
func picture(charts []chart.Schedule) (err error) {
	var f *os.File
	if len(os.Args) > 1 {
		f, err = os.Create(os.Args[1])
	} else {
		f, err = os.CreateTemp("", "scheduling-*.svg")
	}
	if err != nil {
		return err
	}
	err = chart.SVG(f, chart.Document{Title: "The same jobs under each policy", Schedules: charts})
	fmt.Println("\nthe picture:", f.Name())
	return cmp.Or(err, f.Close())
}
