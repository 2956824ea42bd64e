package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/sched"
)

// policyFlags are the flags about scheduling as they were given.
type policyFlags struct {
	policy, priority, noPreempt string
	degree                      int
	slice, patience             duration
	reserve                     bool
	known                       atomic.Int64 // jobs of which earlier runs tell
	delayed                     bool         // with --delay
	packs                       bool         // with --weight, --cpus or --mem-need

	rank  *batch.Template // --priority
	fixed *regexp.Regexp  // --no-preempt
}

// Defaults of the command's own: an endless input must not starve a job of low priority, and
// what a desktop needs stays free.
const (
	ageing         = time.Minute
	extraProcesses = 64 // the degree is that many more than -j
	freePart       = 20 // one part in so many of the memory
)

// define declares the flags and their lines in the page.
func (f *policyFlags) define(p *page) {
	s := p.section("Scheduling", "(jobs are paused and resumed so that as many compute at once as -j says)")
	s.string(&f.policy, "policy", "", "POLICY", "fcfs, sjf (shortest first), lpt (longest first), rr, mlfq, srpt")
	s.string(&f.priority, "priority", "", "COLUMN", "jobs with a higher number there first: 2, or {2}; each minute of waiting counts as one more")
	s.number(&f.degree, "degree", 0, "N", "jobs with a process at once, computing or not (-j and 64)")
	s.value(&f.slice, "slice", "DURATION", "CPU time of a turn of rr and mlfq (100ms, or by cost)")
	s.value(&f.patience, "patience", "DURATION", "after so long a wait sjf, lpt and srpt take a job whatever its length: for an input that never ends")
	s.boolean(&f.reserve, "reserve", "mlfq keeps one place for the oldest job (from -j8 on)")
	s.optional(&f.noPreempt, "no-preempt", "^", "REGEX", "never pause jobs (whose command matches)")
}

// asked reports whether jobs are scheduled by more than the order of the input.
func (f *policyFlags) asked() bool {
	return f.policy != "" || f.degree > 0 || f.priority != "" || f.packs
}

// set turns the flags into options of the batch.
func (f *policyFlags) set(o *batch.Options, tty bool) (err error) {
	if f.noPreempt != "" {
		if f.fixed, err = regexp.Compile(f.noPreempt); err != nil {
			return fmt.Errorf("--no-preempt=%s: %w: give a regular expression that the commands match, or none for all", f.noPreempt, err)
		}
	}
	if f.priority != "" {
		if err := f.setPriority(); err != nil {
			return err
		}
	}
	switch {
	case f.degree < 0:
		return fmt.Errorf("--degree %d: it is how many jobs may have a process at once: use at least 1", f.degree)
	case f.degree > batch.Unlimited:
		return fmt.Errorf("--degree %d is more than the %d processes that one brood can supervise", f.degree, batch.Unlimited)
	case f.slice.given && f.slice.Duration < time.Millisecond:
		return fmt.Errorf("--slice %s: a turn takes at least a millisecond: a pause alone takes as long", f.slice.Duration)
	case !f.asked() && f.slice.given:
		return errors.New("--slice is the time of a turn: add --policy rr or mlfq")
	case !f.asked() && f.patience.given:
		return errors.New("--patience is how long a job waits for shorter or longer ones: add --policy sjf, lpt or srpt")
	case f.reserve && !strings.EqualFold(f.policy, "mlfq"):
		return errors.New("--reserve keeps a place for the oldest job, which only mlfq could let wait for long: add --policy mlfq")
	case !f.asked() && f.noPreempt != "":
		return errors.New("--no-preempt keeps a policy from pausing jobs: add --policy, or leave it away")
	case !f.asked():
		return nil
	case tty:
		return errors.New("--tty gives the terminal to one job at a time, in the order of the input: leave --policy, --degree, --priority and --weight, --cpus or --mem-need away")
	}
	if o.Policy, err = f.newPolicy(); err != nil {
		return err
	}
	o.Measure, f.delayed = true, o.Delay > 0
	o.Degree = f.degree
	if takesTurns(o.Policy) && f.degree > 0 && f.degree <= o.Slots {
		return fmt.Errorf("--degree %d with -j %d leaves nothing to take turns with: use more than -j, or leave it away", f.degree, o.Slots)
	}
	if o.Degree == 0 {
		o.Degree = min(o.Slots+extraProcesses, batch.Unlimited)
	}
	if total, err := batch.TotalMemory(); o.MemFree == 0 && err == nil {
		o.MemFree = total / freePart
	}
	return nil
}

// setPriority reads --priority: the number of a column, or replacement strings.
func (f *policyFlags) setPriority() error {
	if f.policy != "" && f.policy != "priority" && f.policy != "backfill" {
		return fmt.Errorf("--priority orders by a number, --policy %s by something else: use one of them", f.policy)
	}
	text := f.rankText()
	if !strings.Contains(text, "{") {
		return fmt.Errorf("--priority %s: say where a job's number is: a column as in --priority 2, or a replacement string as in --priority {2}", f.priority)
	}
	t, err := batch.ParseArgv([]string{text})
	if err != nil {
		return fmt.Errorf("--priority: %w", err)
	}
	f.rank = t
	return nil
}

// rankText is --priority as a template.
func (f *policyFlags) rankText() string {
	if n, err := strconv.Atoi(f.priority); err == nil && n != 0 {
		return "{" + f.priority + "}"
	}
	return f.priority
}

// newPolicy makes the policy.
func (f *policyFlags) newPolicy() (sched.Policy, error) {
	name := f.policy
	switch {
	case f.packs && (name == "" || name == "backfill"):
		name = "backfill"
	case f.packs:
		return nil, fmt.Errorf("--weight, --cpus and --mem-need need the order of the input, or --priority: leave --policy %s away", name)
	case name == "" && f.priority != "":
		name = "priority"
	case name == "":
		name = "fcfs"
	}
	p, err := sched.ByName(name)
	if err != nil {
		return nil, fmt.Errorf("--policy %s: use one of %s", name, strings.Join(sched.Names, ", "))
	}
	patient := false
	switch p := p.(type) {
	case *sched.SJF:
		p.Patience, patient = f.patience.Duration, true
	case *sched.LPT:
		p.Patience, patient = f.patience.Duration, true
	case *sched.SRPT: // what is expected comes from the history
		p.Clairvoyant, p.Patience, patient = false, f.patience.Duration, true
	case *sched.Priority:
		p.Ageing = ageing
		if f.priority == "" {
			return nil, errors.New("--policy priority needs a number for each job: add --priority with the column that has it")
		}
	case *sched.RR:
		p.Slice = f.slice.Duration
	case *sched.MLFQ:
		p.Reserve = f.reserve
		if f.slice.given {
			p.Levels = make([]sched.Level, 3)
			for i := range p.Levels {
				p.Levels[i].Slice = f.slice.Duration
			}
		}
	}
	if f.slice.given && !takesTurns(p) {
		return nil, fmt.Errorf("--slice is the time of a turn, and %s has none: use --policy rr or mlfq", name)
	}
	if f.patience.given && !patient {
		return nil, fmt.Errorf("--patience is how long a job waits for shorter or longer ones, and with %s it does not: use --policy sjf, lpt or srpt", name)
	}
	return p, nil
}

// takesTurns reports whether a policy gives slices.
func takesTurns(p sched.Policy) bool {
	switch p.(type) {
	case *sched.RR, *sched.MLFQ:
		return true
	}
	return false
}

// byLength reports whether a policy orders by what is known of the jobs' lengths.
func byLength(p sched.Policy) bool {
	switch p.(type) {
	case *sched.SJF, *sched.LPT, *sched.SRPT:
		return true
	}
	return false
}

// wantsHistory reports whether it matters what earlier runs tell.
func (f *runFlags) wantsHistory() bool { return f.asked() || f.eta || f.bar || f.jsonOut }

// mark fills in what the policy is told of a job.
func (f *runFlags) mark(j *batch.Job, seq int) error {
	if f.wantsHistory() {
		e, _ := f.openHistory().Estimate(j.Values)
		if e.CPU > 0 {
			f.known.Add(1)
		}
		j.Expect = batch.Expectation{Wall: e.Wall, CPU: e.CPU, Memory: e.Memory}
	}
	if f.rank != nil {
		text, err := f.rank.Line(j.Values, batch.Numbers{Seq: seq, Slot: 1})
		if err != nil {
			return fmt.Errorf("job %d: --priority: %w", seq, err)
		}
		text = strings.TrimSpace(text)
		if j.Priority, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("job %d: --priority %s: %q is no whole number", seq, f.priority, text)
		}
	}
	if f.differ() {
		if err := f.demandFlags.mark(j, seq); err != nil {
			return err
		}
	}
	if f.fixed != nil {
		cmd := j.Command
		if j.Template != nil {
			cmd, _ = j.Template.Expand(j.Values, batch.Numbers{Seq: seq, Slot: 1}) // what is wrong is said when it runs
		}
		j.NoPause = f.fixed.MatchString(cmp.Or(cmd.Text, strings.Join(cmd.Argv, " ")))
	}
	return nil
}

// bought says what the policy did for the jobs, and what first come, first served would
// have done for the same ones, by the simulator. Empty if nothing can be said: a batch that
// was stopped has run those first that the policy likes, and one that was held, or whose starts
// were delayed, has waited for something else.
func (f *policyFlags) bought(sum batch.Summary, p sched.Policy, slots int, held bool) string {
	if _, packs := p.(*sched.Backfill); packs {
		return "" // the simulation knows no weights
	}
	if p == nil || len(sum.Outcomes) == 0 || sum.NotRun > 0 || sum.Halted || held || f.delayed {
		return ""
	}
	alone := time.Duration(0)
	for _, o := range sum.Outcomes {
		alone += o.CPU + o.Blocked
	}
	if alone/time.Duration(len(sum.Outcomes)) < tooShort {
		return "" // what starting one costs is not in the simulation
	}
	w := make(sched.Workload, len(sum.Outcomes))
	for i, o := range sum.Outcomes {
		w[i] = sched.Work{Name: o.Name, Arrive: max(o.Arrive, 0), Bursts: []time.Duration{o.CPU + o.Blocked}}
	}
	r, err := sched.Simulate(w, &sched.FCFS{}, sched.Machine{CPUs: slots, NoTrace: true})
	if err != nil {
		return ""
	}
	own := sched.Summarise(sum.Outcomes, slots)
	var all strings.Builder
	fmt.Fprintf(&all, "%s: mean response %s, mean turnaround %s; first come, first served on %s would have given %s and %s, had each job taken as long as it did",
		p, short(own.Response.Mean), short(own.Turnaround.Mean), count(slots, "slot"), short(r.Summary.Response.Mean), short(r.Summary.Turnaround.Mean))
	switch n := len(sum.Outcomes); {
	case n == batch.MaxOutcomes:
		fmt.Fprintf(&all, " (of the first %d jobs to end)", n)
	case n < sum.Done:
		fmt.Fprintf(&all, " (of the %d jobs of %d that ended by themselves at the first try)", n, sum.Done)
	}
	if byLength(p) && f.known.Load() == 0 {
		all.WriteString("; nothing was known of the jobs' lengths: the next run of the same commands will know")
	}
	return all.String()
}
