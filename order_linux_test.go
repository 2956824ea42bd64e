package brood

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// Pools with a policy: in which order tasks run, and that the policy's books are right
// whatever happens to them.

// jotting is what a jot does: it reads a named pipe, if there is one, and writes its name
// into a file.
type jotting struct{ Pipe, File, Name string }

func jot(_ context.Context, j jotting) (string, error) {
	if j.Pipe != "" {
		if b, err := os.ReadFile(j.Pipe); err != nil || string(b) == "fail" {
			return "", errors.Join(err, errOurs)
		}
	}
	f, err := os.OpenFile(j.File, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, j.Name)
	return j.Name, err
}

// jots are Funcs that differ in how long they have taken.
var jots = map[string]*Func[jotting, string]{
	"short":  NewFunc("test/jot short", jot).Idempotent(),
	"middle": NewFunc("test/jot middle", jot).Idempotent(),
	"long":   NewFunc("test/jot long", jot).Idempotent(),
}

// ordered is a pool with one worker, what was submitted to it, and in which order it ran.
type ordered struct {
	*ProcessPool
	t    *testing.T
	file string
	fs   []*Future[string]
}

// onOrdered runs a test on both ways of transport, with a policy of its own each.
func onOrdered(t *testing.T, o PoolOptions, policy func() sched.Policy, f func(p *ordered)) {
	t.Helper()
	for _, sockets := range []bool{false, true} {
		t.Run(fmt.Sprintf("sockets=%v", sockets), func(t *testing.T) {
			watchdog(t, time.Minute)
			audit := &audited{Policy: policy(), t: t, states: make(map[sched.Job]string)}
			o := o
			o.sockets, o.Policy = sockets, audit
			if o.Workers == 0 {
				o.Workers = 1
			}
			p := &ordered{newProcesses(t, o), t, filepath.Join(t.TempDir(), "order"), nil}
			f(p)
			p.p.mu.Lock()
			defer p.p.mu.Unlock()
			audit.wantEmpty()
			if n := len(p.p.order.jobs) + len(p.p.order.waiting); n != 0 || p.p.order.err != nil {
				t.Errorf("%d tasks are left in the order, %v", n, p.p.order.err)
			}
		})
	}
}

// hold keeps the only worker busy until release is called.
func (p *ordered) hold() (release func()) {
	p.t.Helper()
	path := pipes(p.t, 1)[0]
	f := readPipe.Submit(p.t.Context(), p, path)
	eventually(p.t, "it runs", func() bool { return f.State() == Running })
	return func() {
		p.t.Helper()
		tell(p.t, path, "released")
		want(p.t, "the one that held the worker", f, "released")
	}
}

// submit submits a jot of a kind with a priority.
func (p *ordered) submit(kind, name string, priority int) *Future[string] {
	f := jots[kind].Submit(WithPriority(p.t.Context(), priority), p, jotting{File: p.file, Name: name})
	p.fs = append(p.fs, f)
	return f
}

// want waits until everything that was submitted has its result, and compares the order.
func (p *ordered) want(names string) {
	p.t.Helper()
	for _, f := range p.fs {
		if _, err := f.Result(p.t.Context()); err != nil {
			p.t.Error(err)
		}
	}
	p.wantSoFar(names)
}

func (p *ordered) wantSoFar(names string) {
	p.t.Helper()
	b, _ := os.ReadFile(p.file)
	if got := strings.Join(strings.Fields(string(b)), " "); got != names {
		p.t.Errorf("they ran in the order %s, want %s", got, names)
	}
}

// audited watches over what is said to a policy.
type audited struct {
	sched.Policy
	t       *testing.T
	states  map[sched.Job]string
	running int
	now     time.Duration
}

func (a *audited) Decide(now time.Duration, events ...sched.Event) []sched.Decision {
	places := -1
	if now < a.now {
		a.t.Errorf("time goes back from %v to %v", a.now, now)
	}
	a.now = now
	for _, e := range events {
		was := a.states[e.Job]
		switch {
		case e.Kind == sched.Resize:
			places = e.Places
		case e.Kind == sched.Arrive && was == "" && e.NoPause:
			a.states[e.Job] = "waits"
		case e.Kind == sched.Finish && was == "runs":
			a.running--
			a.states[e.Job] = "ended"
		case e.Kind == sched.Finish && was == "waits":
			a.states[e.Job] = "ended"
		default:
			a.t.Errorf("%v of job %d, which is %q", e.Kind, e.Job, was)
		}
	}
	if places >= 0 && places != a.running && places != a.running+1 {
		a.t.Errorf("%d places for %d running jobs", places, a.running)
	}
	ds := a.Policy.Decide(now, events...)
	for _, d := range ds {
		if d.Action == sched.Run {
			a.states[d.Job] = "runs"
			a.running++
		}
	}
	return ds
}

// wantEmpty is called with the pool's lock held.
func (a *audited) wantEmpty() {
	a.t.Helper()
	for job, state := range a.states {
		if state != "ended" {
			a.t.Errorf("job %d %s for ever", job, state)
		}
	}
}

func TestOrder(t *testing.T) {
	byPriority := "max e b d a f c min"
	submitted := "a b c d e f max min"
	for _, c := range []struct {
		name   string
		policy func() sched.Policy
		want   string
	}{
		{"priority", func() sched.Policy { return &sched.Priority{} }, byPriority},
		{"slow ageing", func() sched.Policy { return &sched.Priority{Ageing: time.Hour} }, "e b d a f c min"},
		{"preemptive", func() sched.Policy { return &sched.Priority{Preempt: true} }, byPriority},
		// Whoever came before has gained more than it lacks.
		{"fast ageing", func() sched.Policy { return &sched.Priority{Ageing: 1} }, "a b c d e f"},
		{"fcfs", func() sched.Policy { return &sched.FCFS{} }, submitted},
		{"rr", func() sched.Policy { return &sched.RR{} }, submitted},
		{"mlfq", func() sched.Policy { return &sched.MLFQ{} }, submitted},
		{"patient sjf", func() sched.Policy { return &sched.SJF{Patience: 1} }, submitted},
		{"lifo", func() sched.Policy { return &lifo{} }, "min max f e d c b a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			onOrdered(t, PoolOptions{}, c.policy, func(p *ordered) {
				release := p.hold()
				for i, priority := range []int{0, 5, -1, 5, 9, 0, math.MaxInt, math.MinInt} {
					if name := strings.Fields(submitted)[i]; strings.Contains(c.want, name) {
						p.submit("short", name, priority)
					}
				}
				if s := p.Stats(); s.Queued != len(p.fs) || s.Running != 1 {
					t.Errorf("%d queued, %d running", s.Queued, s.Running)
				}
				release()
				p.want(c.want)
			})
		})
	}
}

// By length, as it was measured: the warm-up of each Func lies within that of the next
// longer one.
func TestOrderByLength(t *testing.T) {
	for name, c := range map[string]struct {
		policy func() sched.Policy
		want   string
	}{
		"sjf": {func() sched.Policy { return &sched.SJF{} }, "s1 s2 m1 m2 l1 l2"},
		"lpt": {func() sched.Policy { return &sched.LPT{} }, "l1 l2 m1 m2 s1 s2"},
	} {
		t.Run(name, func(t *testing.T) {
			onOrdered(t, PoolOptions{Workers: 3}, c.policy, func(p *ordered) {
				paths := pipes(t, 2)
				var warm []*Future[string]
				for i, kind := range []string{"long", "middle"} {
					f := jots[kind].Submit(t.Context(), p, jotting{Pipe: paths[i], File: os.DevNull, Name: kind})
					eventually(t, "it runs", func() bool { return f.State() == Running })
					warm = append(warm, f)
				}
				want(t, "short", jots["short"].Submit(t.Context(), p, jotting{File: os.DevNull}), "")
				for i, f := range slices.Backward(warm) {
					tell(t, paths[i], "go on")
					f.Result(t.Context())
				}
				p.Resize(1)
				release := p.hold()
				for _, name := range strings.Fields("m1 l1 s1 l2 s2 m2") {
					p.submit(map[byte]string{'s': "short", 'm': "middle", 'l': "long"}[name[0]], name, 0)
				}
				release()
				p.want(c.want)
			})
		})
	}
}

func TestExpectedLengths(t *testing.T) {
	o, err := newOrder(&sched.SJF{})
	if err != nil {
		t.Fatal(err)
	}
	task := &square.call(t.Context(), 1).t
	run := func(ran time.Duration) {
		o.push(task)
		if o.pop() != task {
			t.Fatal("another task runs")
		}
		o.end(task, ran)
		o.end(task, time.Hour) // that is none of its business
	}
	if d := o.expect(task); d != 0 {
		t.Errorf("%v without a run", d)
	}
	run(0) // it failed
	if d := o.expect(task); d != 0 {
		t.Errorf("%v after a failure", d)
	}
	run(time.Second)
	run(3 * time.Second)
	if d := o.expect(task); d != 2*time.Second {
		t.Errorf("%v after 1 s and 3 s", d)
	}
	for range 40 {
		run(time.Minute)
	}
	if d := o.expect(task); d < 58*time.Second || d > time.Minute {
		t.Errorf("%v after it has taken a minute 40 times", d)
	}
	if d := o.expect(&echo.call(t.Context(), nil).t); d != 0 {
		t.Errorf("%v of another Func", d)
	}
	// In a pool, too, a failure says nothing of the length.
	p := newProcesses(t, PoolOptions{Workers: 1, Policy: &sched.SJF{}})
	failing.Call(t.Context(), p, "ours")
	square.Call(t.Context(), p, 1)
	p.p.mu.Lock()
	defer p.p.mu.Unlock()
	if l := p.p.order.lengths; len(l) != 1 || l[square.entry] == nil || l[square.entry].mean <= 0 {
		t.Errorf("lengths of %d Funcs", len(l))
	}
}

func byPriority() sched.Policy { return &sched.Priority{} }

// What is cancelled while it waits ends at once, does not run, and blocks nobody.
func TestOrderWithoutCancelled(t *testing.T) {
	onOrdered(t, PoolOptions{}, byPriority, func(p *ordered) {
		release := p.hold()
		var cancelled []*Future[string]
		for i := range 100 {
			cancelled = append(cancelled, p.submit("short", fmt.Sprint("cancelled", i), i%3))
		}
		p.fs = nil
		p.submit("short", "a", 0)
		p.submit("short", "b", 1)
		for _, f := range cancelled {
			if !f.Cancel() {
				p.t.Error("it was not cancelled")
			}
			if _, err := f.Result(p.t.Context()); !errors.Is(err, context.Canceled) {
				p.t.Error(err)
			}
		}
		if s := p.Stats(); s.Queued != 2 {
			p.t.Errorf("%d are queued", s.Queued)
		}
		release()
		p.want("b a")
	})
}

// A worker dies in the middle: of what waits nothing is lost, and it stays in order. What
// runs again waits for its turn again.
func TestOrderAfterDeath(t *testing.T) {
	onOrdered(t, PoolOptions{CrashRetries: 1, ErrorRetries: 1}, byPriority, func(p *ordered) {
		path := pipes(p.t, 1)[0]
		again := jots["short"].Submit(p.t.Context(), p, jotting{Pipe: path, File: p.file, Name: "again"})
		eventually(p.t, "it runs", func() bool { return again.State() == Running })
		p.submit("short", "less", -1)
		first := p.submit("short", "more", 1)
		p.submit("short", "most", 2)
		kill(p.Stats().Processes[slices.IndexFunc(p.Stats().Processes, func(w WorkerStats) bool { return w.State == "busy" })].PID)
		want(p.t, "the more urgent one", first, "more")
		p.wantSoFar("most more")
		second := p.submit("short", "second", 1)
		tell(p.t, path, "fail") // it runs again, after one that is more urgent
		want(p.t, "the more urgent one", second, "second")
		tell(p.t, path, "succeed")
		want(p.t, "the one that died and failed", again, "again")
		p.want("most more second again less")
	})
}

// What comes back from the ring of a worker that died before it ran has had its turn. If it
// is cancelled there, it is the turn of the next one.
func TestOrderOfReturned(t *testing.T) {
	onOrdered(t, PoolOptions{Spares: -1}, byPriority, func(p *ordered) {
		if p.p.outbox == nil {
			return // over a socket nobody knows that it did not run
		}
		pid, err := getpid.Call(p.t.Context(), p, struct{}{})
		if err != nil {
			p.t.Fatal(err)
		}
		suspend(p.t, pid)
		gone := p.submit("short", "cancelled", 0)
		p.submit("short", "first", 0)
		gone.Cancel()
		p.fs = p.fs[1:]
		p.submit("short", "last", 8)
		p.submit("short", "second", 9)
		kill(pid)
		p.want("first second last")
	})
}

// Workers that are replaced after each task, and a pool that starts them as needed.
func TestOrderWithFreshWorkers(t *testing.T) {
	onOrdered(t, PoolOptions{MaxTasks: 1, IdleTimeout: time.Hour}, byPriority, func(p *ordered) {
		release := p.hold()
		for i, name := range strings.Fields("a b c d e f") {
			p.submit("short", name, i%3)
		}
		release()
		p.want("c f b e a d")
	})
}

func TestCloseOfOrder(t *testing.T) {
	onOrdered(t, PoolOptions{}, byPriority, func(p *ordered) {
		running := untilDone.Submit(p.t.Context(), p, struct{}{})
		eventually(p.t, "it runs", func() bool { return running.State() == Running })
		for i := range 50 {
			p.submit("short", "waits", i%5)
		}
		p.Close()
		for _, f := range p.fs {
			if _, err := f.Result(p.t.Context()); !errors.Is(err, ErrClosed) {
				p.t.Error(err)
			}
		}
		p.wantSoFar("")
		if s := p.Stats(); s.Queued != 0 || s.Failed != 51 {
			p.t.Errorf("%+v", s)
		}
	})
}

func TestShutdownOfOrder(t *testing.T) {
	onOrdered(t, PoolOptions{}, byPriority, func(p *ordered) {
		release := p.hold()
		p.submit("short", "a", 0)
		p.submit("short", "b", 1)
		ctx, cancel := context.WithCancel(p.t.Context())
		cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			p.t.Error(err)
		}
		release()
		if err := p.Shutdown(p.t.Context()); err != nil {
			p.t.Error(err)
		}
		p.want("b a")
	})
}

// lifo is a policy of a program's own: what came last runs first.
type lifo struct {
	places int
	jobs   []sched.Job // that wait
	runs   map[sched.Job]bool
}

func (*lifo) String() string { return "lifo" }

func (l *lifo) Decide(_ time.Duration, events ...sched.Event) (ds []sched.Decision) {
	if l.runs == nil {
		l.runs = make(map[sched.Job]bool)
	}
	for _, e := range events {
		switch e.Kind {
		case sched.Resize:
			l.places = e.Places
		case sched.Arrive:
			l.jobs = append(l.jobs, e.Job)
		case sched.Finish:
			l.jobs = slices.DeleteFunc(l.jobs, func(j sched.Job) bool { return j == e.Job })
			delete(l.runs, e.Job)
		}
	}
	for len(l.runs) < l.places && len(l.jobs) > 0 {
		last := len(l.jobs) - 1
		ds = append(ds, sched.Decision{Action: sched.Run, Job: l.jobs[last]})
		l.runs[l.jobs[last]] = true
		l.jobs = l.jobs[:last]
	}
	return ds
}

// Map yields its results in the order of the arguments, in whatever order they ran.
func TestMapInAnyOrder(t *testing.T) {
	onOrdered(t, PoolOptions{Workers: 2}, func() sched.Policy { return &lifo{} }, func(p *ordered) {
		n := 0
		for v, err := range square.Map(p.t.Context(), p, slices.Values(make([]int, 3000))) {
			if v != 0 || err != nil {
				p.t.Fatal(v, err)
			}
			n++
		}
		i := 0
		for v, err := range square.Map(p.t.Context(), p, func(yield func(int) bool) {
			for k := range 3000 {
				if !yield(k) {
					return
				}
			}
		}) {
			if v != i*i || err != nil {
				p.t.Fatalf("%d: %v, %v", i, v, err)
			}
			i++
		}
		if n != 3000 || i != 3000 {
			p.t.Errorf("%d and %d results", n, i)
		}
	})
}

// hesitant is a policy that does not take the second place that it is offered.
type hesitant struct {
	sched.FCFS
	offers int
}

func (*hesitant) String() string { return "hesitant" }

func (s *hesitant) Decide(now time.Duration, events ...sched.Event) []sched.Decision {
	if len(events) == 1 && events[0].Kind == sched.Resize && events[0].Places > 0 {
		if s.offers++; s.offers == 2 {
			return nil
		}
	}
	return s.FCFS.Decide(now, events...)
}

// A Call that has the policy run another task does not wait for that one's end.
func TestCallForAnother(t *testing.T) {
	onOrdered(t, PoolOptions{Workers: 2}, func() sched.Policy { return &hesitant{} }, func(p *ordered) {
		serving(p.t, p.ProcessPool, 2)
		release := p.hold()
		path := pipes(p.t, 1)[0]
		other := readPipe.Submit(p.t.Context(), p, path)
		if s := p.Stats(); s.Queued != 1 {
			p.t.Errorf("%d wait", s.Queued)
		}
		called := make(chan error, 1)
		go func() {
			v, err := square.Call(p.t.Context(), p, 4)
			if v != 16 && err == nil {
				err = fmt.Errorf("4² = %d", v)
			}
			called <- err
		}()
		eventually(p.t, "the other one runs", func() bool { return other.State() == Running })
		release()
		if err := <-called; err != nil {
			p.t.Error(err)
		}
		tell(p.t, path, "too")
		want(p.t, "the other one", other, "too")
	})
}

// Whatever happens to tasks, the policy learns of the end of each, once, and has as many
// places as it runs tasks (audited sees to that).
func TestBooksOfOrder(t *testing.T) {
	o := PoolOptions{Workers: 3, MaxTasks: 20, IdleTimeout: 100 * time.Millisecond, TaskTimeout: 100 * time.Millisecond, Grace: -1, CrashRetries: 1, ErrorRetries: 1}
	n := 500
	if long {
		n = 10_000
	}
	onOrdered(t, o, func() sched.Policy { return &sched.SJF{Patience: 10 * time.Millisecond} }, func(p *ordered) {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		outcomes := make(chan error, 64)
		in := 0
		for i := range n {
			if in == cap(outcomes) {
				<-outcomes
				in--
			}
			in++
			switch act := rng.IntN(40); {
			case act < 20:
				sendOutcome(square.Submit(p.t.Context(), p, i), outcomes)
			case act < 24: // it fails, and runs again
				sendOutcome(jots["middle"].Submit(p.t.Context(), p, jotting{Pipe: "/nonexistent"}), outcomes)
			case act < 26: // it is killed
				f := deaf.Submit(p.t.Context(), p, struct{}{})
				time.AfterFunc(time.Duration(rng.IntN(3_000_000)), func() { f.Cancel() })
				sendOutcome(f, outcomes)
			case act < 27: // it runs out of time
				sendOutcome(deaf.Submit(p.t.Context(), p, struct{}{}), outcomes)
			case act < 38: // it is cancelled, mostly before it runs
				f := square.Submit(p.t.Context(), p, i)
				if act%2 == 0 {
					time.AfterFunc(time.Duration(rng.IntN(1_000_000)), func() { f.Cancel() })
				} else {
					f.Cancel()
				}
				sendOutcome(f, outcomes)
			default:
				ws := slices.DeleteFunc(p.Stats().Processes, func(w WorkerStats) bool { return w.State == "starting" })
				if len(ws) > 0 { // one that was stopped as it starts has a lot of time
					sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP}[act%2]
					syscall.Kill(ws[rng.IntN(len(ws))].PID, sig)
				}
				p.Resize(1 + rng.IntN(4))
				sendOutcome(jots["short"].Submit(p.t.Context(), p, jotting{File: os.DevNull}), outcomes)
			}
		}
		for ; in > 0; in-- {
			<-outcomes
		}
		if s := p.Stats(); s.Queued != 0 || s.Done+s.Failed != int64(n) || s.Done == 0 || s.Failed == 0 {
			p.t.Errorf("%+v, seed %d", s, seed)
		}
		p.p.mu.Lock()
		defer p.p.mu.Unlock()
		if q := &p.p.queue; q.dead > q.len() {
			p.t.Errorf("%d are cancelled of %d in the queue, seed %d", q.dead, q.len(), seed)
		}
	})
}

// sendOutcome sends the error of a task once there is one.
func sendOutcome[R any](f *Future[R], to chan<- error) {
	f.OnDone(func(f *Future[R]) {
		_, err := f.Result(background)
		to <- err
	})
}
