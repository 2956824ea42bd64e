package batch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/brood-go/brood/internal/median"
	"github.com/brood-go/brood/sched"
)

// Batch is one run of a batch that can be watched and steered meanwhile. Its
// methods may be called by any goroutine.
//
// Several kinds of goroutines meet here. The reader takes jobs from the input and
// reports their arrival to the policy. The slots, each on its own thread, take
// what the policy lets run, and go from one job's end to the next one's start
// without handing over to anybody. The watcher, if there is one, looks at what runs
// (watch.go). The caller of Each waits for all.
//
// Locks, in the order in which they may be taken: delivery (results leave one at
// a time), policy (events are reported in order, and obeyed before the next
// one), mu (everything else; held only for moments).
//
// Wake argument: a slot sleeps on work, the reader on room, Each and Pause on over. Who
// adds a runnable job wakes one slot or opens one; who takes the last waiting
// job below half of ReadAhead wakes the reader; who changes level or inputDone,
// and a slot that leaves, wakes everybody; who decides the last start during a
// Pause wakes it, and Resume the slots. All of it happens under mu, and each
// sleeper looks at its condition under mu before it sleeps.
type Batch struct {
	o        Options
	ownPath  bool // the jobs' PATH is not ours
	programs programs
	tagged   sync.Mutex // Lines: one writer at a time
	log      *joblog    // nil without a job log

	delivery sync.Mutex
	deliver  func(*Result) error // nil after its first error
	spool    *spool              // with KeepOrder, and after one

	policy    sync.Mutex // see policy.go
	alarm     *time.Timer
	closed    bool        // the batch has ended: nobody is told anything any more
	openLater *time.Timer // of begins

	watching            bool // there is a watcher
	watchRing, watchEnd chan struct{}

	mu               sync.Mutex
	work, room, over sync.Cond
	level            level
	err              error // the first one
	begin, nextStart time.Time
	nextID           sched.Job
	tasks            map[sched.Job]*task
	runnable         []*task // decided to run, not yet taken by a slot
	retries          map[*task]*time.Timer
	waiting          int // read and not taken by a slot
	waitingBytes     int
	live             int            // taken by a slot and not finished
	starting         int            // of these, on the way to their start
	held             bool           // by Pause
	opened           bool           // the policy knows how many places there are
	begun            map[*task]bool // let run by the policy and not finished; written with both locks
	short            []*task        // let run, and the machine lacks what the first takes: nothing else may begin
	gates            gates
	peaks            struct{ sum, n int64 } // memory of jobs that have ended
	machine          machine
	lacking          Wait // what the first of short waits for
	limit            limitGate
	after            dependencies
	median           median.Median       // of the running times of jobs that ended well, with TimeoutPercent
	timeoutNow       time.Duration       // what it comes to, 0 before the first
	usual            map[*Template]*mean // CPU times of jobs that have ended well
	expected         expected
	more             bool // the reader had to wait: the input is longer than the window
	outstanding      int  // read and without a final result
	inputDone        bool
	maxSlots         int
	slots, idle      int
	returning        int   // slots between the end of a job and next
	opening          int   // slots that are on their way to next for the first time
	noSlot           error // why the last one could not be opened
	slotNumbers      []int // given back
	slotsOpened      int
	delayTimer       *time.Timer
	sum              Summary
	ran              bool
}

// level says how far the batch is on its way to a stop.
type level int

const (
	running     level = iota
	draining          // no new starts
	terminating       // running jobs are asked to end
	killing           // and killed
)

// task is a job between being read and its final result.
type task struct {
	id      sched.Job
	order   int // its place in this input, from 1
	seq     int // its number: order, but with Retry that in the job log
	try     int
	job     Job
	size    int
	arrived time.Time
	started time.Time // the first try
	taken   time.Time // this try
	entry   *logged   // its place in the job log

	// Guarded by Batch.mu.
	slot         int     // where it runs, 0 while it waits
	starting     bool    // taken by a slot; whether it runs is not known yet
	command      string  // what runs there
	proc         Running // nil until it is started
	waits        waiter
	look         looked
	first        time.Time     // when it first ran
	pausedBefore time.Duration // waits.sum.Policy and Memory when this try began
	wanted                     // with both locks, see policy.go
}

// queueBytes bounds the text of jobs that wait, beside their number.
const queueBytes = 64 << 20

// New prepares a batch. It is run once, by Each.
func New(o Options) (*Batch, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	b := &Batch{o: o.withDefaults(), tasks: make(map[sched.Job]*task), retries: make(map[*task]*time.Timer)}
	b.ownPath = o.Env != nil && !sameVar(o.Env, "PATH")
	b.o.Env = slices.Clone(b.o.Env)
	for _, name := range ownVars { // of a batch whose job this process is
		b.o.Env = withoutVar(b.o.Env, name)
	}
	b.o.Env = append(b.o.Env, "PARALLEL_PID="+strconv.Itoa(os.Getpid()))
	b.maxSlots, b.watching = max(b.o.Degree, b.o.Slots), b.o.needsWatcher()
	b.usual, b.begun = make(map[*Template]*mean), make(map[*task]bool)
	b.sum.Reasons = make(map[Reason]int)
	b.work.L, b.room.L, b.over.L = &b.mu, &b.mu, &b.mu
	return b, nil
}

// Each runs jobs and calls deliver with every result, one at a time; the result
// is valid until deliver returns. It returns when everything that was started
// has ended. When ctx ends, the batch is terminated. An error of deliver
// terminates it as well, and is returned.
func (b *Batch) Each(ctx context.Context, jobs iter.Seq2[Job, error], deliver func(*Result) error) (Summary, error) {
	b.mu.Lock()
	again := b.ran
	b.ran = true
	b.begin = time.Now()
	b.sum.Start = b.begin
	b.mu.Unlock()
	if again {
		return Summary{}, errors.New("batch: Each was called twice: make a new Batch")
	}
	b.deliver = deliver
	if err := b.openLog(); err != nil {
		return b.sum, err
	}
	stop := context.AfterFunc(ctx, b.Terminate)
	defer stop()
	var watcher sync.WaitGroup
	if b.watching {
		b.watchRing, b.watchEnd = make(chan struct{}, 1), make(chan struct{})
		watcher.Go(b.watchTrees)
	}
	b.beginLimit()
	b.begins()
	go b.read(jobs)
	b.wait()
	b.endLimit()
	b.endWatch(&watcher)
	b.flush()
	b.closeLog()
	b.spool.close()

	b.mu.Lock()
	defer b.mu.Unlock()
	for t, timer := range b.retries {
		timer.Stop()
		delete(b.retries, t)
	}
	b.sum.NotRun = b.outstanding
	b.sum.Wall = time.Since(b.begin)
	err := b.err
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return b.sum, err
}

// wait sleeps until nothing runs and nothing more will.
func (b *Batch) wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.slots > 0 || !b.ended() {
		b.over.Wait()
	}
}

// ended reports whether no job runs and none will. Called with mu held.
func (b *Batch) ended() bool {
	return b.live == 0 && (b.level > running || b.inputDone && b.outstanding == 0)
}

// read takes jobs from the input until it ends or the batch stops.
func (b *Batch) read(jobs iter.Seq2[Job, error]) {
	order := 0
	for job, err := range jobs {
		if err != nil {
			b.fail(err)
			break // what was read before is run
		}
		order++
		if !b.arrive(order, job) {
			break
		}
	}
	b.mu.Lock()
	b.inputDone = true
	b.wakeAll()
	b.mu.Unlock()
	b.open()
	b.link()
}

// arrive queues a job, after waiting for room; false when the batch stops.
func (b *Batch) arrive(order int, job Job) bool {
	t := &task{order: order, seq: order, try: 1, job: job, size: jobSize(&job), arrived: time.Now()}
	if job.again != nil {
		t.seq = job.again.seq
	}
	if b.log != nil {
		t.entry = b.log.find(&t.job, b.dir(&t.job))
		if t.entry.done && b.skip(t) {
			return b.going()
		}
	}
	b.mu.Lock()
	if b.full(t) {
		b.more = true
		b.mu.Unlock()
		b.open()
		b.mu.Lock()
	}
	for b.level == running && b.full(t) {
		b.room.Wait()
	}
	if b.level > running {
		b.mu.Unlock()
		return false
	}
	b.sum.Jobs++
	b.outstanding++
	b.expected.add(&t.job)
	waits := b.await(t)
	b.mu.Unlock()
	if !waits {
		b.enqueue(t)
	}
	return true
}

// total is how many jobs there are in all, 0 while that is not known. Called with mu held.
func (b *Batch) total() int {
	switch {
	case b.o.Total > 0:
		return b.o.Total
	case b.inputDone:
		return b.sum.Jobs + b.sum.Skipped
	}
	return 0
}

// timeout is how long a job may run that is started now.
func (b *Batch) timeout() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(b.o.Timeout, b.timeoutNow)
}

// newTimeout adds a running time to those that TimeoutPercent goes by. Called with mu held.
func (b *Batch) newTimeout(took time.Duration) {
	if b.o.TimeoutPercent == 0 {
		return
	}
	b.median.Add(took)
	const most = 1 << 62
	d := max(time.Duration(min(b.o.TimeoutPercent/100*float64(b.median.Value()), most)), time.Millisecond)
	if diff := d - b.timeoutNow; diff == 0 || b.timeoutNow > 0 && diff.Abs() < b.timeoutNow/100 {
		return // those that run are told of a change that matters
	}
	b.timeoutNow = d
	for t := range b.begun {
		if t.proc != nil {
			t.proc.SetTimeout(d)
		}
	}
}

// full reports whether a task must wait until others have begun. Called with mu held.
func (b *Batch) full(t *task) bool {
	return b.waiting > 0 && (b.waiting >= b.o.ReadAhead || b.waitingBytes+t.size > queueBytes)
}

// skip passes over a job that an earlier run has done. Its output is delivered
// in its turn if it was kept but not delivered then.
func (b *Batch) skip(t *task) bool {
	b.delivery.Lock()
	defer b.delivery.Unlock()
	p := place{state: passed}
	if t.entry.spooled {
		if b.spool == nil || b.spool.check(t.entry.offset) != nil {
			return false // its output is lost: it counts as not ended
		}
		p = place{state: spooled, offset: t.entry.offset, entry: t.entry}
	}
	b.mu.Lock()
	b.sum.Skipped++
	if g := b.name(t.job.Name, 0); g != nil && !t.entry.ok && g.failed == "" {
		g.failed = t.called() + " failed in an earlier run"
	}
	b.mu.Unlock()
	if err := b.pass(t.order, p); err != nil {
		b.outputError(nil, err)
	}
	return true
}

// dir is a job's working directory.
func (b *Batch) dir(j *Job) string {
	if j.Dir != "" {
		return j.Dir
	}
	return b.o.Dir
}

func (b *Batch) going() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.level == running
}

// jobSize is about how much memory a waiting job takes.
func jobSize(j *Job) int {
	n := 200 + len(j.Command.Text)
	for _, l := range [][]string{j.Values, j.Command.Argv, j.Env} {
		for _, s := range l {
			n += 16 + len(s)
		}
	}
	return n
}

// enqueue reports a task's arrival to the policy.
func (b *Batch) enqueue(t *task) {
	b.mu.Lock()
	b.nextID++
	t.id = b.nextID
	b.tasks[t.id] = t
	b.waiting++
	b.waitingBytes += t.size
	now := time.Now()
	t.waits.until(now, b) // of a back-off
	t.waits.arrive(now, b)
	t.wanted, t.look = wanted{}, looked{}
	e := b.arrival(t)
	b.trace(t, sched.New, sched.Arrives)
	b.mu.Unlock()
	b.report(e)
}

// arrival is the event. Called with mu held.
func (b *Batch) arrival(t *task) sched.Event {
	return sched.Event{
		Kind: sched.Arrive, Job: t.id, Expect: b.expectation(t), Priority: t.job.Priority, NoPause: t.job.NoPause,
		Need: t.job.Need, Length: t.length(b.o.Timeout),
	}
}

// length is how long a task is expected to run, or may.
func (t *task) length(most time.Duration) time.Duration {
	if d := t.job.Expect.Wall; d > 0 && (most == 0 || d < most) {
		return d
	}
	return most
}

// expectation is the CPU time that a task is expected to use: what is known of it, else the
// mean of those of its template that have ended. Called with mu held.
func (b *Batch) expectation(t *task) time.Duration {
	if m := b.usual[t.job.Template]; t.job.Expect.CPU == 0 && m != nil {
		t.job.Expect.CPU = m.value()
	}
	return t.job.Expect.CPU
}

// mean is a mean of durations.
type mean struct {
	sum time.Duration
	n   int
}

func (m *mean) value() time.Duration { return m.sum / time.Duration(m.n) }

// wakeSlot makes sure that somebody takes the last runnable job. A slot that has ended a job
// looks for the next one by itself. Called with mu held.
func (b *Batch) wakeSlot() {
	switch {
	case len(b.runnable) <= b.returning+b.opening:
	case b.idle > 0:
		b.work.Signal()
	case b.slots < b.maxSlots && b.level == running:
		n := b.slotsOpened + 1
		if k := len(b.slotNumbers); k > 0 {
			n = b.slotNumbers[k-1]
			b.slotNumbers = b.slotNumbers[:k-1]
		} else {
			b.slotsOpened++
		}
		b.slots++
		b.opening++
		b.o.Runner.Open(n, func(s Slot, err error) { b.serve(n, s, err) })
	}
}

// wakeAll is for changes that concern everybody. Called with mu held.
func (b *Batch) wakeAll() {
	b.work.Broadcast()
	b.room.Broadcast()
	b.over.Broadcast()
}

// serve is a slot's life.
func (b *Batch) serve(n int, s Slot, err error) {
	b.mu.Lock()
	b.opening--
	b.mu.Unlock()
	if err == nil {
		var out outputs
		for t := b.next(n, false); t != nil; t = b.next(n, true) {
			b.runJob(s, n, t, &out)
		}
		out.reset()
	}
	b.mu.Lock()
	b.slots--
	b.slotNumbers = append(b.slotNumbers, n)
	slices.SortFunc(b.slotNumbers, func(x, y int) int { return y - x }) // the lowest is used next
	places := b.slots
	if err != nil {
		b.maxSlots = places
		if places == 0 {
			b.setErr(fmt.Errorf("batch: no job can be run: %w", err))
			b.level = max(b.level, draining)
		} else if len(b.runnable) > 0 {
			b.wakeSlot()
		}
		b.noSlot = err
	}
	b.wakeAll()
	b.mu.Unlock()
	if err != nil && places > 0 {
		b.fewer()
	}
}

// fewer is for when a slot could not be opened. The others go on: there are just fewer of
// them. What was let run for this one waits anew.
func (b *Batch) fewer() {
	b.policy.Lock()
	defer b.policy.Unlock()
	b.mu.Lock()
	events := b.again(nil)
	if b.opened {
		events = append(events, b.size()) // when it is known who waits for memory
	}
	b.mu.Unlock()
	b.tell(events)
}

// next returns what slot n runs next, nil when there will be nothing more. back says that
// it has just ended a job.
func (b *Batch) next(n int, back bool) *task {
	b.mu.Lock()
	defer b.mu.Unlock()
	if back {
		b.returning--
	}
	for {
		if b.level > running || b.ended() {
			b.wakeAll()
			return nil
		}
		if len(b.runnable) > 0 && !b.held && b.mayStart() {
			break
		}
		b.idle++
		b.work.Wait()
		b.idle--
	}
	t := b.runnable[0]
	b.runnable[0] = nil
	b.runnable = b.runnable[1:]
	if len(b.runnable) > 0 {
		b.wakeSlot()
	}
	b.live++
	b.starting++
	t.starting = true
	b.waiting--
	b.waitingBytes -= t.size
	if b.waiting <= b.o.ReadAhead/2 && b.waitingBytes <= queueBytes/2 {
		b.room.Signal()
	}
	t.slot = n
	now := time.Now()
	t.waits.until(now, b) // of a delay
	t.pausedBefore = t.waits.sum.Policy + t.waits.sum.Memory
	if b.watching {
		b.nextStart = now.Add(b.o.Delay) // the start counts, not the decision
	}
	t.taken = now
	if t.started.IsZero() {
		t.started = now
		b.sum.Wait += now.Sub(t.arrived)
	}
	return t
}

// mayStart keeps the least time between two starts: true takes this moment.
// Called with mu held.
func (b *Batch) mayStart() bool {
	if b.o.Delay == 0 || b.watching { // then admit keeps it
		return true
	}
	now := time.Now()
	if wait := b.nextStart.Sub(now); wait > 0 {
		if b.delayTimer == nil {
			b.delayTimer = time.AfterFunc(wait, func() {
				b.mu.Lock()
				b.delayTimer = nil
				b.work.Broadcast()
				b.mu.Unlock()
			})
		}
		return false
	}
	b.nextStart = now.Add(b.o.Delay)
	return true
}

// finish books a task's end: its final one, or that of a try with more to come.
func (b *Batch) finish(t *task, r *Result, final bool) {
	b.policy.Lock()
	defer b.policy.Unlock()
	b.mu.Lock()
	id := t.id
	b.ends(t, r, final)
	delete(b.tasks, id)
	t.proc, t.slot = nil, 0
	b.live--
	b.returning++
	b.sum.CPU += r.User + r.System
	if final {
		b.count(r)
	} else {
		b.retryLater(t)
	}
	b.mu.Unlock()
	b.tell([]sched.Event{{Kind: sched.Finish, Job: id, CPU: r.User + r.System}})
	b.mu.Lock()
	if b.ended() {
		b.wakeAll()
	}
	b.mu.Unlock()
}

// retryLater queues a failed task again: after RetryDelay, doubled with each try,
// with jitter so that jobs that failed together do not come back together.
// Called with mu held.
func (b *Batch) retryLater(t *task) {
	delay := min(b.o.RetryDelay<<min(t.try-1, 20), max(time.Minute, b.o.RetryDelay))
	if t.evicted { // it was no failure; when it may begin again is the machine's business
		delay, b.sum.Evicted = machineEvery, b.sum.Evicted+1
	} else {
		t.try++
	}
	delay = delay/2 + rand.N(delay/2+1)
	t.waits.begin(time.Now(), WaitBackOff)
	b.retries[t] = time.AfterFunc(delay, func() {
		b.mu.Lock()
		_, wanted := b.retries[t]
		delete(b.retries, t)
		b.mu.Unlock()
		if wanted {
			b.enqueue(t) // tells nobody if the batch has ended meanwhile
		}
	})
}

// count books a final result and halts the batch if it is time. Called with mu held.
func (b *Batch) count(r *Result) {
	b.outstanding--
	b.sum.Done++
	if r.OK() {
		b.sum.OK++
		b.newTimeout(r.Runtime())
	} else {
		b.sum.Failed++
		b.sum.Reasons[r.Reason]++
	}
	b.sum.halt, b.sum.total = b.o.Halt, b.total()
	if b.sum.Halted || b.level > running || !b.o.Halt.reached(b.sum.OK, b.sum.Failed-b.sum.Reasons[Skipped], b.sum.total) {
		return
	}
	b.sum.Halted, b.sum.haltFailed = true, b.sum.Failed
	if b.o.Halt.first(b.sum.total) {
		b.sum.HaltCode = r.Code()
	}
	if b.o.Halt.When == HaltNow {
		b.raise(terminating)
	} else {
		b.raise(draining)
	}
}

// endWatch ends the watcher and what else waits for a time to come.
func (b *Batch) endWatch(watcher *sync.WaitGroup) {
	if b.watchEnd != nil {
		close(b.watchEnd)
		watcher.Wait()
	}
	b.policy.Lock()
	defer b.policy.Unlock()
	b.closed = true
	for _, t := range []*time.Timer{b.alarm, b.openLater} {
		if t != nil {
			t.Stop()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.o.Trace = nil // somebody may be on the way to enqueue
	if b.noSlot != nil && b.maxSlots > 0 {
		b.sum.Notes = append(b.sum.Notes, fmt.Sprintf("no more than %d jobs could have a process at once: %v", b.maxSlots, b.noSlot))
	}
	if _, ok := b.o.Policy.(sched.Chooser); ok && b.more {
		b.sum.Notes = append(b.sum.Notes, fmt.Sprintf("%s: the input is longer than the window of %d jobs that are read ahead: the order is right within it", b.o.Policy, b.o.ReadAhead))
	}
}

// fail keeps the first error.
func (b *Batch) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.setErr(err)
}

func (b *Batch) setErr(err error) {
	if b.err == nil && !errors.Is(err, errStopped) {
		b.err = err
	}
}

// outputError ends what can't go on: everything if the output can't be written,
// one job if its own output can't be kept; then no more jobs are started either,
// because the same would happen to them.
func (b *Batch) outputError(t *task, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t != nil && errors.Is(err, errTemp) {
		err = fmt.Errorf("job %d: %w", t.seq, err)
	}
	b.setErr(err)
	if t == nil || !errors.Is(err, errTemp) {
		b.raise(terminating)
		return
	}
	b.raise(draining)
	if t.proc != nil {
		t.proc.Stop()
	}
}

// startDecided notes that a task runs now, or will not. Called with mu held.
func (b *Batch) startDecided(t *task) {
	if !t.starting {
		return
	}
	t.starting = false
	b.starting--
	if b.held {
		b.over.Broadcast()
	}
}

// Drain starts no more jobs; those that run go on to their ends.
func (b *Batch) Drain() { b.ask(draining) }

// Terminate starts no more jobs and begins the stop sequence of those that run.
func (b *Batch) Terminate() { b.ask(terminating) }

// Kill starts no more jobs and kills those that run.
func (b *Batch) Kill() { b.ask(killing) }

// ask raises the level.
func (b *Batch) ask(l level) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.raise(l)
}

// raise raises the level. Called with mu held; it only asks, and waits for nothing.
func (b *Batch) raise(l level) {
	if l <= b.level {
		return
	}
	if b.level == running {
		go b.withdraw() // not from here: mu is held
	}
	b.level = l
	for _, t := range b.tasks {
		b.press(t)
	}
	b.wakeAll()
}

// press passes the level on to a running task. Called with mu held.
func (b *Batch) press(t *task) {
	switch {
	case t.proc == nil:
	case b.level == terminating:
		t.proc.Stop()
	case b.level == killing:
		t.proc.Kill()
	}
}

// sameVar reports whether env has the same value of a variable as this process.
func sameVar(env []string, name string) bool {
	i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	return i >= 0 && env[i] == name+"="+os.Getenv(name)
}
