package batch

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// spin is a command that computes n times about a tenth of a second.
func spin(n int) string {
	return fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); done", n*50_000)
}

// traced collects the trace of a batch.
type traced struct {
	mu      sync.Mutex
	changes []sched.Change
}

func (c *traced) add(x sched.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, x)
}

// begun lists the jobs in the order in which they first ran.
func (c *traced) begun() (order []int) {
	for _, x := range c.changes {
		if x.State == sched.Running && !slices.Contains(order, int(x.Job)) {
			order = append(order, int(x.Job))
		}
	}
	return order
}

// most is the largest number of jobs that were in one of the states at once.
func (c *traced) most(states ...sched.State) (most int) {
	now := make(map[sched.Job]bool)
	for _, x := range c.changes {
		delete(now, x.Job)
		if slices.Contains(states, x.State) {
			now[x.Job] = true
		}
		most = max(most, len(now))
	}
	return most
}

func text(s string) Job { return Job{Command: Command{Text: s}} }

// Long jobs do not hold up short ones that come later: they are paused, use no CPU
// meanwhile, and end well.
func TestLiveMLFQ(t *testing.T) {
	var c traced
	p := &sched.MLFQ{Levels: []sched.Level{{Slice: 50 * time.Millisecond, Allotment: 100 * time.Millisecond}, {Slice: 100 * time.Millisecond}}}
	got, _, err := run(t, Options{Slots: 1, Degree: 8, Policy: p, Trace: c.add}, jobsOf(text(spin(8)+"; echo long"), text("echo one"), text("echo two")))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, o := range got {
		if !o.OK() {
			t.Errorf("%+v", o.Result)
		}
		order = append(order, strings.TrimSpace(o.out))
	}
	long := got[len(got)-1]
	if order[2] != "long" || long.Paused == 0 || long.Waits.Policy == 0 {
		t.Errorf("ended %v; the long one was paused for %v, waits %+v", order, long.Paused, long.Waits)
	}
	if n := c.most(sched.Running); n != 1 {
		t.Errorf("%d ran at once on one slot", n)
	}
	down := slices.ContainsFunc(c.changes, func(x sched.Change) bool { return x.Job == 1 && x.Level == 1 })
	if !down {
		t.Errorf("the long job never moved down: %v", c.changes)
	}
}

// A job that waits lets another one run: the first one waits for what the second
// one writes. Of degree 1 they would wait for ever.
func TestBlockedMakesRoom(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []sched.Policy{&sched.FCFS{}, &sched.RR{}, &sched.SJF{}, &sched.MLFQ{}} {
		var c traced
		got, _, err := run(t, Options{Slots: 1, Degree: 2, Policy: p, Trace: c.add, Dir: filepath.Dir(fifo)},
			jobsOf(text("cat fifo"), text("echo hello >fifo")))
		if err != nil || !got[0].OK() || !got[1].OK() {
			t.Fatalf("%s: %+v, %v", p, got, err)
		}
		i := slices.IndexFunc(got, func(o outcome) bool { return o.Seq == 1 })
		if got[i].out != "hello\n" || got[i].Blocked == 0 {
			t.Errorf("%s: read %q, blocked for %v", p, got[i].out, got[i].Blocked)
		}
		if c.most(sched.Blocked) == 0 {
			t.Errorf("%s: nobody was blocked: %v", p, c.changes)
		}
	}
}

// step is what a policy was told and decided.
type step struct {
	now       time.Duration
	events    []sched.Event
	decisions []sched.Decision
}

// The dispatcher and the simulator run the same code: what a live policy was told,
// told to a new one, gives the same decisions.
func TestReplay(t *testing.T) {
	for _, fresh := range []func() sched.Policy{
		func() sched.Policy { return &sched.FCFS{} },
		func() sched.Policy { return &sched.SJF{} },
		func() sched.Policy { return &sched.RR{Slice: 50 * time.Millisecond} },
		func() sched.Policy { return &sched.SRPT{} },
		func() sched.Policy {
			return &sched.MLFQ{Boost: 300 * time.Millisecond, Levels: []sched.Level{{Slice: 50e6, Allotment: 100e6}, {Slice: 50e6}}}
		},
	} {
		p := fresh()
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			var steps []step
			o := Options{Slots: 1, Degree: 4, Policy: p, Observe: func(now time.Duration, e []sched.Event, d []sched.Decision) {
				steps = append(steps, step{now, slices.Clone(e), slices.Clone(d)})
			}}
			var jobs []Job
			for i, n := range []int{3, 1, 0, 2, 1} {
				j := text(spin(n) + "; sleep 0.05")
				j.Expect.CPU = time.Duration(n*100) * time.Millisecond
				j.NoPause = i == 3
				jobs = append(jobs, j)
			}
			_, sum, err := run(t, o, jobsOf(jobs...))
			if err != nil || sum.OK != len(jobs) {
				t.Fatalf("%+v, %v", sum, err)
			}
			again := fresh()
			kinds := make(map[sched.EventKind]int)
			for i, s := range steps {
				for _, e := range s.events {
					kinds[e.Kind]++
				}
				if got := again.Decide(s.now, s.events...); !slices.Equal(got, s.decisions) {
					t.Fatalf("step %d at %v, %+v: live %+v, again %+v", i, s.now, s.events, s.decisions, got)
				}
			}
			if kinds[sched.Arrive] != len(jobs) || kinds[sched.Finish] != len(jobs) || kinds[sched.Block] == 0 {
				t.Errorf("events: %v", kinds)
			}
		})
	}
}

// What must not be paused is not, and what waits for a CPU is not timed out.
func TestNoPauseAndTimeouts(t *testing.T) {
	var jobs []Job
	for i := range 8 {
		j := text(spin(2))
		j.NoPause = i%4 == 1
		jobs = append(jobs, j)
	}
	got, sum, err := run(t, Options{Slots: 1, Degree: 8, Policy: &sched.RR{Slice: 20 * time.Millisecond}, Timeout: 1500 * time.Millisecond}, jobsOf(jobs...))
	if err != nil || sum.OK != len(jobs) {
		t.Fatalf("%+v, %v", sum, err)
	}
	paused := 0
	for _, o := range got {
		switch {
		case o.Seq%4 == 2 && o.Paused > 0:
			t.Errorf("job %d must not be paused, and was for %v", o.Seq, o.Paused)
		case o.Paused > 0:
			paused++
		}
	}
	if paused < 4 {
		t.Errorf("only %d jobs were paused", paused)
	}
}

// A job begins only if it fits beside those that have begun; one that is larger than all
// there is begins alone.
func TestMemoryIsKeptFree(t *testing.T) {
	const mb = 1 << 20
	for _, tt := range []struct {
		name string
		need int64
		most int
	}{{"two fit", 100 * mb, 2}, {"none fits", 1000 * mb, 1}, {"all fit", mb, 5}} {
		t.Run(tt.name, func(t *testing.T) {
			var c traced
			o := Options{
				Slots: 5, Degree: 8, MemFree: 50 * mb, Policy: &sched.FCFS{}, Trace: c.add,
				available: func() (int64, error) { return 290 * mb, nil },
			}
			var jobs []Job
			for range 5 {
				j := text("sleep 0.1")
				j.Expect.Memory = tt.need
				jobs = append(jobs, j)
			}
			got, sum, err := run(t, o, jobsOf(jobs...))
			if err != nil || sum.OK != len(jobs) {
				t.Fatalf("%+v, %v", sum, err)
			}
			if n := c.most(sched.Running, sched.Blocked, sched.Held); n != tt.most {
				t.Errorf("%d at once, want %d: %v", n, tt.most, c.changes)
			}
			waited := slices.ContainsFunc(got, func(o outcome) bool { return o.Waits.Memory > 0 })
			if waited != (tt.most < 5) {
				t.Errorf("waited for memory: %v", waited)
			}
		})
	}
}

// A policy that chooses sees the input before it begins, and says if it could not see
// all of it.
func TestLookAhead(t *testing.T) {
	jobs := func() (list []Job) {
		for i, n := range []int{3, 1, 5, 2, 4} {
			j := text("true")
			j.Expect.CPU, j.Priority = time.Duration(n)*time.Second, n*n
			if i == 4 {
				j.Priority = -1
			}
			list = append(list, j)
		}
		return list
	}
	for _, tt := range []struct {
		p     sched.Policy
		ahead int
		want  []int
		note  bool
	}{
		{&sched.SJF{}, 0, []int{2, 4, 1, 5, 3}, false},
		{&sched.LPT{}, 0, []int{3, 5, 1, 4, 2}, false},
		{&sched.SRPT{}, 0, []int{2, 4, 1, 5, 3}, false},
		{&sched.Priority{}, 0, []int{3, 1, 4, 2, 5}, false},
		{&sched.SJF{}, 2, []int{2}, true},
	} {
		t.Run(fmt.Sprint(tt.p, tt.ahead), func(t *testing.T) {
			var c traced
			_, sum, err := run(t, Options{Slots: 1, Policy: tt.p, Trace: c.add, ReadAhead: tt.ahead}, jobsOf(jobs()...))
			if err != nil || sum.OK != 5 {
				t.Fatalf("%+v, %v", sum, err)
			}
			if got := c.begun(); !slices.Equal(got[:len(tt.want)], tt.want) {
				t.Errorf("began %v, want %v", got, tt.want)
			}
			if noted := len(sum.Notes) == 1 && strings.Contains(sum.Notes[0], "window of 2"); noted != tt.note {
				t.Errorf("notes %q", sum.Notes)
			}
		})
	}
}

// Pause stops all that runs, and Resume lets go on what the policy lets run, whatever
// it decided meanwhile.
func TestPauseOfScheduled(t *testing.T) {
	b, err := New(Options{Slots: 1, Degree: 4, Policy: &sched.RR{Slice: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		sum, err := b.Each(t.Context(), jobsOf(text(spin(4)), text(spin(4)), text(spin(4))), func(*Result) error { return nil })
		if err == nil && sum.OK != 3 {
			err = fmt.Errorf("%+v", sum)
		}
		ended <- err
	}()
	for range 5 {
		for !slices.ContainsFunc(b.Running(), func(j RunningJob) bool { return j.State == "paused" }) {
			select {
			case err := <-ended:
				t.Fatalf("nothing was paused: %v", err)
			default:
			}
		}
		b.Pause()
		for _, j := range b.Running() {
			if s := stateOf(t, j.PID); s != "T" && s != "gone" && !frozen(j.PID) {
				t.Errorf("job %d is %s while the batch is paused", j.Seq, s)
			}
		}
		b.Resume()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// stateOf is the state letter of a process.
func stateOf(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "gone"
	}
	f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	return f[0]
}

// frozen reports whether a process is in a cgroup that is frozen.
func frozen(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(raw)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				if b, err := os.ReadFile(filepath.Join(mount, path, "cgroup.events")); err == nil {
					return strings.Contains(string(b), "frozen 1")
				}
			}
		}
	}
	return false
}

// Processes are killed at any moment while they are paused and resumed: each job has one
// outcome, and the batch ends.
func TestKilledWhileScheduled(t *testing.T) {
	n := 12
	if os.Getenv("BROOD_LONG") != "" {
		n = 200
	}
	for _, p := range []sched.Policy{&sched.RR{Slice: 10 * time.Millisecond}, &sched.MLFQ{Levels: []sched.Level{{Slice: 10e6, Allotment: 20e6}, {Slice: 10e6}}, Boost: 100 * time.Millisecond}} {
		b, err := New(Options{Slots: 2, Degree: 6, Policy: p, Tries: 2, RetryDelay: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var jobs []Job
		for range n {
			jobs = append(jobs, text(spin(1)))
		}
		done := make(chan struct{})
		var killer sync.WaitGroup
		killer.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				for k, j := range b.Running() {
					if (i+k)%7 == 0 && j.PID > 1 {
						syscall.Kill(-j.PID, syscall.SIGKILL)
					}
				}
			}
		})
		seen := make(map[int]int)
		sum, err := b.Each(t.Context(), jobsOf(jobs...), func(r *Result) error { seen[r.Seq]++; return nil })
		close(done)
		killer.Wait()
		if err != nil || sum.Done != n || len(seen) != n {
			t.Errorf("%s: %+v, %v, outcomes of %d", p, sum, err, len(seen))
		}
	}
}

// The batch ends at once, whoever stands still.
func TestTerminateScheduled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b, err := New(Options{Slots: 1, Degree: 4, Policy: &sched.RR{Slice: 10 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	go func() {
		for {
			list := b.Running()
			if slices.ContainsFunc(list, func(j RunningJob) bool { return j.State == "paused" }) && len(list) == 4 {
				for _, j := range list {
					pids = append(pids, j.PID)
				}
				cancel()
				return
			}
		}
	}()
	loop := text("while :; do :; done")
	sum, err := b.Each(ctx, jobsOf(loop, loop, loop, loop, loop), func(*Result) error { return nil })
	if err == nil || sum.Done != 4 || sum.Reasons[Cancelled] != 4 || sum.NotRun != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	for _, pid := range pids {
		if s := stateOf(t, pid); pid != 0 && s != "gone" {
			t.Errorf("process %d is there: %s", pid, s)
		}
	}
}

// stubborn is a Runner of two jobs. The first one can't be paused at once; the second one
// ends when the first one stands still, and that one when it is resumed.
type stubborn struct {
	refusals       int
	still, resumed chan struct{}
}

func (r *stubborn) Open(slot int, use func(Slot, error)) { go use(r, nil) }

func (r *stubborn) Run(s *Start, started func(Running)) (Report, error) {
	begin := time.Now()
	if s.Argv[1] == "first" {
		started(r)
		<-r.resumed
	} else {
		started(&imagined{stopped: make(chan struct{})})
		<-r.still
	}
	return Report{PID: 7, Reason: Exited, Start: begin, End: time.Now(), PeakSource: "unknown"}, nil
}

func (r *stubborn) PID() int                    { return 7 }
func (r *stubborn) Stop()                       {}
func (r *stubborn) Kill()                       {}
func (r *stubborn) Look(bool) (Activity, error) { return Activity{Runnable: true}, nil }

func (r *stubborn) SetTimeout(time.Duration) {}

func (r *stubborn) Resume() error {
	close(r.resumed)
	return nil
}

func (r *stubborn) Pause(context.Context) error {
	if r.refusals--; r.refusals >= 0 {
		return ErrNotPaused
	}
	close(r.still)
	return nil
}

// A tree that does not stand still at once is paused by a later look.
func TestPauseIsTriedAgain(t *testing.T) {
	r := &stubborn{refusals: 3, still: make(chan struct{}), resumed: make(chan struct{})}
	_, sum, err := run(t, Options{Slots: 1, Degree: 2, Policy: &turns{}, Runner: r}, argvs("first", "second"))
	if err != nil || sum.OK != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// The outcomes that Summary keeps are what the trace says.
func TestOutcomes(t *testing.T) {
	var c traced
	_, sum, err := run(t, Options{Slots: 1, Degree: 3, Policy: &sched.RR{Slice: 20 * time.Millisecond}, Measure: true, Trace: c.add},
		jobsOf(text(spin(1)), text("sleep 0.1"), text(spin(1))))
	if err != nil || len(sum.Outcomes) != 3 {
		t.Fatalf("%+v, %v", sum, err)
	}
	var names []string
	for _, o := range sum.Outcomes {
		names = append(names, o.Name)
		if o.Turnaround() < o.CPU || o.First < o.Arrive || o.End < o.First || o.Waiting < 0 || o.CPU < 0 {
			t.Errorf("%+v", o)
		}
		if parts := o.CPU + o.Blocked + o.Waiting; parts > o.Turnaround()+50*time.Millisecond {
			t.Errorf("%+v: its parts are more than the whole", o)
		}
	}
	slices.Sort(names)
	if !reflect.DeepEqual(names, []string{"1", "2", "3"}) {
		t.Errorf("outcomes of %v", names)
	}
}

// The least time between two starts holds also for jobs that were put off, have a turn
// to wait for, and find others that came before.
func TestDelayHoldsUnderPolicies(t *testing.T) {
	const delay = 60 * time.Millisecond
	for _, p := range []sched.Policy{&sched.FCFS{}, &sched.RR{Slice: 20 * time.Millisecond}} {
		var jobs []Job
		for i := range 8 {
			jobs = append(jobs, text([]string{spin(1), "sleep 0.05; " + spin(1)}[i%2]))
		}
		got, sum, err := run(t, Options{Slots: 1, Degree: 3, Delay: delay, Policy: p}, jobsOf(jobs...))
		if err != nil || sum.OK != len(jobs) {
			t.Fatalf("%+v, %v", sum, err)
		}
		slices.SortFunc(got, func(x, y outcome) int { return x.Start.Compare(y.Start) })
		for i := range got[1:] {
			// From the moment in which a slot took the one before; its fork came a bit later.
			if gap := got[i+1].Start.Sub(got[i].Start); gap < delay/2 {
				t.Errorf("%s: job %d began %v after job %d", p, got[i+1].Seq, gap, got[i].Seq)
			}
		}
	}
}
