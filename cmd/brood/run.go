package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/internal/history"
)

// runFlags are the flags of brood run as they were given.
type runFlags struct {
	inputFlags
	// control
	jobs, memory, halt, workDir, termSeq string
	timeout                              timeLimit
	cpu, delay, retryDelay               duration
	nice, retries                        int
	env                                  []string
	tty, dryRun, verbose                 bool
	// output
	keepOrder, lineBuffer, ungroup, tag, jsonOut bool
	tagString, results                           string
	// progress
	bar, progress, eta bool
	startFlags
	demandFlags
	jobsFile *jobsFile // of -j FILE
	comfortFlags
	// scheduling
	policyFlags
	// schedule
	trace, svg string
	// job log
	jobLog                            string
	resume, resumeFailed, retryFailed bool
	// scheduling
	noHistory bool
	history   *history.History // of openHistory
}

// runCommand is brood run.
func runCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:                   "run [flags] [command [argument ...]] [::: values ... | :::: files ...]",
		Short:                 "Run a command once for each input, several at a time",
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseEmpty(cmd.Flags()); err != nil {
				return err
			}
			return f.run(args)
		},
	}
	p := f.define(cmd)
	p.helpOf(cmd)
	p.completeFlags(cmd, runValues)
	cmd.ValidArgsFunction = completeCommand
	return cmd
}

// refuseEmpty refuses an empty value, as of a variable that is not set: it would
// be as if the flag were not there.
func refuseEmpty(fl *pflag.FlagSet) (err error) {
	fl.Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" {
			err = fmt.Errorf("--%s is given an empty value: leave it away, or say what it should be", f.Name)
		}
	})
	return err
}

// define declares the flags and their lines in the page.
func (f *runFlags) define(cmd *cobra.Command) *page {
	fl := cmd.Flags()
	fl.SetInterspersed(false) // what follows the command belongs to it
	p := newPage("brood run", "Run a command once for each input, several at a time, in supervised processes.", fl,
		"[flags] [command [argument ...]] [::: values ... | :::: files ...]")
	f.inputFlags.define(p)
	f.defineControl(p)
	f.startFlags.define(p)
	f.defineOutput(p)
	f.defineLog(p)
	f.demandFlags.define(p)
	f.policyFlags.define(p)
	p.text("EXIT STATUS", runExit)
	p.text("SIGNALS", runSignals)
	p.text("EXAMPLES", runExamples)
	p.alias("mem", "memory")
	f.gnuFlags(p)
	return p
}

func (f *runFlags) defineControl(p *page) {
	s := p.section("Control", "")
	s.string(&f.jobs, "jobs,j", "", "N", "jobs at once: N, N% of the CPUs, +N, -N, 0 for all (100%), or a file that says it and may change")
	s.string(&f.jobs, "max-procs,P", "", "N", "the same")
	s.value(&f.timeout, "timeout", "DURATION", "end a job after 30, 30s, 1m30s, 2h (time paused is free), or N% of the median of those that ended well")
	s.value(&f.cpu, "cpu", "DURATION", "end a job that has used so much CPU time")
	s.string(&f.memory, "mem", "", "SIZE", "end a job whose processes need more memory: 500M, 2G")
	s.number(&f.nice, "nice", 0, "N", "lower the priority of jobs, 1 to 19")
	s.value(&f.delay, "delay", "DURATION", "least time between two starts")
	s.number(&f.retries, "retries", 1, "N", "try a job up to N times")
	s.value(&f.retryDelay, "retry-delay", "D", "pause before the second try, doubled for each further (100ms)")
	s.string(&f.halt, "halt", "never", "WHEN,WHY=N", "now or soon, at the Nth fail, success or done, or at N% of all jobs (never)")
	s.string(&f.workDir, "wd", "", "DIR", "working directory of jobs")
	s.list(&f.env, "env", "NAME=VALUE", "set a variable for jobs (NAME alone: it must be set)")
	s.string(&f.termSeq, "term-seq", "", "SEQ", "how jobs are ended (TERM,200,TERM,100,TERM,50,KILL)")
	s.boolean(&f.shuffle, "shuf", "in random order (the whole input is read first)")
	s.boolean(&f.tty, "tty", "give the terminal to one job at a time")
	s.boolean(&f.dryRun, "dry-run", "print the commands, run nothing")
	s.boolean(&f.verbose, "verbose,v", "print each command before its output")
}

func (f *runFlags) defineOutput(p *page) {
	s := p.section("Output", "(by default that of each job together, when it ends)")
	s.boolean(&f.keepOrder, "keep-order,k", "in the order of the input")
	s.boolean(&f.lineBuffer, "lb", "line by line, as it comes")
	s.boolean(&f.ungroup, "ungroup,u", "straight through, mixed")
	s.boolean(&f.tag, "tag", "the input in front of each line")
	s.string(&f.tagString, "tagstring", "", "STRING", "STRING in front of each line")
	s.string(&f.results, "results", "", "DIR", "also into files: DIR/1/VALUE/stdout, stderr, seq, result.json")
	s.boolean(&f.jsonOut, "json", "one JSON object for each job")

	s = p.section("Progress,", "on standard error")
	s.boolean(&f.bar, "bar", "a bar")
	s.boolean(&f.progress, "progress", "how many jobs are done, and how many run")
	s.boolean(&f.eta, "eta", "when it will be done, by what earlier runs took")
	f.comfortFlags.define(s)

	s = p.section("Schedule", "")
	s.string(&f.trace, "trace", "", "FILE", "what every job and slot did, for ui.perfetto.dev")
	s.string(&f.svg, "svg", "", "FILE", "the same as a picture, for a browser")
}

func (f *runFlags) defineLog(p *page) {
	s := p.section("Job log", "")
	s.string(&f.jobLog, "joblog", "", "FILE", "one line for each job that has ended; FILE.journal beside it")
	s.boolean(&f.resume, "resume", "skip the jobs that an earlier run with this log has done")
	s.boolean(&f.resumeFailed, "resume-failed", "the same, but run those that failed again")
	s.boolean(&f.retryFailed, "retry-failed", "run the failed commands of the log again; no input is read")
	s.boolean(&f.noHistory, "no-history", "neither use nor record what jobs cost (see brood history)")
}

// run does the work.
func (f *runFlags) run(args []string) error {
	takePipeSignal()
	if err := f.check(f.tty); err != nil {
		return err
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	jobs, err := f.input(args, &o)
	if err != nil {
		return err
	}
	if jobs, err = f.gather(jobs, &o); err != nil {
		return err
	}
	if f.dryRun {
		return f.printCommands(jobs, o)
	}
	jobs = f.marked(jobs)
	if f.wantsHistory() {
		f.sayHistory(f.openHistory().Load()) // a damaged one is set aside only once
	}
	out := &printer{flags: f, json: f.jsonOut}
	if f.results != "" {
		if out.results, err = newResults(f.results, f.names); err != nil {
			return err
		}
	}
	if f.verbose && o.Output != batch.Grouped {
		o.Started = out.started
	}
	if out.tracer, err = newTracer(f.trace, f.svg, &o); err != nil {
		return err
	}
	b, err := batch.New(o)
	if err != nil {
		return err
	}
	out.terminate = b.Terminate
	out.recorder = f.newRecorder(b)
	useProcs(max(o.Slots, o.Degree))
	held := &holder{batch: b}
	out.progress = newProgress(f, b, held)
	sig := handleSignals(b, held, out.progress)
	ctl := listenControl(b, held, sig, out.progress)
	out.interrupted = sig.interrupted
	stopFollowing := f.jobsFile.follow(b)
	sum, err := b.Each(context.Background(), jobs, out.deliver)
	stopFollowing()
	ctl.stop()
	sig.stop()
	historyErr := out.recorder.end()
	out.progress.end(sum, f.bought(sum, o.Policy, o.Slots, held.ever.Load()))
	f.sayHistory(historyErr)
	traceErr := out.tracer.write(sum.Wall)
	if err == nil {
		err = cmp.Or(out.startErr, traceErr)
	} else if traceErr != nil {
		say("%v", traceErr)
	}
	err = f.verdict(sum, err, sig.last())
	f.runNotify(sum, err)
	return err
}

// useProcs lets every slot's thread return from its system calls at once: such a
// thread waits for a place among GOMAXPROCS after each, and with as many places
// as CPUs the slots and the reader queue up there (15 % of the time of short jobs).
func useProcs(slots int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), min(slots, 62)+2))
	}
}

// verdict turns the outcome into an exit code and says what must not be
// overlooked.
func (f *runFlags) verdict(sum batch.Summary, err error, sig os.Signal) error {
	for _, n := range sum.Notes {
		inform("%s", n)
	}
	switch {
	case errors.Is(err, syscall.EPIPE):
		say("standard output was closed by its reader: stopped after %s%s", count(sum.Done, "job"), f.howToGoOn())
		return exitCode(ownError)
	case err != nil:
		if sum.NotRun > 0 {
			say("%s not run%s", count(sum.NotRun, "job"), f.howToGoOn())
		}
		return err
	case sum.Halted:
		inform("halted by --halt %s: %d ok, %d failed, %d read but not run", f.halt, sum.OK, sum.Failed, sum.NotRun)
	case sig != nil:
		inform("stopped by %v: %d done, %d read but not run%s", sig, sum.Done, sum.NotRun, f.howToGoOn())
		if sum.ExitCode() == 0 {
			return exitCode(ownError)
		}
	}
	if c := sum.ExitCode(); c != 0 {
		return exitCode(c)
	}
	return nil
}

// howToGoOn tells how the rest can be run.
func (f *runFlags) howToGoOn() string {
	if f.jobLog == "" {
		return ""
	}
	return "; run the same command with --resume to go on"
}

// cause is an error of the system without the names of call and file.
func cause(err error) error {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// marked adds what a policy is told of each job.
func (f *runFlags) marked(jobs iter.Seq2[batch.Job, error]) iter.Seq2[batch.Job, error] {
	return func(yield func(batch.Job, error) bool) {
		seq := 0
		for j, err := range jobs {
			seq++
			if err == nil {
				err = f.mark(&j, seq)
			}
			if !yield(j, err) {
				return
			}
		}
	}
}

// failedJobs takes the jobs that failed from the job log.
func (f *runFlags) failedJobs(args []string) (iter.Seq2[batch.Job, error], error) {
	if f.jobLog == "" {
		return nil, errors.New("--retry-failed takes the commands from the job log: say which with --joblog FILE")
	}
	if f.rank != nil || f.differ() {
		return nil, errWhole
	}
	if len(args) > 0 {
		return nil, fmt.Errorf("--retry-failed takes the commands from the job log: leave %q away, or use --resume-failed", args[0])
	}
	return batch.FailedJobs(f.jobLog)
}

// options turns the flags into options of the batch.
func (f *runFlags) options() (o batch.Options, err error) {
	o = batch.Options{
		Timeout: f.timeout.Duration, TimeoutPercent: f.timeout.percent, CPU: f.cpu.Duration, Delay: f.delay.Duration, RetryDelay: f.retryDelay.Duration,
		Nice: f.nice, Tries: f.retries, KeepOrder: f.keepOrder, JobLog: f.jobLog,
	}
	for _, set := range []func(*batch.Options) error{f.setPool, f.startFlags.set, f.setPolicy, f.setPlace, f.setComfort, f.setOutput, f.setResume} {
		if err := set(&o); err != nil {
			return o, err
		}
	}
	return o, nil
}

// setPool reads the flags about how much runs at once, and for how long.
func (f *runFlags) setPool(o *batch.Options) (err error) {
	jobs := f.jobs
	switch {
	case f.tty && jobs != "" && jobs != "1":
		return fmt.Errorf("--tty gives the terminal to one job at a time: leave -j %s away", jobs)
	case f.tty:
		jobs = "1"
	case jobs == "" && f.cpus != "":
		jobs = "0" // the CPUs bound them
	case jobs == "":
		jobs = "100%"
	}
	if o.Slots, f.jobsFile, err = parseSlots(jobs); err != nil {
		return err
	}
	if f.memory != "" {
		if o.Memory, err = batch.ParseSize(f.memory); err != nil {
			return fmt.Errorf("--mem: %w", err)
		}
		if o.Memory < 1<<20 {
			return fmt.Errorf("--mem %s: no program runs in less than a megabyte: the number is in bytes, use a suffix as in 100M", f.memory)
		}
	}
	if f.nice < 0 || f.nice > 19 {
		return fmt.Errorf("--nice %d: it lowers the priority of jobs: use 1 to 19", f.nice)
	}
	if f.retries < 1 {
		return fmt.Errorf("--retries %d: it counts the tries: use at least 1", f.retries)
	}
	if o.Halt, err = batch.ParseHalt(f.halt); err != nil {
		return fmt.Errorf("--halt: %w", err)
	}
	if f.termSeq != "" {
		if o.Stop, err = parseTermSeq(f.termSeq); err != nil {
			return fmt.Errorf("--term-seq: %w", err)
		}
	}
	return nil
}

// setPolicy reads the flags about scheduling.
func (f *runFlags) setPolicy(o *batch.Options) error {
	f.packs = f.weighs()
	if err := f.checkNames(f.shuffle); err != nil {
		return err
	}
	return f.policyFlags.set(o, f.tty)
}

// setPlace reads the flags about where jobs run.
func (f *runFlags) setPlace(o *batch.Options) error {
	if f.workDir != "" {
		fi, err := os.Stat(f.workDir)
		if err == nil && !fi.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return fmt.Errorf("--wd %s: %w: name a directory that is there", f.workDir, cause(err))
		}
		o.Dir = f.workDir
	}
	env := os.Environ()
	for _, e := range f.env {
		name, _, set := strings.Cut(e, "=")
		if name == "" {
			return fmt.Errorf("--env %q: use NAME=VALUE, or NAME for a variable that must be set", e)
		}
		if !set {
			if _, ok := os.LookupEnv(name); !ok {
				return fmt.Errorf("--env %s: the variable is not set: export it, or use --env %s=VALUE", name, name)
			}
			continue // jobs get the whole environment
		}
		env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		env = append(env, e)
	}
	o.Env = env
	if f.tty {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("--tty: there is no terminal: %w", err)
		}
		o.Terminal = tty
	}
	return nil
}

// setOutput reads the flags about output.
func (f *runFlags) setOutput(o *batch.Options) error {
	ungroup := f.ungroup || f.tty
	switch {
	case f.lineBuffer && ungroup:
		return errors.New("--lb passes on whole lines, -u and --tty pass on everything at once: use one of them")
	case ungroup && (f.tag || f.tagString != "" || f.results != "" || f.jsonOut || f.keepOrder):
		return errors.New("-u and --tty give jobs the output itself: --tag, --tagstring, --results, --json and -k need --lb or the default")
	case f.lineBuffer && f.jsonOut:
		return errors.New("--json writes one object for each job that has ended: leave --lb away")
	case f.lineBuffer && f.keepOrder:
		return errors.New("--lb writes lines as they come, -k in the order of the jobs: use one of them")
	case f.tag && f.tagString != "":
		return errors.New("--tag is the same as --tagstring '{}': use one of them")
	case f.lineBuffer:
		o.Output = batch.Lines
		o.Keep = f.results != ""
	case ungroup:
		o.Output = batch.Through
	}
	return nil
}

// setResume reads the flags about the job log.
func (f *runFlags) setResume(o *batch.Options) error {
	n := 0
	for _, r := range []struct {
		set    bool
		resume batch.Resume
	}{{f.resume, batch.Unfinished}, {f.resumeFailed, batch.Failed}, {f.retryFailed, batch.Retry}} {
		if r.set {
			n++
			o.Resume = r.resume
		}
	}
	// GNU parallel's habit is to give --resume with --resume-failed.
	if n > 1 && f.retryFailed {
		return errors.New("--retry-failed takes its jobs from the job log, --resume and --resume-failed from the input: use one of them")
	}
	if strings.HasPrefix(f.jobLog, "+") {
		return fmt.Errorf("--joblog %s: a log is appended to with --resume or --resume-failed: use one of them, or write ./%s for a file of that name", f.jobLog, f.jobLog)
	}
	if n > 0 && f.jobLog == "" && !f.retryFailed {
		return errors.New("to resume, the job log of the earlier run is needed: add --joblog FILE")
	}
	if f.resumeFailed {
		o.Resume = batch.Failed
	}
	return nil
}

// parseTermSeq reads "TERM,200,TERM,100,KILL": signals and milliseconds in turns.
func parseTermSeq(s string) ([]batch.Step, error) {
	var steps []batch.Step
	for i, word := range strings.Split(s, ",") {
		if i%2 == 0 {
			sig := signalNumber(word)
			if sig == 0 {
				return nil, fmt.Errorf("%q is no signal: use names as in TERM,200,TERM,100,KILL", word)
			}
			steps = append(steps, batch.Step{Signal: sig})
			continue
		}
		d, err := time.ParseDuration(word + "ms")
		if err != nil || d < 0 {
			return nil, fmt.Errorf("%q is no pause: use milliseconds between the signals, as in TERM,200,KILL", word)
		}
		steps[len(steps)-1].Wait = d
	}
	return steps, nil
}
