package batch

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/sched"
)

func TestMain(m *testing.M) {
	brood.Init()
	before := runtime.NumGoroutine()
	code := m.Run()
	if f := flag.Lookup("test.fuzz"); f.Value.String() != "" {
		os.Exit(code) // the fuzzing engine keeps one that waits for signals
	}
	// Goroutines that were told to end do so soon; none may stay for good.
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s", buf[:runtime.Stack(buf, true)])
			code = 1
			break
		}
	}
	os.Exit(code)
}

// commands makes jobs of plain shell commands.
func commands(texts ...string) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for _, s := range texts {
			if !yield(Job{Command: Command{Text: s}}, nil) {
				return
			}
		}
	}
}

// outcome is a result with its output read.
type outcome struct {
	*Result
	out, err string
}

// run runs jobs to the end and returns what was delivered, in that order.
func run(t *testing.T, o Options, jobs iter.Seq2[Job, error]) ([]outcome, Summary, error) {
	t.Helper()
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	var got []outcome
	sum, err := b.Each(t.Context(), jobs, func(r *Result) error {
		out, _ := io.ReadAll(r.Stdout())
		errs, _ := io.ReadAll(r.Stderr())
		got = append(got, outcome{r, string(out), string(errs)})
		return nil
	})
	return got, sum, err
}

func TestResults(t *testing.T) {
	got, sum, err := run(t, Options{Slots: 2, KeepOrder: true}, commands(
		"echo one; echo two >&2", "exit 3", "kill -9 $$", "no-such-program-here", "true", "cd /; pwd"))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		code   int
		reason Reason
		out    string
	}{{0, Exited, "one\n"}, {3, Exited, ""}, {137, Signaled, ""}, {127, Exited, ""}, {0, Exited, ""}, {0, Exited, "/\n"}}
	for i, w := range want {
		g := got[i]
		if g.Seq != i+1 || g.Code() != w.code || g.Reason != w.reason || g.out != w.out {
			t.Errorf("job %d: %d %d %s %q", i+1, g.Seq, g.Code(), g.Reason, g.out)
		}
	}
	if got[0].err != "two\n" || !strings.Contains(got[3].err, "not found") {
		t.Errorf("stderr %q, %q", got[0].err, got[3].err)
	}
	if sum.Jobs != 6 || sum.Done != 6 || sum.OK != 3 || sum.Failed != 3 || sum.Reasons[Exited] != 2 || sum.Reasons[Signaled] != 1 || sum.ExitCode() != 3 {
		t.Errorf("%+v", sum)
	}
}

func TestRunIterator(t *testing.T) {
	var lines []string
	for r, err := range Run(t.Context(), commands("echo a", "echo b"), Options{Slots: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Stdout())
		lines = append(lines, string(b))
	}
	if fmt.Sprintf("%q", lines) != `["a\n" "b\n"]` {
		t.Errorf("%q", lines)
	}
}

// A consumer that stops ends what runs, and nothing is left behind.
func TestRunIteratorStopped(t *testing.T) {
	n := 0
	for range Run(t.Context(), commands("true", "sleep 1000", "sleep 1000"), Options{Slots: 2}) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d results", n)
	}
}

// The first job starts while the input goes on, and no more is read than
// ReadAhead allows.
func TestLazyInput(t *testing.T) {
	started := make(chan struct{})
	var read int
	jobs := func(yield func(Job, error) bool) {
		for i := range 200 {
			if i == 1 {
				<-started // would block for ever if the first job had to wait
			}
			read++
			if !yield(Job{Command: Command{Text: "true"}}, nil) {
				return
			}
		}
	}
	b, err := New(Options{Slots: 1, ReadAhead: 4, Started: func(seq, _ int, _ Command) {
		if seq == 1 {
			close(started)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	if _, err := b.Each(t.Context(), jobs, func(*Result) error {
		done++
		b.mu.Lock()
		waiting := b.waiting
		b.mu.Unlock()
		if waiting > 4 {
			t.Errorf("%d jobs wait", waiting)
		}
		return nil
	}); err != nil || done != 200 {
		t.Errorf("%d done, %v", done, err)
	}
}

// An error of the input ends it; what was read before is run, and the error
// is returned.
func TestInputError(t *testing.T) {
	broken := errors.New("line 2 is unreadable")
	jobs := func(yield func(Job, error) bool) {
		_ = yield(Job{Command: Command{Text: "echo a"}}, nil) && yield(Job{}, broken)
	}
	got, _, err := run(t, Options{}, jobs)
	if !errors.Is(err, broken) || len(got) != 1 || got[0].out != "a\n" {
		t.Errorf("%v %v", got, err)
	}
}

// Results come in the order of the input however long each job takes, with
// outputs smaller and larger than memory may hold.
func TestKeepOrder(t *testing.T) {
	var texts []string
	for i := range 40 {
		switch i % 4 {
		case 0:
			texts = append(texts, fmt.Sprintf("sleep 0.0%d; echo %d", 9-i/5, i))
		case 1:
			texts = append(texts, fmt.Sprintf("head -c 3000000 /dev/zero; echo %d", i))
		default:
			texts = append(texts, fmt.Sprintf("echo %d", i))
		}
	}
	got, _, err := run(t, Options{Slots: 8, KeepOrder: true}, commands(texts...))
	if err != nil || len(got) != 40 {
		t.Fatalf("%d results, %v", len(got), err)
	}
	for i, g := range got {
		out := strings.TrimLeft(g.out, "\x00")
		if g.Seq != i+1 || out != strconv.Itoa(i)+"\n" || i%4 == 1 && len(g.out) < 3000000 {
			t.Errorf("result %d: job %d, %d bytes ending in %q", i, g.Seq, len(g.out), out)
		}
	}
}

// While a slow first job runs, the others' results take neither descriptors nor
// much memory.
func TestKeepOrderExhaustsNothing(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	const n = 500
	jobs := func(yield func(Job, error) bool) {
		ok := yield(Job{Command: Command{Argv: []string{"cat", fifo}}}, nil)
		for i := 2; ok && i <= n; i++ {
			ok = yield(Job{Command: Command{Argv: []string{"echo", strconv.Itoa(i)}}}, nil)
		}
	}
	b, err := New(Options{Slots: 2, KeepOrder: true})
	if err != nil {
		t.Fatal(err)
	}
	before := len(fds(t))
	release := sync.OnceFunc(func() {
		if got := len(fds(t)); got > before+60 {
			t.Errorf("%d descriptors, %d before", got, before)
		}
		w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		w.Close()
	})
	var watch sync.WaitGroup
	watch.Go(func() { // release the first job when all the others have ended
		for b.Stats().Done < n-1 {
			runtime.Gosched()
		}
		release()
	})
	next := 1
	sum, err := b.Each(t.Context(), jobs, func(r *Result) error {
		if r.Seq != next {
			t.Errorf("job %d delivered in place of %d", r.Seq, next)
		}
		next++
		return nil
	})
	watch.Wait()
	if err != nil || sum.OK != n {
		t.Errorf("%+v, %v", sum, err)
	}
}

func fds(t *testing.T) []os.DirEntry {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// Lines of many jobs never mix, however they are written; each carries its tag.
func TestLinesNeverMix(t *testing.T) {
	var out, errs bytes.Buffer
	tag, _ := ParseArgv([]string{"{}"})
	tmpl, _ := ParseTemplate([]string{`i=0; while [ $i -lt 50 ]; do printf {}; printf {}; echo {}; echo {} >&2; i=$((i+1)); done`})
	jobs := func(yield func(Job, error) bool) {
		for _, v := range []string{"a", "b", "c", "d", "e", "f"} {
			if !yield(Job{Template: tmpl, Values: []string{strings.Repeat(v, 3000)}}, nil) {
				return
			}
		}
	}
	_, sum, err := run(t, Options{Slots: 6, Output: Lines, Stdout: &out, Stderr: &errs, Tag: tag}, jobs)
	if err != nil || sum.OK != 6 {
		t.Fatalf("%+v, %v", sum, err)
	}
	n := 0
	for line := range strings.Lines(out.String()) {
		n++
		want := strings.Repeat(line[:1], 3000) + "\t" + strings.Repeat(line[:1], 9000) + "\n"
		if line != want {
			t.Fatalf("line %d is mixed: %.40q", n, line)
		}
	}
	if n != 300 || strings.Count(errs.String(), "\n") != 300 {
		t.Errorf("%d lines", n)
	}
}

// The last line of a job needs no newline to be passed on.
func TestLinesUnfinished(t *testing.T) {
	var out bytes.Buffer
	got, _, err := run(t, Options{Slots: 1, Output: Lines, Keep: true, Stdout: &out}, commands("printf 'a\nb'"))
	if err != nil || out.String() != "a\nb" || got[0].out != "a\nb" {
		t.Errorf("%q %q %v", out.String(), got[0].out, err)
	}
}

func TestThrough(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, _, err = run(t, Options{Slots: 1, Output: Through, Stdout: w}, commands("readlink /proc/self/fd/1"))
	w.Close()
	b, _ := io.ReadAll(r)
	if err != nil || !strings.HasPrefix(string(b), "pipe:") {
		t.Errorf("%q %v", b, err)
	}
}

// A job that fails is tried again, with its number of tries in the result, and
// only the last one is delivered.
func TestRetries(t *testing.T) {
	dir := t.TempDir()
	count := filepath.Join(dir, "count")
	text := fmt.Sprintf("echo x >> %s; [ $(wc -l < %s) -ge 3 ]", count, count)
	began := time.Now()
	got, sum, err := run(t, Options{Slots: 2, Tries: 5, RetryDelay: 20 * time.Millisecond}, commands(text, "exit 9"))
	if err != nil || len(got) != 2 || sum.OK != 1 || sum.Failed != 1 {
		t.Fatalf("%v %+v %v", got, sum, err)
	}
	for _, g := range got {
		if want := map[int]int{1: 3, 2: 5}[g.Seq]; g.Try != want {
			t.Errorf("job %d: try %d, want %d", g.Seq, g.Try, want)
		}
	}
	// Half of 20+40+80+160 ms at least.
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("four pauses took %v", took)
	}
}

func TestHalt(t *testing.T) {
	for _, tt := range []struct {
		halt           string
		texts          []string
		done, ok, code int
	}{
		{"soon,fail=1", []string{"true", "exit 7", "true", "true"}, 2, 1, 7},
		{"soon,fail=2", []string{"exit 1", "true", "exit 5", "true"}, 3, 1, 2},
		{"now,success=1", []string{"false", "true", "true"}, 2, 1, 0},
		{"soon,done=2", []string{"false", "true", "true"}, 2, 1, 1},
		{"soon,done=2", []string{"true", "true", "true"}, 2, 2, 0},
		{"soon,fail=3", []string{"false", "true", "false"}, 3, 1, 2},
		{"now,fail=1", []string{"kill -TERM $$", "true"}, 1, 0, 143},
	} {
		h, err := ParseHalt(tt.halt)
		if err != nil {
			t.Fatal(err)
		}
		_, sum, err := run(t, Options{Slots: 1, Halt: h}, commands(tt.texts...))
		if err != nil || sum.Done != tt.done || sum.OK != tt.ok || sum.ExitCode() != tt.code || sum.NotRun+sum.Done != sum.Jobs {
			t.Errorf("%s: %+v %v, exit code %d", tt.halt, sum, err, sum.ExitCode())
		}
	}
}

// Now ends what runs; those jobs are cancelled, not failed by themselves.
func TestHaltNow(t *testing.T) {
	got, sum, err := run(t, Options{Slots: 2, Halt: Halt{When: HaltNow, Count: 1}}, commands("sleep 1000", "exit 4", "true"))
	if err != nil || sum.ExitCode() != 4 || len(got) != 2 || got[1].Reason != Cancelled {
		t.Errorf("%v %+v %v", got, sum, err)
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b, err := New(Options{Slots: 1, Started: func(int, int, Command) { cancel() }})
	if err != nil {
		t.Fatal(err)
	}
	var reason Reason
	_, err = b.Each(ctx, commands("sleep 1000", "true"), func(r *Result) error {
		reason = r.Reason
		return nil
	})
	if !errors.Is(err, context.Canceled) || reason != Cancelled {
		t.Errorf("%v, %v", reason, err)
	}
}

func TestDrain(t *testing.T) {
	var b *Batch
	b, err := New(Options{Slots: 1, Started: func(int, int, Command) { b.Drain() }})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := b.Each(t.Context(), commands("sleep 0.05", "true", "true"), func(*Result) error { return nil })
	if err != nil || sum.OK != 1 || sum.Done != 1 {
		t.Errorf("%+v %v", sum, err)
	}
}

// An error of the consumer ends the batch and is its error.
func TestDeliveryError(t *testing.T) {
	full := errors.New("no space left")
	b, err := New(Options{Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	_, err = b.Each(t.Context(), commands("true", "sleep 1000", "true"), func(*Result) error {
		n++
		return full
	})
	if !errors.Is(err, full) || n != 1 {
		t.Errorf("%d deliveries, %v", n, err)
	}
}

// A live output that can't be written ends jobs that would write for ever.
func TestClosedOutput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	_, _, err = run(t, Options{Slots: 2, Output: Lines, Stdout: w}, commands("yes", "yes"))
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
}

// Output that can't be kept: the error says what to do, the job does not count
// as done, and nothing more is started.
func TestTemporaryDiskFull(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	o := Options{Slots: 1, TempDir: filepath.Join(t.TempDir(), "missing"), JobLog: log}
	jobs := []string{"echo small", "head -c 5000000 /dev/zero", "echo never"}
	got, sum, err := run(t, o, commands(jobs...))
	if !errors.Is(err, errTemp) || !strings.Contains(err.Error(), "TMPDIR") || sum.NotRun != 1 {
		t.Errorf("%+v %v", sum, err)
	}
	if len(got) != 2 || got[0].out != "small\n" || got[1].OK() {
		t.Fatalf("%+v", got)
	}
	o.TempDir, o.Resume = "", Unfinished
	got, sum, err = run(t, o, commands(jobs...))
	if err != nil || sum.Skipped != 1 || len(got) != 2 || len(got[0].out) != 5000000 || got[1].out != "never\n" {
		t.Errorf("resumed: %+v %v", sum, err)
	}
}

// The least time between two starts.
func TestDelay(t *testing.T) {
	var starts []time.Time
	begin := time.Now() // the first start may be seen late, and the next one is due as if it had not been
	_, _, err := run(t, Options{Slots: 4, Delay: 20 * time.Millisecond, Started: func(int, int, Command) {
		starts = append(starts, time.Now())
	}}, commands("true", "true", "true", "true"))
	if err != nil || len(starts) != 4 || starts[3].Sub(begin) < 60*time.Millisecond {
		t.Errorf("%v %v", starts, err)
	}
}

func TestEnvironment(t *testing.T) {
	got, _, err := run(t, Options{Slots: 1, Dir: "/", Env: []string{"PATH=" + os.Getenv("PATH"), "A=1"}}, func(yield func(Job, error) bool) {
		yield(Job{Command: Command{Text: "echo $A $B $PARALLEL_SEQ $PARALLEL_JOBSLOT $BROOD_SEQ $BROOD_SLOT $PWD; cat"}, Env: []string{"B=2"}}, nil)
	})
	if err != nil || got[0].out != "1 2 1 1 1 1 /\n" {
		t.Errorf("%q %v", got[0].out, err)
	}
}

// A command that needs no shell is started without one, and falls back to the
// shell where only that can run it.
func TestDirectStart(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("echo from a script without a first line\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, _, err := run(t, Options{Slots: 1}, commands("cat /proc/self/stat", script, "/no/such/program"))
	if err != nil || len(got) != 3 {
		t.Fatal(err)
	}
	if f := strings.Fields(got[0].out); f[3] != strconv.Itoa(os.Getpid()) {
		t.Errorf("cat's parent is %s, not this process", f[3])
	}
	if !strings.Contains(got[1].out, "without a first line") || got[2].Code() != 127 {
		t.Errorf("%q, %d", got[1].out, got[2].Code())
	}
	got, _, err = run(t, Options{Slots: 1}, func(yield func(Job, error) bool) {
		yield(Job{Command: Command{Argv: []string{"/no/such/program"}}}, nil)
	})
	if err != nil || got[0].Code() != 127 || got[0].Reason != NotStarted || got[0].Err == nil {
		t.Errorf("%+v %v", got, err)
	}
}

// turns is a policy that lets two jobs run and pauses the first one while the
// second one runs.
type turns struct{}

func (p *turns) Decide(_ time.Duration, events ...sched.Event) (out []sched.Decision) {
	for _, e := range events {
		switch {
		case e.Kind == sched.Arrive && e.Job == 1:
			out = append(out, sched.Decision{Action: sched.Run, Job: 1})
		case e.Kind == sched.Arrive && e.Job == 2:
			out = append(out, sched.Decision{Action: sched.Pause, Job: 1}, sched.Decision{Action: sched.Run, Job: 2})
		case e.Kind == sched.Finish && e.Job == 2:
			out = append(out, sched.Decision{Action: sched.Resume, Job: 1})
		}
	}
	return out
}

func (p *turns) String() string { return "turns" }

// The dispatcher obeys: a paused job stands still while another runs, and its
// pause does not count against its time.
func TestPolicyIsObeyed(t *testing.T) {
	started := make(chan struct{})
	jobs := func(yield func(Job, error) bool) {
		_ = yield(Job{Command: Command{Text: "sleep 0.1; echo first"}}, nil)
		<-started
		yield(Job{Command: Command{Text: "sleep 0.4; echo second"}}, nil)
	}
	b, err := New(Options{Slots: 2, Policy: &turns{}, Timeout: 350 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for len(b.Running()) == 0 {
			runtime.Gosched()
		}
		close(started)
	}()
	var order []string
	var paused time.Duration
	_, err = b.Each(t.Context(), jobs, func(r *Result) error {
		out, _ := io.ReadAll(r.Stdout())
		order = append(order, string(out)+string(r.Reason))
		if r.Seq == 1 {
			paused = r.Paused
		}
		return nil
	})
	// The second job takes longer than it may; the first one, paused for all of
	// that time, still ends in time.
	if want := []string{"timeout", "first\nexit"}; err != nil || !slices.Equal(order, want) || paused < 300*time.Millisecond {
		t.Errorf("%q, paused %v, %v", order, paused, err)
	}
}

// narrow is a runner that has fewer places than asked for.
type narrow struct {
	places int
	mu     sync.Mutex
	open   int
}

func (n *narrow) Open(slot int, use func(Slot, error)) {
	n.mu.Lock()
	n.open++
	tooMany := n.open > n.places
	n.mu.Unlock()
	if tooMany {
		go use(nil, errors.New("too many open files"))
		return
	}
	local{}.Open(slot, use)
}

// Pause stops what runs, also what is just being started, and nothing starts
// until Resume: the numbers that jobs write stand still.
func TestPauseHoldsStarts(t *testing.T) {
	b, err := New(Options{Slots: 4, Output: Lines, Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ran")
	jobs := func(yield func(Job, error) bool) {
		for range 400 {
			if !yield(Job{Command: Command{Text: "echo >> " + file + "; echo >> " + file}}, nil) {
				return
			}
		}
	}
	size := func() int64 {
		if fi, err := os.Stat(file); err == nil {
			return fi.Size()
		}
		return 0
	}
	var sum Summary
	var ended sync.WaitGroup
	ended.Go(func() { sum, err = b.Each(t.Context(), jobs, func(*Result) error { return nil }) })
	for next := int64(20); next < 400; next += 40 {
		for size() < next {
			runtime.Gosched()
		}
		b.Pause()
		before := b.Stats()
		n := size()
		for range 2000 {
			runtime.Gosched()
		}
		if s := b.Stats(); size() != n || s.Done > before.Done+4 || s.Queued != before.Queued && s.Jobs == before.Jobs {
			t.Errorf("%d bytes written and %d jobs done while the batch was paused", size()-n, s.Done-before.Done)
		}
		b.Resume()
	}
	ended.Wait()
	if err != nil || sum.OK != 400 || size() != 800 {
		t.Errorf("%+v %v, %d", sum, err, size())
	}
}

// A machine that has no room for all slots runs everything with fewer; without
// any there is an error.
func TestFewerSlots(t *testing.T) {
	texts := slices.Repeat([]string{"sleep 0.01"}, 30)
	_, sum, err := run(t, Options{Slots: 10, Runner: &narrow{places: 2}}, commands(texts...))
	if err != nil || sum.OK != 30 {
		t.Errorf("%+v %v", sum, err)
	}
	_, sum, err = run(t, Options{Slots: 10, Runner: &narrow{}}, commands(texts...))
	if err == nil || !strings.Contains(err.Error(), "too many open files") || sum.Done != 0 {
		t.Errorf("%+v %v", sum, err)
	}
}

func TestOptionErrors(t *testing.T) {
	for _, o := range []Options{{Slots: -1}, {Timeout: -1}, {Tries: -1}, {Resume: Unfinished}, {Memory: -5}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Each(t.Context(), commands(), func(*Result) error { return nil })
	if _, err := b.Each(t.Context(), commands(), nil); err == nil {
		t.Error("Each twice: no error")
	}
}
