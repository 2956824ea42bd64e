package batch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// With too much to do nothing is started, however little of it is ours; with less there is. A job
// that was just started counts although it does not show.
func TestLoad(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	load := func() (int, error) {
		if asked.Add(1) <= 3 {
			return 2, nil
		}
		return 1, nil
	}
	got, sum, err := run(t, Options{Slots: 2, Load: 2, load: load}, commands("true", "true"))
	if err != nil || sum.OK != 2 || asked.Load() < 4 {
		t.Fatalf("%+v %v, asked %d times", sum, err, asked.Load())
	}
	for _, r := range got {
		if r.Waits.Load < 2*machineEvery || r.Waits.Memory > 0 {
			t.Errorf("job %d waited %+v", r.Seq, r.Waits)
		}
	}
	b := &Batch{o: Options{Load: 2, load: func() (int, error) { return 0, nil }}}
	now := time.Now()
	var job task
	if a, c, d := b.lacks(&job, now), b.lacks(&job, now), b.lacks(&job, now); a != "" || c != "" || d != WaitLoad {
		t.Errorf("with a load of 2 allowed the first three starts at one moment wait for %q, %q, %q", a, c, d)
	}
	if why := b.lacks(&job, now.Add(machineEvery)); why != "" {
		t.Errorf("at the next look it waits for %q", why)
	}
}

// What can't be known holds up nobody.
func TestLoadUnknown(t *testing.T) {
	unknown := func() (int, error) { return 0, errors.New("no such file") }
	swaps := func() (int64, int64, error) { return 0, 0, errors.New("no such file") }
	if _, sum, err := run(t, Options{Slots: 2, Load: 1, NoSwap: true, load: unknown, swapped: swaps}, commands("true")); err != nil || sum.OK != 1 {
		t.Errorf("%+v %v", sum, err)
	}
}

// Both directions at once are what counts, from the second look on.
func TestNoSwap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		pages [][2]int64 // in and out at each look
		want  []bool
	}{
		{"quiet", [][2]int64{{5, 5}, {5, 5}, {5, 5}}, []bool{true, false, false}},
		{"out alone", [][2]int64{{5, 5}, {5, 9}}, []bool{true, false}},
		{"in alone", [][2]int64{{5, 5}, {9, 5}}, []bool{true, false}},
		{"both", [][2]int64{{5, 5}, {6, 6}, {7, 7}, {7, 8}}, []bool{true, true, true, false}},
	} {
		i := -1
		b := &Batch{o: Options{NoSwap: true, swapped: func() (int64, int64, error) { i++; return tt.pages[i][0], tt.pages[i][1], nil }}}
		now := time.Now()
		for k, want := range tt.want {
			if got := b.swapping(now); got != want {
				t.Errorf("%s, look %d: %v", tt.name, k+1, got)
			}
			if b.swapping(now.Add(swapEvery/2)) != want || i != k {
				t.Errorf("%s: looked again within a second", tt.name)
			}
			now = now.Add(swapEvery)
		}
	}
	if got, sum, err := run(t, Options{NoSwap: true}, commands("true")); err != nil || sum.OK != 1 || got[0].Waits.Load < swapEvery/2 {
		t.Errorf("%+v %v", sum, err)
	}
}

// script puts a directory into a command, for its files.
func script(t *testing.T, text string) string {
	return strings.ReplaceAll(text, "DIR", t.TempDir())
}

// Before each start the command is asked, and its code obeyed.
func TestLimit(t *testing.T) {
	limit := script(t, `echo x >> DIR/calls; test $(wc -l < DIR/calls) -ge 3`)
	got, sum, err := run(t, Options{Slots: 4, Limit: limit}, commands("true", "true", "true"))
	if err != nil || sum.OK != 3 {
		t.Fatalf("%+v %v", sum, err)
	}
	file := strings.TrimSuffix(strings.Fields(limit)[3], ";")
	if calls, err := os.ReadFile(file); err != nil || len(calls) != 2*5 {
		t.Errorf("it was asked %d times (%v), want twice in vain and once for each job", len(calls)/2, err)
	}
	if w := got[0].Waits.Limit; w < 2*limitFirst {
		t.Errorf("the first job waited %v", got[0].Waits)
	}
}

// Code 2 ends the youngest job, which is run again when the command allows it.
func TestLimitEnds(t *testing.T) {
	dir := t.TempDir()
	// Asked for the third time, for job 3, it says 2 once job 2 runs.
	limit := "echo x >> DIR/calls; test $(wc -l < DIR/calls) -eq 3 || exit 0; until test -e DIR/2; do sleep 0.01; done; exit 2"
	jobs := commands(
		strings.ReplaceAll("until test -e DIR/again; do sleep 0.01; done", "DIR", dir),
		strings.ReplaceAll("test ! -e DIR/2 || { touch DIR/again; exit 0; }; touch DIR/2; echo never; exec sleep 1000", "DIR", dir),
		strings.ReplaceAll("echo third", "DIR", dir))
	got, sum, err := run(t, Options{Slots: 3, Limit: strings.ReplaceAll(limit, "DIR", dir)}, jobs)
	if err != nil || sum.OK != 3 || sum.Evicted != 1 || sum.Done != 3 {
		t.Fatalf("%+v %v", sum, err)
	}
	for _, r := range got {
		if r.Seq == 2 && (r.Try != 1 || r.out != "") {
			t.Errorf("job 2: try %d, output %q: being ended is no try", r.Try, r.out)
		}
	}
}

// A command that can't be run starts nothing, for ever: that is an error. One that hangs is ended
// with the batch.
func TestLimitFails(t *testing.T) {
	_, sum, err := run(t, Options{Limit: "no-such-program-here 2> /dev/null"}, commands("true"))
	if err == nil || !strings.Contains(err.Error(), "no-such-program-here") || !strings.Contains(err.Error(), "127") || sum.NotRun != 1 {
		t.Errorf("%+v %v", sum, err)
	}
	b, err := New(Options{Limit: "exec sleep 1000"})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for { // until it runs
			b.mu.Lock()
			runs := b.limit.proc != nil
			b.mu.Unlock()
			if runs {
				break
			}
		}
		b.Terminate()
	}()
	if sum, err := b.Each(t.Context(), commands("true"), func(*Result) error { return nil }); err != nil || sum.NotRun != 1 {
		t.Errorf("%+v %v", sum, err)
	}
}

// stirred tells a test what a batch does, by Options.Trace.
type stirred struct {
	mu     sync.Mutex
	change sync.Cond
	state  map[sched.Job]sched.State
}

func newStirred() *stirred {
	s := &stirred{state: make(map[sched.Job]sched.State)}
	s.change.L = &s.mu
	return s
}

func (s *stirred) trace(c sched.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state[c.Job] = c.State
	s.change.Broadcast()
}

// until waits for the states of jobs 1, 2, ….
func (s *stirred) until(want ...sched.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !slices.EqualFunc(want, []sched.Job{1, 2, 3, 4, 5}[:len(want)], func(w sched.State, j sched.Job) bool { return s.state[j] == w }) {
		s.change.Wait()
	}
}

// The youngest stand still as memory runs short, and go on as it is freed, the oldest first.
func TestMemSuspend(t *testing.T) {
	var free atomic.Int64
	free.Store(1000 * mb)
	see := newStirred()
	var over []chan struct{}
	var cast []*actor
	for range 4 {
		c := make(chan struct{})
		over = append(over, c)
		cast = append(cast, &actor{until: c, looks: 1 << 30})
	}
	s := onStage(cast...)
	b := s.prepare(t, Options{Slots: 4, MemSuspend: 100 * mb, available: func() (int64, error) { return free.Load(), nil }, Trace: see.trace})
	const r, h = sched.Running, sched.Held
	go func() {
		see.until(r, r, r, r)
		free.Store(150 * mb) // 1/(2-1.5) = 2, and the one more
		see.until(r, r, r, h)
		free.Store(99 * mb)
		see.until(r, h, h, h)
		for _, j := range b.Running() {
			if wants := (j.Seq > 1); wants != (j.State == "paused" && j.WaitFor == WaitMemory) {
				t.Errorf("job %d: %s, waits for %q", j.Seq, j.State, j.WaitFor)
			}
		}
		free.Store(500 * mb)
		see.until(r, r, r, r)
		for _, c := range over {
			close(c)
		}
	}()
	got, sum := s.play(t, b, s.jobs())
	if sum.OK != 4 {
		t.Fatalf("%+v", sum)
	}
	for seq, r := range got {
		if w := r.Waits.Memory; (seq == 1) != (w == 0) {
			t.Errorf("job %d waited %v for memory", seq, w)
		}
	}
}

// Where jobs take turns, those that stand still for memory hold no place: the oldest goes on, and
// all end although memory stays short.
func TestMemSuspendAndTurns(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{1, 2} {
		var free atomic.Int64
		free.Store(1000 * mb)
		see := newStirred()
		var cast []*actor
		for range 4 {
			cast = append(cast, &actor{looks: 20})
		}
		s := onStage(cast...)
		b := s.prepare(t, Options{
			Slots: slots, Degree: 4, Policy: &sched.RR{Slice: 30 * time.Millisecond}, MemSuspend: 100 * mb, Trace: see.trace,
			available: func() (int64, error) {
				see.mu.Lock()
				defer see.mu.Unlock()
				if len(see.state) == 4 && see.state[4] != sched.New {
					free.Store(10 * mb)
				}
				return free.Load(), nil
			},
		})
		if _, sum := s.play(t, b, s.jobs()); sum.OK != 4 {
			t.Errorf("%d slots: %+v", slots, sum)
		}
	}
}

// While most stand still the batch can be held, go on, and be ended.
func TestMemSuspendAndStop(t *testing.T) {
	var free atomic.Int64
	free.Store(1000 * mb)
	see := newStirred()
	b, err := New(Options{Slots: 2, MemSuspend: 100 * mb, available: func() (int64, error) { return free.Load(), nil }, Trace: see.trace})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		see.until(sched.Running, sched.Running)
		free.Store(10 * mb)
		see.until(sched.Running, sched.Held)
		b.Pause()
		b.Resume()
		b.Terminate()
	}()
	sum, err := b.Each(t.Context(), commands("exec sleep 1000", "exec sleep 1000"), func(r *Result) error {
		if r.Reason != Cancelled {
			t.Errorf("job %d: %s", r.Seq, r.Reason)
		}
		return nil
	})
	if err != nil || sum.Done != 2 {
		t.Errorf("%+v %v", sum, err)
	}
}

// With too little memory the youngest is ended and run again; the only one never is.
func TestMemKill(t *testing.T) {
	dir := t.TempDir()
	free := func() (int64, error) {
		if _, err := os.Stat(filepath.Join(dir, "2")); err == nil {
			return 10 * mb, nil
		}
		return 1000 * mb, nil
	}
	in := func(text string) string { return strings.ReplaceAll(text, "DIR", dir) }
	var log []string
	b, err := New(Options{
		Slots: 2, MemKill: 50 * mb, JobLog: filepath.Join(dir, "log"), available: free,
		Started: func(seq, _ int, _ Command) { log = append(log, fmt.Sprint(seq)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	// Job 2 takes the memory. Once it was ended, job 1 ends; then job 2 is alone.
	sum, err := b.Each(t.Context(), commands(
		in("until test -e DIR/ended; do sleep 0.01; done"),
		in("test ! -e DIR/2 || { sleep 0.3; exit 0; }; touch DIR/2; trap 'touch DIR/ended; exit 1' TERM; while :; do sleep 0.01; done")),
		func(*Result) error { return nil })
	if err != nil || sum.OK != 2 || sum.Evicted != 1 || sum.Failed != 0 || fmt.Sprint(log) != "[1 2 2]" && fmt.Sprint(log) != "[2 1 2]" {
		t.Errorf("%+v %v, started %v", sum, err, log)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || strings.Count(string(text), "\n") != 3 {
		t.Errorf("the job log has more than an end for each job: %q %v", text, err)
	}
}

// More jobs run at once, and fewer, from one moment to the next.
func TestSetSlots(t *testing.T) {
	see := newStirred()
	b, err := New(Options{Slots: 1, Trace: see.trace})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	job := func(i int) string { return fmt.Sprintf("until test -e %s/%d; do sleep 0.01; done", dir, i) }
	end := func(i int) { touch(t, dir, fmt.Sprint(i)) }
	const w, r, d = sched.New, sched.Running, sched.Done
	go func() {
		see.until(r, w, w, w, w)
		if err := b.SetSlots(0); err == nil {
			t.Error("no slots were accepted")
		}
		if err := b.SetSlots(3); err != nil {
			t.Error(err)
		}
		see.until(r, r, r, w, w)
		if err := b.SetSlots(1); err != nil || b.Slots() != 1 {
			t.Error(err)
		}
		end(1)
		end(2)
		see.until(d, d, r, w, w)
		end(3)
		see.until(d, d, d, r, w)
		end(4)
		end(5)
	}()
	sum, err := b.Each(t.Context(), commands(job(1), job(2), job(3), job(4), job(5)), func(*Result) error { return nil })
	if err != nil || sum.OK != 5 {
		t.Errorf("%+v %v", sum, err)
	}
}

// The median of those that ended well bounds the others, those as well that run already.
func TestTimeoutPercent(t *testing.T) {
	got, sum, err := run(t, Options{Slots: 2, TimeoutPercent: 400}, commands("exec sleep 1000", "sleep 0.05", "sleep 0.05", "exit 1", "sleep 0.05", "exec sleep 1000"))
	if err != nil || sum.OK != 3 || sum.Reasons[Timeout] != 2 {
		t.Fatalf("%+v %v", sum, err)
	}
	for _, r := range got {
		if r.Reason == Timeout && r.Runtime() < 200*time.Millisecond {
			t.Errorf("job %d was ended after %v", r.Seq, r.Runtime())
		}
	}
}

func TestHaltPercent(t *testing.T) {
	for _, tt := range []struct {
		halt       string
		jobs       []string
		total      int
		done, code int
	}{
		{"soon,fail=50%", []string{"fails", "works", "fails", "works"}, 4, 3, 50},
		{"soon,fail=50%", []string{"works", "fails", "works", "works"}, 4, 4, 25},
		{"soon,fail=30%", []string{"fails", "works", "works"}, 3, 1, 34},
		{"soon,fail=50%", []string{"fails", "works"}, 2, 1, 3}, // exactly one: its own code
		{"soon,success=50%", []string{"works", "fails", "works", "works"}, 4, 3, 0},
		{"soon,done=1%", []string{"works", "fails", "works", "works"}, 4, 1, 0},
		{"now,done=75%", []string{"works", "fails", "works", "works"}, 4, 3, 25},
		{"soon,fail=50%", []string{"fails", "works", "works"}, 0, 3, 34}, // known at the end
	} {
		h, err := ParseHalt(tt.halt)
		if err != nil {
			t.Fatal(err)
		}
		_, sum, err := run(t, Options{Slots: 1, Halt: h, Total: tt.total, Runner: elsewhere{}}, argvs(tt.jobs...))
		if err != nil || sum.Done != tt.done || sum.ExitCode() != tt.code {
			t.Errorf("%s of %v: %d done, exit code %d, %v; want %d and %d", tt.halt, tt.jobs, sum.Done, sum.ExitCode(), err, tt.done, tt.code)
		}
	}
}

// touch makes a file for which a test's command waits.
func touch(t *testing.T, dir, name string) {
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Error(err)
	}
}
