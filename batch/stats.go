package batch

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/brood-go/brood/sched"
)

// Stats is a look at a batch.
type Stats struct {
	Summary
	Running   int
	Queued    int  // read, not running
	InputDone bool // Jobs is all there will be
	Stopping  bool // no new jobs are started
	// Left is how long the jobs that have not ended are expected to run in all, by what is
	// known of them, corrected by how far it was off for those that have ended. Of Unknown
	// ones nothing is known.
	Left    time.Duration
	Unknown int
}

// expected adds up what jobs are expected to take. Guarded by Batch.mu.
type expected struct {
	known int           // jobs that have not ended and of which something is known
	left  time.Duration // that they are expected to run
}

func (e *expected) add(j *Job) {
	if j.Expect.Wall > 0 {
		e.known++
		e.left += j.Expect.Wall
	}
}

func (e *expected) done(j *Job, r *Result, sum *Summary) {
	if j.Expect.Wall > 0 {
		e.known--
		e.left -= j.Expect.Wall
		sum.Expected += j.Expect.Wall
		sum.Took += max(r.Runtime(), 0)
	}
}

// ran is how long a task has run so far, without the time that the policy paused it. Called
// with mu held.
func (t *task) ran(now time.Time) time.Duration {
	paused := t.waits.sum.Policy + t.waits.sum.Memory - t.pausedBefore
	if (t.paused || t.suspended) && !t.waits.since.IsZero() {
		paused += now.Sub(t.waits.since)
	}
	return max(now.Sub(t.taken)-paused, 0)
}

// remaining is how long the jobs of which something is known will still run. Called with
// mu held.
func (b *Batch) remaining(now time.Time) time.Duration {
	left := b.expected.left
	for t := range b.begun {
		if t.proc != nil {
			left -= min(t.job.Expect.Wall, t.ran(now))
		}
	}
	if b.sum.Expected > 0 {
		left = time.Duration(float64(left) * float64(b.sum.Took) / float64(b.sum.Expected))
	}
	return max(left, 0)
}

// Stats returns the numbers of this moment.
func (b *Batch) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Stats{Summary: b.sum, Running: b.live, Queued: b.outstanding - b.live, InputDone: b.inputDone, Stopping: b.level > running}
	s.Left, s.Unknown = b.remaining(time.Now()), b.outstanding-b.expected.known
	if !b.begin.IsZero() {
		s.Wall = time.Since(b.begin)
	}
	s.Reasons = nil
	return s
}

// RunningJob describes a job that has a process, or is about to.
type RunningJob struct {
	Seq, Slot, Try int
	PID            int // 0 while it is being started
	Command        string
	Since          time.Time // when a slot took it
	// State is "starting", "running", "blocked" (it waits for something else than brood)
	// or "paused".
	State   string
	WaitFor Wait // of a paused one
}

// Running lists the jobs that have a process, in the order of their numbers.
func (b *Batch) Running() []RunningJob {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []RunningJob
	for _, t := range b.tasks {
		if t.slot == 0 {
			continue
		}
		j := RunningJob{Seq: t.seq, Slot: t.slot, Try: t.try, Command: t.command, Since: t.taken, State: "starting"}
		if t.proc != nil {
			j.PID = t.proc.PID()
			j.State = "running"
		}
		switch {
		case t.suspended:
			j.State, j.WaitFor = "paused", WaitMemory
		case t.paused:
			j.State, j.WaitFor = "paused", WaitPolicy
		case t.blocked:
			j.State = "blocked"
		}
		list = append(list, j)
	}
	slices.SortFunc(list, func(x, y RunningJob) int { return x.Seq - y.Seq })
	return list
}

// WaitingJob describes a job that has been read and has no process.
type WaitingJob struct {
	Seq, Try int
	Values   []string
	Since    time.Time // when it was read
	WaitFor  Wait
}

// Waiting lists the first jobs, at most limit, of those that have been read and have no
// process, in the order of their numbers, and says how many there are, by what they
// wait for.
func (b *Batch) Waiting(limit int) ([]WaitingJob, map[Wait]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []WaitingJob
	count := make(map[Wait]int)
	add := func(t *task, w Wait) {
		count[w]++
		list = append(list, WaitingJob{Seq: t.seq, Try: t.try, Values: t.job.Values, Since: t.arrived, WaitFor: w})
	}
	for _, t := range b.tasks {
		if t.slot == 0 {
			add(t, cmp.Or(b.waitsFor(t), WaitCPU))
		}
	}
	for t := range b.after.held {
		w := WaitJobs
		if b.level > running {
			w = WaitHalt
		}
		add(t, w)
	}
	for t := range b.retries {
		w := WaitBackOff
		if b.level > running {
			w = WaitHalt
		}
		add(t, w)
	}
	slices.SortFunc(list, func(x, y WaitingJob) int { return x.Seq - y.Seq })
	return list[:min(limit, len(list))], count
}

// MaxOutcomes bounds Summary.Outcomes.
const MaxOutcomes = 200_000

// peakSampled is the Report.PeakSource of what was sampled. What a cgroup counts has the files in
// it that the kernel keeps in memory, which are free as soon as somebody needs it: where it counts,
// memory is learned only while the watcher looks.
const peakSampled = "sampled"

// account fills in what the scheduling of a job came to, in its last try. Called with mu
// held.
func (b *Batch) account(t *task, r *Result) {
	now := time.Now()
	t.waits.until(now, b)
	t.look.unblock(now)
	r.Resident = t.look.most
	if r.PeakSource == peakSampled {
		r.Resident = max(r.Resident, r.PeakMemory)
	}
	r.Waits, r.Blocked, r.Expect = t.waits.sum, min(t.look.blockedTime, max(r.Runtime(), 0)), t.job.Expect
}

// ends books what scheduling must know of a task that ends. Called with policy and mu held.
func (b *Batch) ends(t *task, r *Result, final bool) {
	delete(b.begun, t)
	b.setGates(time.Now())
	if r.OK() && r.Resident > 0 {
		b.peaks.sum += r.Resident
		b.peaks.n++
	}
	if r.OK() && t.job.Template != nil {
		m := b.usual[t.job.Template]
		if m == nil {
			m = new(mean)
			b.usual[t.job.Template] = m
		}
		m.sum += r.User + r.System
		m.n++
	}
	b.trace(t, sched.Done, sched.Exits)
	if final {
		b.expected.done(&t.job, r, &b.sum)
	}
	whole := t.try == 1 && (r.Reason == Exited || r.Reason == Signaled)
	if final && whole && b.o.Measure && len(b.sum.Outcomes) < MaxOutcomes && !t.first.IsZero() {
		cpu := min(r.User+r.System, max(r.Runtime(), 0)) // of several CPUs, one
		b.sum.Outcomes = append(b.sum.Outcomes, sched.Outcome{
			Name: strconv.Itoa(t.seq), Arrive: t.arrived.Sub(b.begin), First: t.first.Sub(b.begin), End: r.End.Sub(b.begin),
			CPU: cpu, Blocked: max(r.Runtime()-cpu, 0), Waiting: r.Waits.All(), Preemptions: t.pauses,
		})
	}
}

// trace passes a change of state on. Called with mu held, so that the order of changes is
// that in which they happened.
func (b *Batch) trace(t *task, state sched.State, why sched.Cause) {
	if b.o.Trace == nil {
		return
	}
	b.o.Trace(sched.Change{At: time.Since(b.begin), Job: sched.Job(t.seq), State: state, Cause: why, Place: t.slot, Level: t.level})
}
