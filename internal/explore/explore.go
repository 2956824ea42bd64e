package explore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Options bound a search.
type Options struct {
	// Preemptions bounds how often Exhaust switches away from a strand that could go on;
	// -1 is no bound. Random ignores it.
	Preemptions int
	Kills       int // participants killed in a run, at most
	Cancels     int // contexts cancelled in a run, at most
	Jumps       int // times that the clock jumps ahead in a run, at most, where nothing forces it
	// AnyWake lets Wake choose any sleepers; otherwise it takes the longest asleep.
	AnyWake bool
	// Reduce lets Exhaust skip runs that differ in the order of independent steps only.
	// It needs Preemptions of -1, and strands that share nothing but words and sections:
	// the order of what they do to a variable of the case is not looked at.
	Reduce bool

	MaxSteps int // a run with more is a livelock; 0 is 5,000
	MaxRuns  int // Exhaust gives up after so many; 0 is 1,000,000

	Seed uint64 // of Random's first run; run i has Seed+i
	Runs int    // how many runs Random does; 0 is 10,000
}

func (o Options) withDefaults() Options {
	if o.MaxSteps == 0 {
		o.MaxSteps = 5000
	}
	if o.MaxRuns == 0 {
		o.MaxRuns = 1_000_000
	}
	if o.Runs == 0 {
		o.Runs = 10_000
	}
	if o.Reduce && o.Preemptions >= 0 {
		panic("explore: Reduce needs Preemptions of -1: a bound would count what is skipped")
	}
	return o
}

// Kind says in what way a run failed.
type Kind string

// The kinds of failures.
const (
	Hang     Kind = "hang"     // live strands sleep and nobody is left to wake them
	Livelock Kind = "livelock" // more steps than MaxSteps
	Panic    Kind = "panic"    // a strand panicked
	Failed   Kind = "failed"   // Fail was called, or too many were inside a section
	Final    Kind = "final"    // a check of Finally
)

// Failure is a run that failed.
type Failure struct {
	Kind     Kind
	Message  string
	Seed     uint64   // the run's, if Random found it
	Schedule string   // for Replay
	Trace    []string // a line for each operation
	Stack    string   // of a panic
}

// maxLines is how much of a trace Error shows, from the beginning and from the end.
const maxLines = 200

// Error is the message, the schedule and the trace.
func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\nschedule: %s\n", f.Kind, f.Message, f.Schedule)
	if f.Seed != 0 {
		fmt.Fprintf(&b, "seed: %d\n", f.Seed)
	}
	for i, line := range f.Trace {
		if more := len(f.Trace) - maxLines; more > 0 && i >= maxLines/2 && i < maxLines/2+more {
			if i == maxLines/2 {
				fmt.Fprintf(&b, "      … %d lines more …\n", more)
			}
			continue
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	b.WriteString(f.Stack)
	return b.String()
}

// Result is what a search found.
type Result struct {
	Runs      int      // those that were run to their end
	Skipped   int      // those that Reduce cut short
	Steps     int      // operations in all runs
	Exhausted bool     // Exhaust has seen everything within the bounds
	Failure   *Failure // nil if no run failed
}

// Err is the failure, or nil.
func (r Result) Err() error {
	if r.Failure == nil {
		return nil
	}
	return r.Failure
}

// String says how much was seen.
func (r Result) String() string {
	s := fmt.Sprintf("%d runs, %d skipped, %d steps", r.Runs, r.Skipped, r.Steps)
	if r.Exhausted {
		s += ", exhausted"
	}
	if r.Failure != nil {
		s += "\n" + r.Failure.Error()
	}
	return s
}

// Exhaust runs the case in every way that the options allow, those with fewest
// preemptions first, until a run fails.
func Exhaust(o Options, body func(*World)) Result {
	o = o.withDefaults()
	w := newWorld(o)
	defer w.close()
	var res Result
	for bound := min(o.Preemptions, 0); bound <= o.Preemptions; bound++ {
		w.limit = bound
		if o.Reduce {
			w.picker = newReduced()
		} else {
			w.picker = new(depthFirst)
		}
		for more := true; more; more = w.picker.backtrack() {
			if res.Runs+res.Skipped >= o.MaxRuns {
				return res
			}
			w.run(body)
			res.count(w)
			if w.failure != nil {
				res.Failure = w.explain(body)
				return res
			}
		}
	}
	res.Exhausted = true
	return res
}

// Random runs the case in ways that are chosen at random, until a run fails.
func Random(o Options, body func(*World)) Result {
	o = o.withDefaults()
	w := newWorld(o)
	defer w.close()
	var res Result
	source := rand.NewPCG(0, 0)
	w.anyTime = true
	picker := &random{rng: rand.New(source)}
	for i := range o.Runs {
		seed := o.Seed + uint64(i)
		source.Seed(mix(seed), mix(^seed))
		picker.start()
		w.picker, w.limit = picker, -1
		w.run(body)
		res.count(w)
		if w.failure != nil {
			res.Failure = w.explain(body)
			res.Failure.Seed = seed
			return res
		}
	}
	return res
}

// mix spreads a seed over 64 bits (splitmix64): the generator's first numbers would be alike
// for seeds that are.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Replay runs the case once, as a Failure's Schedule says. When the schedule ends before
// the run, strands go on one after the other. It fails where the schedule is not possible.
func Replay(schedule string, body func(*World)) Result {
	w := newWorld(Options{AnyWake: true, Kills: 1 << 20, Cancels: 1 << 20, Jumps: 1 << 20}.withDefaults())
	defer w.close()
	var res Result
	tokens, err := parse(schedule)
	if err != nil {
		res.Failure = &Failure{Kind: Failed, Message: err.Error(), Schedule: schedule}
		return res
	}
	w.follow(tokens, true, body)
	res.count(w)
	if w.failure != nil {
		w.failure.Schedule = schedule
		res.Failure = w.failure
	}
	return res
}

func (r *Result) count(w *World) {
	r.Steps += w.steps
	if w.skipped {
		r.Skipped++
	} else {
		r.Runs++
	}
}

// errUnsteady is how a run ends that does not follow what an earlier one did.
var errUnsteady = errors.New("the case does not do the same in the same schedule: it depends on time, chance or what an earlier run left behind")

// explain finds a simpler run with the failure of the last one, and traces it.
func (w *World) explain(body func(*World)) *Failure {
	found := w.failure
	tokens := w.tokens()
	if found.Kind != Livelock {
		tokens = w.shrink(tokens, body)
	}
	found.Schedule = format(tokens)
	w.follow(tokens, true, body)
	if w.failure == nil || w.failure.Kind != found.Kind {
		found.Message += "\n(no trace: " + errUnsteady.Error() + ")"
		return found
	}
	w.failure.Schedule = found.Schedule
	return w.failure
}

// follow runs the case as tokens say.
func (w *World) follow(tokens []token, strict bool, body func(*World)) {
	limit, picker, opts, anyTime := w.limit, w.picker, w.opts, w.anyTime
	w.opts.AnyWake, w.opts.Kills, w.opts.Cancels, w.opts.Jumps = true, 1<<20, 1<<20, 1<<20
	w.opts.MaxSteps = max(w.opts.MaxSteps, len(tokens)+1)
	w.limit, w.picker, w.tracing, w.anyTime = -1, &replay{tokens: tokens, strict: strict}, strict, true
	w.run(body)
	w.limit, w.picker, w.opts, w.tracing, w.anyTime = limit, picker, opts, false, anyTime
}
