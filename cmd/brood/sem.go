package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/brood-go/brood/batch"
	"github.com/brood-go/brood/internal/child"
	"github.com/brood-go/brood/share"
)

// brood sem is a counting semaphore of this user on this machine, in a space of its own for each
// name. The process that holds the permit is the one that supervises the command: with it dies the
// command, and its permit returns, because what a dead process held is nobody's.
//
// In the background that process is a copy of the caller in a session of its own. It takes the
// permit itself, so that none has to be handed over, and writes one line to the caller, who
// waits for no more than that:
//
//	caller dies while it waits     the copy reads end of file on its other pipe, and gives up
//	caller dies before the line    the copy's write fails: it runs nothing
//	copy dies                      the caller reads end of file: an error
//	copy dies while its command    the warden kills the command. The permit is free by then, so
//	  runs                         that for some milliseconds the next one may run beside it

// semBack says in the environment that this process is such a copy, and which name it is about.
const semBack = "BROOD_SEM_BACK"

// semPermits is more than anybody would allow.
const semPermits = 1 << 30

// semFlags are the flags of brood sem as they were given.
type semFlags struct {
	jobs, id, give      string
	fg, bg, wait, pipe  bool
	ungroup, lineBuffer bool
	timeout             duration

	allowed      int
	patience     time.Duration // of give
	steal        bool          // run after that time
	report, life *os.File      // of a copy: to its caller, and from it
}

const semExit = `Without --fg, brood sem returns when the command has its permit and runs: 0. With --fg it
waits for it, and its exit code is the command's (128 and the signal's number if one ended
it). 1 if --st gave up, 255 for an error of brood's own.
`

const semNotes = `Each caller's -j counts: it waits until fewer than that many commands of the name run,
whatever others allow. A command whose brood sem is killed is killed, too, and its permit
returns. Output comes when the command has ended, unless -u or --lb. Within a job of brood
run the command belongs to that job: it is ended two seconds after the rest of it.
`

const semExamples = `Examples
  for f in *.log; do brood sem -j4 gzip -9 $f; done; brood sem --wait
  brood sem --id deploy --fg ./deploy.sh
  brood sem --id net --st -60 'curl -sO https://example.org/; echo done'
`

func semCommand() *cobra.Command {
	f := &semFlags{}
	cmd := &cobra.Command{
		Use:                   "sem [flags] command [argument ...]",
		Short:                 "Run a command when fewer than N of the same name run",
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := refuseEmpty(cmd.Flags()); err != nil {
				return err
			}
			return f.run(args)
		},
	}
	cmd.Flags().SetInterspersed(false)
	p := f.define(cmd)
	p.helpOf(cmd)
	p.completeFlags(cmd, map[string]cobra.CompletionFunc{"jobs": runValues["jobs"]})
	cmd.ValidArgsFunction = completeCommand
	return cmd
}

// define declares the flags and their lines in the page.
func (f *semFlags) define(cmd *cobra.Command) *page {
	p := newPage("brood sem", "Run a command when fewer than N of the same name run, on this machine.", cmd.Flags(),
		"[flags] command [argument ...]", "--wait [--id NAME]")
	s := p.section("Semaphore", "")
	s.string(&f.jobs, "jobs,j", "1", "N", "commands at once: N, N% of the CPUs, +N, -N, 0 for all (1)")
	s.string(&f.id, "id", "", "NAME", "which semaphore (that of this terminal, or else of this session)")
	s.string(&f.give, "st", "", "SECS", "after SECS run without a permit; -SECS: give up with exit code 1")
	s.boolean(&f.wait, "wait", "wait until all commands of the name have ended; run nothing")
	s = p.section("Command", "(it is run by the shell, and reads standard input)")
	s.boolean(&f.fg, "fg", "wait for the command, and exit with its code")
	s.boolean(&f.bg, "bg", "do not wait for it (the default)")
	s.value(&f.timeout, "timeout", "DURATION", "end it after 30, 30s, 1m30s, 2h")
	s.boolean(&f.ungroup, "ungroup,u", "pass its output straight through")
	s.boolean(&f.lineBuffer, "lb", "pass its output on line by line")
	s.boolean(&f.pipe, "pipe", "nothing: standard input is always passed on")
	p.text("EXIT STATUS", semExit)
	p.text("NOTES", semNotes)
	p.text("EXAMPLES", semExamples)
	p.alias("id", "semaphore-name", "semaphorename")
	p.alias("st", "semaphore-timeout", "semaphoretimeout")
	p.alias("lb", "line-buffer", "linebuffer")
	p.alias("jobs", "max-procs")
	return p
}

// run does the work.
func (f *semFlags) run(args []string) error {
	if err := f.check(args); err != nil {
		return err
	}
	id, back := os.LookupEnv(semBack)
	switch {
	case back:
		os.Unsetenv(semBack)
		f.report, f.life = os.NewFile(3, "report"), os.NewFile(4, "life")
	case f.id != "":
		id = f.id
	default:
		id = semDefaultID()
	}
	if !f.fg && !f.wait && !back {
		return f.background(id)
	}
	return f.hold(id, strings.Join(args, " "))
}

// check refuses what can't be meant.
func (f *semFlags) check(args []string) (err error) {
	if f.allowed, err = batch.ParseJobs(f.jobs, batch.CPUs()); err != nil {
		return fmt.Errorf("-j: %w", err)
	}
	if f.give != "" {
		text := strings.TrimPrefix(f.give, "-")
		f.steal = text == f.give
		if f.patience, err = parseDuration(text); err != nil || f.patience < 0 {
			return fmt.Errorf("--st %q is no time: use seconds, or a unit as in 5m; -5m gives up after it", f.give)
		}
	}
	switch {
	case f.fg && f.bg:
		return errors.New("--fg waits for the command, --bg does not: use one of them")
	case f.ungroup && f.lineBuffer:
		return errors.New("--lb passes on whole lines, -u everything at once: use one of them")
	case f.wait && len(args) > 0:
		return fmt.Errorf("--wait runs nothing: leave %q away, or --wait", args[0])
	case !f.wait && len(args) == 0:
		return errors.New("name the command that is to be run, or use --wait to wait for those that run (see brood sem --help)")
	}
	for _, a := range args {
		if strings.HasPrefix(a, ":::") {
			return fmt.Errorf("%s: brood sem runs one command: use brood run for one for each input", a)
		}
	}
	return nil
}

// background starts the copy, and returns when that has its permit.
func (f *semFlags) background(id string) error {
	report, done, err := os.Pipe()
	if err != nil {
		return err
	}
	life, mine, err := os.Pipe()
	if err != nil {
		return err
	}
	defer mine.Close()
	if err := child.Detach([]string{semBack + "=" + id}, done, life); err != nil {
		return err
	}
	done.Close()
	life.Close()
	b, err := io.ReadAll(report)
	code, cerr := strconv.Atoi(strings.TrimSpace(string(b)))
	switch {
	case err != nil:
		return err
	case cerr != nil:
		return errors.New("sem: the process in the background was killed before it had a permit")
	case code != 0:
		return exitCode(code)
	}
	return nil
}

// tell tells the caller of a copy how it went: an error is that nobody is there any more.
func (f *semFlags) tell(code int) error {
	if f.report == nil {
		return nil
	}
	_, err := fmt.Fprintln(f.report, code)
	f.report.Close()
	f.report = nil
	return err
}

// hold waits for a permit and runs the command.
func (f *semFlags) hold(id, command string) error {
	takePipeSignal()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer semSignals(cancel)()
	wait, gone := context.WithCancelCause(ctx)
	defer gone(nil)
	if f.life != nil {
		go func() {
			io.Copy(io.Discard, f.life)
			gone(errCallerGone) // which is nothing to a command that runs
		}()
	}
	space, err := share.Open(semSpace(id))
	if err != nil {
		return f.failed(err)
	}
	defer space.Close()
	sem, err := space.Semaphore("permits", semPermits)
	if err != nil {
		return f.failed(err)
	}
	permit, err := f.acquire(wait, sem)
	if err != nil {
		return f.failed(err)
	}
	defer permit.Release()
	if f.wait {
		return nil
	}
	if f.tell(0) != nil {
		return exitCode(ownError)
	}
	return f.command(ctx, command)
}

var errCallerGone = errors.New("sem: who asked for it has gone")

// failed says an error, and tells it the caller of a copy.
func (f *semFlags) failed(err error) error {
	code := exitCode(ownError)
	if sig := semSignal(0); errors.As(err, &sig) {
		code = exitCode(128 + int(sig))
	} else if !errors.As(err, &code) && !errors.Is(err, errCallerGone) {
		say("%v", err)
	}
	f.tell(int(code))
	return code
}

// acquire waits for a permit.
func (f *semFlags) acquire(ctx context.Context, sem *share.Semaphore) (share.Guard, error) {
	allowed, wait := f.allowed, ctx
	if f.wait {
		allowed = 1
	}
	if f.give != "" {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, f.patience)
		defer cancel()
	}
	g, ok := sem.TryAcquireBelow(ctx, allowed)
	if ok {
		return g, nil
	}
	g, err := sem.AcquireBelow(wait, allowed)
	switch {
	case err == nil:
		return g, nil
	case ctx.Err() != nil:
		return g, context.Cause(ctx)
	case wait.Err() == nil:
		return g, err
	case f.steal && !f.wait:
		note("no permit within %s: the command runs without one", f.patience)
		return sem.Acquire(ctx)
	}
	say("no permit within %s: given up", f.patience)
	return g, exitCode(1)
}

// command runs the command as a batch of one job.
func (f *semFlags) command(ctx context.Context, text string) error {
	o := batch.Options{Slots: 1, Timeout: f.timeout.Duration, Stdin: os.Stdin}
	switch {
	case f.ungroup:
		o.Output = batch.Through
	case f.lineBuffer:
		o.Output = batch.Lines
	}
	if f.fg && term.IsTerminal(int(os.Stdin.Fd())) && inForeground() {
		o.Terminal = os.Stdin
	}
	jobs := func(yield func(batch.Job, error) bool) { yield(batch.Job{Command: batch.Command{Text: text}}, nil) }
	for r, err := range batch.Run(ctx, jobs, o) {
		switch {
		case err != nil && ctx.Err() != nil:
			return exitCode(ownError)
		case err != nil:
			return err
		case r.Err != nil:
			say("%v", r.Err)
		case r.Reason == batch.Timeout:
			say("the command was ended: it ran for more than %s", f.timeout.Duration)
		}
		_, oerr := io.Copy(os.Stdout, r.Stdout())
		_, eerr := io.Copy(os.Stderr, r.Stderr())
		if c := r.Code(); c != 0 {
			return exitCode(c)
		}
		return errors.Join(oerr, eerr)
	}
	return exitCode(ownError) // it was not started any more
}

// semSignal is a signal as the cause of an end.
type semSignal syscall.Signal

// Error implements error.
func (s semSignal) Error() string { return syscall.Signal(s).String() }

// semSignals lets signals end what ctx is of: with it ends the command, by the usual sequence.
func semSignals(cancel context.CancelCauseFunc) (stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(ch, syscall.SIGHUP)
	}
	go func() {
		if s, ok := <-ch; ok {
			cancel(semSignal(s.(syscall.Signal)))
		}
	}()
	return func() {
		signal.Stop(ch)
		close(ch)
	}
}

// semSpace is the space of a name: what can't be in one's name is in hexadecimal, and a long one
// is its hash.
func semSpace(id string) string {
	var b strings.Builder
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	if b.Len() > 80 {
		return fmt.Sprintf("sem-_h%x", sha256.Sum256([]byte(id)))
	}
	return "sem-" + b.String()
}

// semDefaultID is that of the controlling terminal, else of the session, which all processes of a
// script have in common.
func semDefaultID() string {
	session, tty, _, _ := processStat()
	if tty != 0 {
		return fmt.Sprintf("tty-%d", tty)
	}
	return fmt.Sprintf("session-%d", session)
}

// inForeground reports whether this process has the terminal: else taking it would stop it.
func inForeground() bool {
	_, tty, group, front := processStat()
	return tty != 0 && group == front
}

// processStat is of this process, from the kernel; 0 where there is none: the session, the
// controlling terminal's device, the process group and that in the terminal's foreground.
func processStat() (session, tty, group, front int) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, 0, 0
	}
	text := string(b[strings.LastIndexByte(string(b), ')')+1:])
	var state string
	var parent int
	fmt.Sscan(text, &state, &parent, &group, &session, &tty, &front)
	return session, tty, group, front
}
