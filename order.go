package brood

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/brood-go/brood/sched"
)

// priorityKey is the key of WithPriority.
type priorityKey struct{}

// WithPriority returns a context with which submitted tasks have the priority n: of those
// that wait in a ProcessPool with the policy sched.Priority, the one with the highest number
// runs next. Without it a task has priority 0. It is read at Submit and can't be changed
// afterwards; other policies and pools ignore it. Numbers beyond 32 bits count as the
// largest, or smallest, of 32 bits.
func WithPriority(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, priorityKey{}, n)
}

// priorityOf is the priority given by WithPriority. The context may run the user's code.
func priorityOf(ctx context.Context) int32 {
	n, _ := ctx.Value(priorityKey{}).(int)
	return int32(min(max(n, math.MinInt32), math.MaxInt32))
}

// order is the queue of a pool with a policy. A policy of package sched pushes: it is told
// how many places there are, and says what runs on them. A pool pulls: whoever has a worker
// with room asks for one task. So the policy has as many places as tasks that it runs, and
// one more for as long as it is asked.
//
// # What the policy sees
//
// A task arrives when it is queued, and again when it is to run once more after an error or
// a death. It runs from pop to end, whatever happens meanwhile: one that comes back from a
// ring without having run waits outside, in pool.queue, and is still running here. All
// tasks are NoPause, as they may hold locks; so nothing is ever paused, no slice is ever
// over, and alarms, which are about slices, are ignored. RR and MLFQ are then first come,
// first served. What a task is expected to need is how long tasks of its Func ran.
//
// # Ownership and invariants
//
// Everything is guarded by the pool's mu, under which the policy is called.
//
//   - jobs are the tasks that have arrived and not finished, waiting those of them that
//     the policy has not run; running is the difference.
//   - Between two calls the policy has running places.
//   - end is called once for each task that leaves the queue and the rings (pool.leaves)
//     and for each that runs again. It is the only place where a Finish is reported.
//   - After err nothing is asked of the policy any more, and pop returns nothing; the books
//     are kept, so that the pool finds what waits.
type order struct {
	policy  sched.Policy
	name    string
	start   time.Time
	broke   func(error) // told of err, once
	err     error       // what the policy did that it must not
	last    sched.Job
	jobs    map[*Task]sched.Job
	waiting map[sched.Job]*Task
	lengths map[*entry]*length
}

// newOrder makes the order of a policy that has served nothing yet. Who uses it sets broke.
func newOrder(policy sched.Policy) (*order, error) {
	o := &order{
		policy: policy, name: fmt.Sprint(policy), start: time.Now(), broke: func(error) {},
		jobs: make(map[*Task]sched.Job), waiting: make(map[sched.Job]*Task), lengths: make(map[*entry]*length),
	}
	o.decide(0, sched.Event{Kind: sched.Resize})
	return o, o.err
}

func (o *order) running() int { return len(o.jobs) - len(o.waiting) }

// holds reports whether a task waits here. There may be no order.
func (o *order) holds(t *Task) bool {
	return o != nil && o.waiting[o.jobs[t]] == t
}

// push queues a task.
func (o *order) push(t *Task) {
	o.last++
	o.jobs[t], o.waiting[o.last] = o.last, t
	o.decide(o.running(), sched.Event{Kind: sched.Arrive, Job: o.last, Expect: o.expect(t), Priority: int(t.pool.payload.priority), NoPause: true})
}

// pop takes the task whose turn it is, nil if none waits or the policy runs none.
func (o *order) pop() *Task {
	if len(o.waiting) == 0 {
		return nil
	}
	n := o.running()
	t := o.decide(n+1, sched.Event{Kind: sched.Resize, Places: n + 1})
	if t != nil || o.err != nil {
		return t
	}
	o.decide(n, sched.Event{Kind: sched.Resize, Places: n})
	if n == 0 { // nothing would ever make it decide otherwise
		o.fail("runs none of %d tasks that wait, although nothing runs (a policy serves one pool)", len(o.waiting))
	}
	return nil
}

// end takes a task out, whether it waits, runs or came back. ran is how long it ran until
// it succeeded, else 0. One that is not here is none of its business.
func (o *order) end(t *Task, ran time.Duration) {
	job, ok := o.jobs[t]
	if !ok {
		return
	}
	delete(o.jobs, t)
	if o.waiting[job] != nil {
		delete(o.waiting, job)
		o.decide(o.running(), sched.Event{Kind: sched.Finish, Job: job})
		return
	}
	if ran > 0 {
		o.learn(t, ran)
	}
	n := o.running() // the place goes with the task
	o.decide(n, sched.Event{Kind: sched.Resize, Places: n}, sched.Event{Kind: sched.Finish, Job: job})
}

// decide tells the policy what has happened, and returns the task that it runs.
func (o *order) decide(places int, events ...sched.Event) (t *Task) {
	if o.err != nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			o.breaks(newPanicError("the policy "+o.name, v))
		}
	}()
	for _, d := range o.policy.Decide(time.Since(o.start), events...) {
		w := o.waiting[d.Job]
		switch {
		case d.Action == sched.SetAlarm:
		case d.Action != sched.Run:
			o.fail("decided to %v a task, but a ProcessPool pauses none", d.Action)
		case w == nil:
			o.fail("runs job %d, which does not wait here (a policy serves one pool)", d.Job)
		case o.running() >= places:
			o.fail("runs more tasks than there are places")
		default:
			delete(o.waiting, d.Job)
			t = w
		}
	}
	return t
}

func (o *order) fail(format string, args ...any) {
	o.breaks(fmt.Errorf("brood: the policy "+o.name+" "+format, args...))
}

// breaks notes the first thing that the policy did wrong.
func (o *order) breaks(err error) {
	if o.err == nil {
		o.err = err
		o.broke(err)
	}
}

// length is how long the tasks of a Func ran that succeeded.
type length struct {
	mean time.Duration
	n    int // tasks, up to lengthOver
}

// lengthOver is over how many of its last tasks the length of a Func is a mean, roughly:
// one more moves it by an eighth of the difference.
const lengthOver = 8

// learn counts a run.
func (o *order) learn(t *Task, ran time.Duration) {
	l := o.lengths[t.body.fn()]
	if l == nil {
		l = new(length)
		o.lengths[t.body.fn()] = l
	}
	l.n = min(l.n+1, lengthOver)
	l.mean += (ran - l.mean) / time.Duration(l.n)
}

// expect is how long a task will run, 0 if nothing is known.
func (o *order) expect(t *Task) time.Duration {
	if l := o.lengths[t.body.fn()]; l != nil {
		return max(l.mean, 1)
	}
	return 0
}
