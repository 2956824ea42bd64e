package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/sched"
)

// policyFlags are the flags about scheduling as they were given.
type policyFlags struct {
	policy, priority, noPreempt, memFree string
	degree                               int
	slice                                duration

	rank  *batch.Template // --priority
	fixed *regexp.Regexp  // --no-preempt
}

// Defaults of the command's own: an endless input must not starve a job, and what a
// desktop needs stays free.
const (
	patience       = time.Hour
	ageing         = time.Minute
	extraProcesses = 64 // the degree is that many more than -j
	freePart       = 20 // one part in so many of the memory
)

func (f *policyFlags) define(fl *pflag.FlagSet) {
	fl.StringVar(&f.policy, "policy", "", "")
	fl.IntVar(&f.degree, "degree", 0, "")
	fl.Var(&f.slice, "slice", "")
	fl.StringVar(&f.priority, "priority", "", "")
	fl.StringVar(&f.noPreempt, "no-preempt", "", "")
	fl.Lookup("no-preempt").NoOptDefVal = "^"
	fl.StringVar(&f.memFree, "memfree", "", "")
}

// asked reports whether jobs are scheduled by more than the order of the input.
func (f *policyFlags) asked() bool { return f.policy != "" || f.degree > 0 || f.priority != "" }

// set turns the flags into options of the batch.
func (f *policyFlags) set(o *batch.Options, tty bool) (err error) {
	if f.memFree != "" {
		if o.MemFree, err = batch.ParseSize(f.memFree); err != nil {
			return fmt.Errorf("--memfree: %w", err)
		}
	}
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
	case !f.asked() && f.slice.Duration > 0:
		return errors.New("--slice is the time of a turn: add --policy rr or mlfq")
	case !f.asked() && f.noPreempt != "":
		return errors.New("--no-preempt keeps a policy from pausing jobs: add --policy, or leave it away")
	case !f.asked():
		return nil
	case tty:
		return errors.New("--tty gives the terminal to one job at a time, in the order of the input: leave --policy, --degree and --priority away")
	}
	if o.Policy, err = f.newPolicy(); err != nil {
		return err
	}
	o.Measure = true
	o.Degree = f.degree
	if o.Degree == 0 {
		o.Degree = min(o.Slots+extraProcesses, batch.Unlimited)
	}
	if total, err := batch.TotalMemory(); f.memFree == "" && err == nil {
		o.MemFree = total / freePart
	}
	return nil
}

// setPriority reads --priority: the number of a column, or replacement strings.
func (f *policyFlags) setPriority() error {
	if f.policy != "" && f.policy != "priority" {
		return fmt.Errorf("--priority orders by a number, --policy %s by something else: use one of them", f.policy)
	}
	text := f.priority
	if n, err := strconv.Atoi(text); err == nil && n != 0 {
		text = "{" + text + "}"
	}
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

// newPolicy makes the policy.
func (f *policyFlags) newPolicy() (sched.Policy, error) {
	name := f.policy
	switch {
	case name == "" && f.priority != "":
		name = "priority"
	case name == "":
		name = "fcfs"
	}
	p, err := sched.ByName(name)
	if err != nil {
		return nil, fmt.Errorf("--policy %s: use one of %s", name, strings.Join(sched.Names, ", "))
	}
	switch p := p.(type) {
	case *sched.SJF:
		p.Patience = patience
	case *sched.LPT:
		p.Patience = patience
	case *sched.SRPT: // what is expected comes from the history
		p.Clairvoyant, p.Patience = false, patience
	case *sched.Priority:
		p.Ageing = ageing
		if f.priority == "" {
			return nil, errors.New("--policy priority needs a number for each job: add --priority with the column that has it")
		}
	case *sched.RR:
		p.Slice = f.slice.Duration
		return p, nil
	case *sched.MLFQ:
		if f.slice.Duration > 0 {
			p.Levels = make([]sched.Level, 3)
			for i := range p.Levels {
				p.Levels[i].Slice = f.slice.Duration
			}
		}
		return p, nil
	}
	if f.slice.Duration > 0 {
		return nil, fmt.Errorf("--slice is the time of a turn, and %s has none: use --policy rr or mlfq", name)
	}
	return p, nil
}

// mark fills in what the policy is told of a job.
func (f *runFlags) mark(j *batch.Job, seq int) error {
	if f.asked() || f.eta || f.bar || f.jsonOut {
		e, _ := f.openHistory().Estimate(j.Values)
		j.Expect = batch.Expectation{Wall: e.Wall, CPU: e.CPU, Memory: e.Memory}
	}
	if f.rank != nil {
		cmd, err := f.rank.Expand(j.Values, seq, 1)
		if err != nil {
			return fmt.Errorf("job %d: --priority: %w", seq, err)
		}
		text := strings.TrimSpace(cmd.Argv[0])
		if j.Priority, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("job %d: --priority %s: %q is no whole number", seq, f.priority, text)
		}
	}
	if f.fixed != nil {
		cmd := j.Command
		if j.Template != nil {
			cmd, _ = j.Template.Expand(j.Values, seq, 1) // what is wrong is said when it runs
		}
		j.NoPause = f.fixed.MatchString(cmd.Text + strings.Join(cmd.Argv, " "))
	}
	return nil
}

// bought says what the policy did for the jobs, and what first come, first served would
// have done for the same ones, by the simulator. Empty if nothing can be said.
func bought(sum batch.Summary, p sched.Policy, slots int) string {
	if p == nil || len(sum.Outcomes) == 0 {
		return ""
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
	fmt.Fprintf(&all, "%s: mean response %s, mean turnaround %s; first come, first served on %s would have given %s and %s",
		p, short(own.Response.Mean), short(own.Turnaround.Mean), count(slots, "slot"), short(r.Summary.Response.Mean), short(r.Summary.Turnaround.Mean))
	if len(sum.Outcomes) < sum.Done {
		fmt.Fprintf(&all, " (of the first %s)", count(len(sum.Outcomes), "job"))
	}
	return all.String()
}
