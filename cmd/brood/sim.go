package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/brood-go/brood/chart"
	"github.com/brood-go/brood/sched"
)

// simHelp is what brood sim --help prints.
const simHelp = `Simulate scheduling policies: the same jobs under each, as a chart and a table.

usage: brood sim [flags]

Jobs (without --workload: five small ones that show the differences)
      --workload FILE      CSV with a header, or JSON; - is standard input. Columns:
                           name,arrive,bursts,expect,priority,nopause. bursts are CPU
                           time, wait, CPU time ... in seconds or with units
      --workload JOBLOG    a job log of brood run or GNU parallel: what its jobs would
                           have cost under each policy, all there at the start
      --workload SPEC      jobs by chance: jobs=N,load=L,sizes=KIND,wait=W,bursts=N,seed=N;
                           KIND is const:S, exp:MEAN, pareto:ALPHA:LOW:HIGH or
                           bimodal:SHORT:LONG:P
      --seed N             the same as seed=N
      --expect WHAT        what policies are told of lengths: exact, given (by the
                           column expect), nothing (exact)

Machine
      --cpus N             CPUs (1; for a job log as many as there are here)
      --degree N           jobs in memory at once (any number)
      --switch COST        what it costs to put another job on a CPU (0)

Policies
      --policy LIST        of fcfs, sjf, lpt, rr, mlfq, srpt, priority (all but the last)
      --slice DURATION     a turn, of rr and mlfq (100ms)
      --allotments LIST    of the levels of mlfq but the lowest (by the jobs, from 1s,10s)
      --boost DURATION     between two boosts of mlfq, 0 for none (10 allotments)
      --patience DURATION  after which sjf, lpt and srpt take a job whatever its length

Output
      --rows N             show so many jobs in each chart (what fits on the screen)
      --width N            columns (those of the terminal; 80)
      --no-chart           only the table
      --json               all figures and jobs as JSON instead; times in seconds
      --svg FILE           a picture, for a browser
      --trace FILE         for ui.perfetto.dev or chrome://tracing

Waiting is the time a job neither ran nor was blocked, turnaround that from its
arrival to its end, response that to its first moment on a CPU, slowdown its turnaround
by what it would have taken alone. Fairness is 1 if all were slowed down alike.

Examples
  brood sim
  brood sim --policy fcfs,rr --slice 2s --cpus 2
  brood sim --policy mlfq --slice 1s --allotments 1s,2s --boost 10s --svg mlfq.svg
  brood sim --workload jobs=300,load=0.8,sizes=pareto:1.1:0.1:60 --no-chart
  printf 'name,bursts\nA,24\nB,3\nC,3\n' | brood sim --workload - --policy fcfs,rr --slice 4s
  brood run --joblog jobs.log sleep ::: 0.2 0.5 0.1 && brood sim --workload jobs.log
`

// simFlags are the flags of brood sim as they were given.
type simFlags struct {
	workload, expect, allotments, svg, trace string
	policy                                   []string
	cpus, degree, rows, width                int
	slice, boost, patience, cost             duration
	seed                                     uint64
	json, noChart                            bool

	noBoost, seeded bool // --boost 0, --seed was given
}

// Bounds of what is kept of a simulation, and how large it gets.
const (
	mostCPUs    = 1_000_000
	chartedJobs = 2_000  // without --rows
	drawnJobs   = 50_000 // in files
)

// Turns of rr and mlfq: those that the default slice leads to, with a trace and without,
// and those that a slice given may lead to.
const (
	tracedTurns    time.Duration = 500_000
	simulatedTurns time.Duration = 20_000_000
	keptTurns      time.Duration = 5_000_000
	longestRun     time.Duration = 2_000_000_000
)

func simCommand() *cobra.Command {
	f := &simFlags{}
	c := &cobra.Command{
		Use:                   "sim [flags]",
		Short:                 "Simulate scheduling policies: charts, and a table side by side",
		DisableFlagsInUseLine: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("brood sim takes no arguments, but %q: name the jobs with --workload", args[0])
			}
			if err := refuseEmpty(c.Flags()); err != nil {
				return err
			}
			f.noBoost = c.Flags().Changed("boost") && f.boost.Duration == 0
			f.seeded = c.Flags().Changed("seed")
			return f.run(c)
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.workload, "workload", "", "")
	fl.Uint64Var(&f.seed, "seed", 0, "")
	fl.StringVar(&f.expect, "expect", "exact", "")
	fl.IntVar(&f.cpus, "cpus", 0, "")
	fl.IntVar(&f.degree, "degree", 0, "")
	fl.Var(&f.cost, "switch", "")
	fl.StringSliceVar(&f.policy, "policy", []string{"fcfs", "sjf", "lpt", "rr", "mlfq", "srpt"}, "")
	fl.Var(&f.slice, "slice", "")
	fl.StringVar(&f.allotments, "allotments", "", "")
	fl.Var(&f.boost, "boost", "")
	fl.Var(&f.patience, "patience", "")
	fl.IntVar(&f.rows, "rows", 0, "")
	fl.IntVar(&f.width, "width", 0, "")
	fl.BoolVar(&f.noChart, "no-chart", false, "")
	fl.BoolVar(&f.json, "json", false, "")
	fl.StringVar(&f.svg, "svg", "", "")
	fl.StringVar(&f.trace, "trace", "", "")
	c.SetHelpFunc(func(c *cobra.Command, _ []string) {
		if _, err := io.WriteString(c.OutOrStdout(), simHelp); err != nil {
			say("%v", err)
			os.Exit(ownError)
		}
	})
	completeSim(c)
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w (see brood sim --help)", err)
	})
	return c
}

// simRun is one brood sim.
type simRun struct {
	*simFlags
	load    *load
	machine sched.Machine
	levels  []sched.Level
	out     *bufio.Writer
	text    chart.TextOptions
	charts  bool

	results   []*sched.Result // without what was not kept
	schedules []chart.Schedule
}

func (f *simFlags) run(c *cobra.Command) error {
	r := &simRun{simFlags: f, out: bufio.NewWriterSize(c.OutOrStdout(), 64<<10)}
	if err := r.prepare(c.InOrStdin()); err != nil {
		return err
	}
	files, err := openOutputs(f.trace, f.svg)
	if err != nil {
		return err
	}
	defer files.close()
	if err := r.simulate(); err != nil {
		return err
	}
	if err := r.out.Flush(); err != nil {
		return err
	}
	return files.write(chart.Document{Title: "brood sim: " + r.load.from, Note: r.describe(), Schedules: r.schedules}, nil)
}

// prepare reads the flags and the workload.
func (r *simRun) prepare(stdin io.Reader) (err error) {
	switch {
	case r.cpus < 0 || r.cpus > mostCPUs:
		return fmt.Errorf("--cpus %d: use 1 to %d", r.cpus, mostCPUs)
	case r.degree < 0:
		return fmt.Errorf("--degree %d: say how many jobs may be in memory at once, or leave it away", r.degree)
	case r.rows < 0:
		return fmt.Errorf("--rows %d: say how many jobs are to be shown", r.rows)
	case r.width < 0 || r.width > 10_000:
		return fmt.Errorf("--width %d: use 20 to 10000 columns", r.width)
	}
	for _, x := range []struct {
		flag  string
		given bool
		of    []string
	}{
		{"slice", r.slice.given, []string{"rr", "mlfq"}},
		{"boost", r.boost.given, []string{"mlfq"}},
		{"allotments", r.allotments != "", []string{"mlfq"}},
		{"patience", r.patience.given, []string{"sjf", "lpt", "srpt"}},
	} {
		if x.given && !slices.ContainsFunc(r.policy, func(name string) bool { return slices.Contains(x.of, strings.ToLower(name)) }) {
			return fmt.Errorf("--%s is for %s, which --policy does not name: leave it away", x.flag, strings.Join(x.of, ", "))
		}
	}
	r.machine = sched.Machine{Degree: r.degree, Switch: r.cost.Duration}
	var ok bool
	if r.machine.Expect, ok = map[string]sched.Expectations{"exact": sched.Exact, "given": sched.Given, "nothing": sched.Nothing}[r.expect]; !ok {
		return fmt.Errorf("--expect %s: use exact, given or nothing", r.expect)
	}
	if r.load, err = r.readLoad(stdin); err != nil {
		return err
	}
	r.machine.CPUs = cmp.Or(r.cpus, r.load.cpus, 1)
	if r.load.example {
		r.slice.Duration = cmp.Or(r.slice.Duration, time.Second)
		r.allotments = cmp.Or(r.allotments, "1s,2s")
	}
	if err := r.setLevels(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for i, name := range r.policy {
		p, err := r.newPolicy(name)
		if err != nil {
			return fmt.Errorf("--policy: %w", bare(err))
		}
		if seen[p.String()] {
			return fmt.Errorf("--policy: %s is named twice", p)
		}
		seen[p.String()] = true
		r.policy[i] = p.String()
	}
	if len(r.policy) == 0 {
		return fmt.Errorf("--policy: name at least one of %s", strings.Join(sched.Names, ", "))
	}
	return r.plan()
}

// plan decides what is drawn and kept.
func (r *simRun) plan() error {
	jobs := len(r.load.w)
	width, height, err := term.GetSize(int(os.Stdout.Fd()))
	terminal := err == nil && width > 0
	if !terminal {
		width, height = 80, 26
	}
	r.text = chart.TextOptions{
		Width: max(cmp.Or(r.width, width), 20), Rows: cmp.Or(r.rows, max(height-6, 5)), More: "--rows N shows more",
		Color: terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", ASCII: !unicodeLocale(),
	}
	files := r.svg != "" || r.trace != ""
	r.charts = !r.noChart && !r.json
	if r.charts && r.rows == 0 && jobs > chartedJobs {
		r.charts = false
		note("no charts of %d jobs: --rows N shows the first N, --no-chart silences this", jobs)
	}
	if files && jobs > drawnJobs {
		return fmt.Errorf("--svg and --trace of %d jobs: they are for at most %d; without them there is no limit", jobs, drawnJobs)
	}
	r.machine.NoTrace = !files && !r.charts
	return r.boundTurns()
}

// boundTurns sees that the turns of rr and mlfq can be simulated, and kept.
func (r *simRun) boundTurns() error {
	if !slices.ContainsFunc(r.policy, func(name string) bool { return name == "rr" || name == "mlfq" }) {
		return nil
	}
	var work, alone time.Duration
	for i := range r.load.w {
		work += r.load.w[i].CPU()
		alone += r.load.w[i].Alone()
	}
	most, usual := longestRun, simulatedTurns
	if !r.machine.NoTrace {
		most, usual = keptTurns, tracedTurns
	}
	turns := func(d, each time.Duration) bool { return each > 0 && d/each > most }
	if turns(work, r.slice.Duration) || turns(alone, r.boost.Duration) {
		return fmt.Errorf("--slice or --boost are too short for %s of jobs, which would take more than %d turns: use longer ones%s", chart.Duration(alone), most,
			map[bool]string{false: ", or --no-chart without --svg and --trace"}[r.machine.NoTrace])
	}
	slice := 100 * time.Millisecond
	if r.slice.Duration > 0 || work/slice <= usual {
		return nil
	}
	for i := 0; work/slice > usual; i++ {
		slice = slice * [...]time.Duration{20, 25, 20}[i%3] / 10 // 1, 2, 5, 10
	}
	r.slice.Duration = slice
	if err := r.setLevels(); err != nil {
		return err
	}
	note("rr and mlfq take turns of %s, for there is much to do: --slice sets it", chart.Duration(slice))
	return nil
}

// setLevels reads --slice and --allotments.
func (r *simRun) setLevels() error {
	r.levels = nil
	if r.allotments == "" {
		if r.slice.Duration > 0 {
			r.levels = make([]sched.Level, 3)
		}
	} else {
		for word := range strings.SplitSeq(r.allotments, ",") {
			d, err := parseDuration(strings.TrimSpace(word))
			if err != nil || d <= 0 {
				return fmt.Errorf("--allotments: %q is no CPU time: use durations from the highest level down, as in 1s,10s", word)
			}
			r.levels = append(r.levels, sched.Level{Allotment: d})
		}
		r.levels = append(r.levels, sched.Level{})
	}
	for i := range r.levels {
		r.levels[i].Slice = r.slice.Duration
	}
	return nil
}

// newPolicy makes a policy with what the flags say.
func (r *simRun) newPolicy(name string) (sched.Policy, error) {
	p, err := sched.ByName(strings.TrimSpace(name))
	switch p := p.(type) {
	case *sched.RR:
		p.Slice = r.slice.Duration
	case *sched.MLFQ:
		p.Levels, p.Boost = r.levels, r.boost.Duration
		if r.noBoost {
			p.Boost = -1
		}
	case *sched.SJF:
		p.Patience = r.patience.Duration
	case *sched.LPT:
		p.Patience = r.patience.Duration
	case *sched.SRPT:
		p.Patience, p.Clairvoyant = r.patience.Duration, r.machine.Expect == sched.Exact
	}
	return p, err
}

// bare is an error of package sched without its prefix.
func bare(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "sched: ")) }

// simulate runs the policies one after the other and writes what there is to say.
func (r *simRun) simulate() error {
	if r.json {
		return r.simulateJSON()
	}
	between := " "
	if chart.Width(r.load.from+": "+r.describe()) > r.text.Width {
		between = "\n"
	}
	r.out.WriteString(r.load.from + ":" + between + r.describe() + "\n")
	for _, name := range r.policy {
		res, err := r.one(name)
		if err != nil {
			return err
		}
		res.Jobs, res.Trace = nil, nil
		r.results = append(r.results, res)
	}
	if r.charts {
		if err := r.draw(); err != nil {
			return err
		}
	}
	r.out.WriteByte('\n')
	t := newTable(r.results)
	t.write(r.out, r.text.Width, r.text.Color)
	r.setFigures(t)
	return nil
}

// draw draws the charts, all on the same axis.
func (r *simRun) draw() error {
	levels, end := false, time.Duration(0)
	all := make([]*chart.Schedule, len(r.schedules))
	for i := range r.schedules {
		s := r.schedules[i]
		all[i] = &s
		levels, end = levels || s.Levels, max(end, s.End)
	}
	if len(r.load.w) > r.text.Rows { // nothing is shown of what comes after the first ones
		end = 0
		for _, s := range all {
			for _, span := range s.Spans {
				if int(span.Job) <= r.text.Rows {
					end = max(end, span.To)
				}
			}
		}
	}
	r.text.Unit = chart.Unit(all...)
	for _, s := range all {
		s.End = end
		r.out.WriteByte('\n')
		if err := chart.Text(r.out, s, r.text); err != nil {
			return err
		}
	}
	r.out.WriteByte('\n')
	return chart.Legend(r.out, r.text, levels)
}

// setFigures tells the pictures what the table says.
func (r *simRun) setFigures(t *table) {
	for i := range r.schedules {
		r.schedules[i].Figures = t.figures(i)
	}
}

// one simulates one policy, and keeps its schedule if it is drawn.
func (r *simRun) one(name string) (*sched.Result, error) {
	p, err := r.newPolicy(name)
	if err != nil {
		return nil, err
	}
	res, err := sched.Simulate(r.load.w, p, r.machine)
	if err != nil {
		return nil, bare(err)
	}
	if r.machine.NoTrace {
		return res, nil
	}
	_, levels := p.(sched.Leveler)
	s := chart.Schedule{Title: p.String(), Levels: levels, Name: r.load.name}
	for i := range res.Jobs {
		s.End = max(s.End, res.Jobs[i].End)
	}
	trace := res.Trace
	if r.trace == "" && r.svg == "" && len(r.load.w) > chartedJobs { // a chart of the first ones
		s.Jobs = len(r.load.w)
		trace = slices.DeleteFunc(trace, func(c sched.Change) bool { return int(c.Job) > r.text.Rows })
	}
	s.Spans = sched.Spans(trace, s.End)
	if s.Jobs > 0 {
		s.Spans = slices.Clone(s.Spans)
	}
	r.schedules = append(r.schedules, s)
	return res, nil
}

// describe says what is simulated.
func (r *simRun) describe() string {
	s := fmt.Sprintf("%s, %s of CPU time, %s", count(len(r.load.w), "job"), chart.Duration(r.load.w.CPU()), count(r.machine.CPUs, "CPU"))
	if r.machine.Degree > 0 {
		s += fmt.Sprintf(", at most %d in memory", r.machine.Degree)
	}
	if r.machine.Switch > 0 {
		s += fmt.Sprintf(", a switch costs %s", chart.Duration(r.machine.Switch))
	}
	if r.machine.Expect != sched.Exact {
		s += ", lengths as " + map[sched.Expectations]string{sched.Given: "given", sched.Nothing: "nobody knows"}[r.machine.Expect]
	}
	return s
}

// unicodeLocale reports whether the environment says nothing against UTF-8.
func unicodeLocale() bool {
	l := strings.ToLower(cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG")))
	return l == "" || strings.Contains(l, "utf-8") || strings.Contains(l, "utf8")
}
