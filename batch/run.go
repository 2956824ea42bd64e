package batch

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/brood-go/brood/sched"
)

// runJob runs one try of a task on a slot, delivers its result if it is the
// last one, and books it.
func (b *Batch) runJob(s Slot, n int, t *task, out *outputs) {
	r := &Result{
		Seq: t.seq, Slot: n, Try: t.try, Values: t.job.Values, Dir: b.dir(&t.job),
		Wait: t.started.Sub(t.arrived),
	}
	out.reset()
	var failed error // the result can't be recorded as an end
	cmd, err := b.expand(t, n, r)
	b.mu.Lock()
	t.command = r.Command
	b.mu.Unlock()
	if err != nil {
		r.Err = err
		r.Report = Report{ExitCode: 255, Reason: NotStarted, Start: time.Now()}
		r.End = r.Start
	} else {
		failed = b.try(s, t, cmd, r, out)
	}
	b.mu.Lock()
	b.startDecided(t)
	b.account(t, r)
	t.evicted = t.evicted && r.Reason == Cancelled && failed == nil && b.level == running
	evicted := t.evicted // else it ended by itself just then
	b.mu.Unlock()
	final := r.OK() || t.try >= b.o.Tries || r.Reason == Cancelled || failed != nil || !b.going()
	final = final && !evicted
	if final {
		b.conclude(t, r, failed == nil && r.Reason != Cancelled)
	}
	b.finish(t, r, final)
	if final {
		b.settle(t, r.OK())
	}
}

// expand makes the command and the tag of a task for slot n.
func (b *Batch) expand(t *task, n int, r *Result) (cmd Command, err error) {
	cmd = t.job.Command
	at := Numbers{Seq: t.seq, Slot: n, Total: t.job.Total}
	switch {
	case t.job.Err != nil:
		err = t.job.Err
	case t.job.Template != nil:
		cmd, err = t.job.Template.Expand(t.job.Values, at)
	}
	r.Command = cmd.Text
	if r.Command == "" && len(cmd.Argv) > 0 {
		r.Command = quoteAll(cmd.Argv)
	}
	if err == nil && b.o.Tag != nil {
		if r.Tag, err = b.o.Tag.Line(t.job.Values, at); err != nil {
			err = fmt.Errorf("the tag %q: %w", strings.Join(b.o.Tag.words, " "), err)
		}
	}
	return cmd, err
}

// try runs the command once. The error is set if the job's end must not be
// recorded, because its output is lost or its log can't be written.
func (b *Batch) try(s Slot, t *task, cmd Command, r *Result, out *outputs) error {
	if err := b.log.start(t); err != nil {
		b.outputError(nil, err)
		r.Err = err
		r.Report = Report{ExitCode: -1, Reason: Cancelled, Start: time.Now(), End: time.Now()}
		return err
	}
	st := Start{
		Dir: r.Dir, Terminal: b.o.Terminal, Stdin: cmp.Or(b.o.Stdin, b.o.Terminal),
		Timeout: b.timeout(), CPU: b.o.CPU, Memory: b.o.Memory, Stop: b.o.Stop,
	}
	st.Env = b.environ(t, r.Slot)
	sink := b.sink(t, r, out, &st)
	if b.o.Started != nil {
		b.tagged.Lock()
		b.o.Started(t.seq, r.Slot, Command{Text: r.Command, Argv: cmd.Argv})
		b.tagged.Unlock()
	}
	if t.job.Input != nil {
		f, err := openFeed(t.job.Input)
		if err != nil {
			r.Err = err
			r.Report = Report{ExitCode: -1, Reason: NotStarted, Start: time.Now(), End: time.Now()}
			return nil
		}
		st.Stdin, r.sent = f.r, t.job.Input.Size()
		defer func() { r.Err = errors.Join(r.Err, f.close()) }()
	}
	started := func(p Running) { b.nowRuns(t, p) }
	var plain bool
	st.Path, st.Argv, plain = b.start(cmd, t.job.Env)
	rep, err := s.Run(&st, started)
	if err != nil && rep.Reason == NotStarted && plain {
		// The program went away, or is a script without a first line: the shell knows.
		st.Path, st.Argv = b.o.Shell, b.shell(cmd.Text)
		rep, err = s.Run(&st, started)
	}
	r.Report = rep
	if rep.Reason == NotStarted {
		r.Start = time.Now()
		r.End = r.Start
	}
	if ferr := sink.flush(); err == nil {
		err = ferr
	}
	r.Err = err
	if err != nil && rep.Reason != NotStarted {
		b.outputError(t, err)
		return err
	}
	return nil
}

// nowRuns makes a started process known to those who stop, pause and list.
func (b *Batch) nowRuns(t *task, p Running) {
	b.mu.Lock()
	t.proc = p
	if t.first.IsZero() {
		t.first = time.Now()
	}
	b.trace(t, sched.Ready, sched.Admitted)
	b.trace(t, sched.Running, sched.Dispatched)
	b.startDecided(t)
	b.press(t)
	if t.evicted {
		p.Stop()
	}
	if d := b.timeoutNow; d > 0 {
		p.SetTimeout(d)
	}
	paused := t.paused
	if paused {
		t.waits.begin(time.Now(), WaitPolicy)
	}
	b.mu.Unlock()
	b.ringWatch()
	if paused {
		go b.pauseNow(t, p) // the policy changed its mind between its decision and now
	}
}

// pauseNow pauses a task that was to stand still before it had a process.
func (b *Batch) pauseNow(t *task, p Running) {
	b.policy.Lock()
	defer b.policy.Unlock()
	b.mu.Lock()
	wanted := t.paused && t.proc == p
	if wanted {
		b.trace(t, sched.Held, sched.Preempted)
	}
	held := b.held // then it stands still, and the watcher sees to it afterwards
	b.mu.Unlock()
	if wanted && !held {
		b.stopStill(t, p)
	}
}

// environ is the environment of a job.
func (b *Batch) environ(t *task, slot int) []string {
	env := make([]string, 0, len(b.o.Env)+len(t.job.Env)+5)
	env = append(env, b.o.Env...)
	for _, v := range t.job.Env {
		name, _, _ := strings.Cut(v, "=")
		env = append(withoutVar(env, name), v)
	}
	seq, sl := strconv.Itoa(t.seq), strconv.Itoa(slot)
	return append(env, "PARALLEL_SEQ="+seq, "PARALLEL_JOBSLOT="+sl, "BROOD_SEQ="+seq, "BROOD_SLOT="+sl)
}

// ownVars are the variables that every job gets.
var ownVars = []string{"PARALLEL_SEQ", "PARALLEL_JOBSLOT", "PARALLEL_PID", "BROOD_SEQ", "BROOD_SLOT"}

// withoutVar removes a variable from env, in place. Of two values of one name
// most programs see the first, but a shell the last.
func withoutVar(env []string, name string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		return len(v) > len(name) && v[len(name)] == '=' && v[:len(name)] == name
	})
}

// lines are the line writers of a running job.
type lines struct{ out, err *lineWriter }

// flush passes on the last lines.
func (l lines) flush() error {
	if l.out == nil {
		return nil
	}
	return errors.Join(l.out.flush(), l.err.flush())
}

// sink says where a job's output goes.
func (b *Batch) sink(t *task, r *Result, out *outputs, st *Start) (l lines) {
	switch b.o.Output {
	case Through:
		st.Stdout, st.Stderr = b.o.Stdout, b.o.Stderr
	case Lines:
		tag := ""
		if b.o.Tag != nil {
			tag = r.Tag + "\t"
		}
		if tag != "" && b.o.Paint != nil {
			tag = b.o.Paint(t.seq, r.Tag) + "\t"
		}
		l.out = &lineWriter{mu: &b.tagged, w: b.o.Stdout, tag: tag, part: buffer{dir: b.o.TempDir}}
		l.err = &lineWriter{mu: &b.tagged, w: b.o.Stderr, tag: tag, part: buffer{dir: b.o.TempDir}}
		if b.o.Keep {
			r.stdout, r.stderr = out.use(b.o.TempDir)
			l.out.keep, l.err.keep = r.stdout, r.stderr
		}
		st.Stdout, st.Stderr = b.watch(t, l.out), b.watch(t, l.err)
	default:
		r.stdout, r.stderr = out.use(b.o.TempDir)
		st.Stdout, st.Stderr = b.watch(t, r.stdout), b.watch(t, r.stderr)
	}
	return l
}

// watched acts on a writer's first error at once: the job may run for ever.
type watched struct {
	io.Writer
	fail func(error)
}

func (b *Batch) watch(t *task, w io.Writer) io.Writer {
	return &watched{w, func(err error) { b.outputError(t, err) }}
}

// Write implements io.Writer.
func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		w.fail(err)
	}
	return n, err
}

// conclude delivers a final result, now or in its turn, and then records the
// job's end if it is to count as one.
func (b *Batch) conclude(t *task, r *Result, record bool) {
	b.delivery.Lock()
	defer b.delivery.Unlock()
	var err error
	if b.o.KeepOrder && t.order != b.spool.next {
		err = b.putAside(t, r, record)
	} else if err = b.handOver(r); err == nil {
		if record {
			err = b.log.end(t, r, nil)
		}
		if err == nil && b.o.KeepOrder {
			b.spool.advance()
			err = b.deliverWaiting(false)
		}
	}
	if err != nil {
		b.outputError(t, err)
	}
}

// handOver gives a result to the consumer. After an error it gets no more.
// Called with delivery held.
func (b *Batch) handOver(r *Result) error {
	if b.deliver == nil {
		return errOutput
	}
	if err := b.deliver(r); err != nil {
		b.deliver = nil
		return err
	}
	return nil
}

// use readies both buffers for a job.
func (o *outputs) use(dir string) (stdout, stderr *buffer) {
	o.reset()
	o.stdout.dir, o.stderr.dir = dir, dir
	return &o.stdout, &o.stderr
}

func (o *outputs) reset() {
	o.stdout.reset()
	o.stderr.reset()
}
