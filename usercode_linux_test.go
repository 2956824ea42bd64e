package brood

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/link"
)

// What the user's code, and who reads a worker's output, may do without hurting others.

var (
	chatter = NewFunc("test/chatter", func(_ context.Context, n int) (int, error) {
		for i := range n {
			slog.Info("record", "n", i)
		}
		return n, nil
	})
	diesLater = NewFunc("test/dies later", func(context.Context, struct{}) (struct{}, error) {
		time.AfterFunc(20*time.Millisecond, func() { os.Exit(4) })
		return struct{}{}, nil
	})
	shy = NewFunc("test/shy", func(_ context.Context, s shyValue) (shyValue, error) { return shyValue{s.n + 1}, nil })
	bad = NewFunc("test/bad errors", func(ctx context.Context, which int) (int, error) {
		<-ctx.Done()
		return 0, badError(which)
	})
	slowly = NewFunc("test/decodes slowly", func(context.Context, struct{}) (slowValue, error) { return slowValue{}, nil })
	babble = NewFunc("test/babble", func(_ context.Context, lines int) (int, error) {
		for i := range lines {
			fmt.Println("line", i, strings.Repeat("x", 100))
		}
		return lines, nil
	})
	leave = NewFunc("test/leave", func(context.Context, struct{}) (int, error) {
		runtime.Goexit()
		return 0, nil
	})
)

// shyValue has nothing that would travel.
type shyValue struct{ n int }

// badError panics in one of its methods, or ends the goroutine.
type badError int

func (e badError) Error() string {
	if e == 3 {
		runtime.Goexit()
	}
	return "bad"
}

func (e badError) Is(error) bool {
	if e == 1 {
		panic("in Is")
	}
	return false
}

func (e badError) Unwrap() error {
	switch e {
	case 2:
		panic("in Unwrap")
	case 4:
		runtime.Goexit()
	}
	return nil
}

// slowValue decodes as soon as mayDecode is not locked.
type slowValue struct{}

var mayDecode sync.RWMutex

func (slowValue) MarshalBinary() ([]byte, error) { return []byte{1}, nil }

func (*slowValue) UnmarshalBinary([]byte) error {
	mayDecode.RLock()
	defer mayDecode.RUnlock()
	return nil
}

// handlerFunc is a slog.Handler.
type handlerFunc func(slog.Record)

func (h handlerFunc) Enabled(context.Context, slog.Level) bool      { return true }
func (h handlerFunc) Handle(_ context.Context, r slog.Record) error { h(r); return nil }
func (h handlerFunc) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h handlerFunc) WithGroup(string) slog.Handler                 { return h }
func number(r slog.Record) (n int64) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "n" {
			n = a.Value.Int64()
		}
		return true
	})
	return n
}

// A handler that is slower than a process that logs and ends costs neither the result nor
// a record, and Join returns when the last one was handled.
func TestSlowLogHandler(t *testing.T) {
	watchdog(t, time.Minute)
	const n = 1000
	var last atomic.Int64
	gate := make(chan struct{})
	h := handlerFunc(func(r slog.Record) {
		<-gate
		last.CompareAndSwap(number(r), number(r)+1)
	})
	p := start(t, chatter, n, ProcessOptions{Pool: PoolOptions{LogHandler: h, Grace: time.Minute}})
	if v, err := p.Result(t.Context()); v != n || err != nil {
		t.Error(v, err)
	}
	close(gate)
	if err := p.Join(t.Context()); err != nil || last.Load() != n {
		t.Errorf("%d records were handled in order, %v", last.Load(), err)
	}
}

// A handler may panic, end its goroutine, and close the very pool.
func TestRudeLogHandler(t *testing.T) {
	watchdog(t, time.Minute)
	var p *ProcessPool
	var seen sync.WaitGroup
	seen.Add(3)
	p = newProcesses(t, PoolOptions{Workers: 1, Spares: -1, Grace: 50 * time.Millisecond, LogHandler: handlerFunc(func(r slog.Record) {
		defer seen.Done()
		switch number(r) {
		case 0:
			panic("in a handler")
		case 1:
			runtime.Goexit()
		case 2:
			p.Close()
		}
	})})
	if v, err := chatter.Call(t.Context(), p, 3); v != 3 || err != nil {
		t.Error(v, err)
	}
	seen.Wait()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// More records than may wait are dropped, and the handler is told how many.
func TestTooManyRecords(t *testing.T) {
	watchdog(t, time.Minute)
	gate := make(chan struct{})
	var got []string
	h := &host{pool: &pool{o: PoolOptions{LogHandler: handlerFunc(func(r slog.Record) {
		<-gate
		got = append(got, r.Message)
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "dropped" {
				got = append(got, a.Value.String())
			}
			return true
		})
	})}}}
	h.logs.do = h.replay
	long := encoded(t, strings.Repeat("x", maxLogs/4))
	for range 10 {
		h.log(long)
	}
	kept := 10 - h.dropped
	want := h.dropped
	close(gate)
	<-h.logs.whenIdle()
	h.log(encoded(t, "after"))
	h.dropped = 7 // the last ones of a worker
	h.logDropped()
	if idle := h.logs.whenIdle(); idle != nil {
		<-idle
	}
	if last := got[len(got)-1]; last != "7" {
		t.Errorf("of the last ones it says %q", last)
	}
	got = got[:len(got)-2]
	if want == 0 || len(got) != kept+3 || got[kept+1] != fmt.Sprint(want) || got[kept+2] != "after" {
		t.Errorf("%d kept, %d dropped, then %.100q", kept, want, got[kept:])
	}
}

func encoded(t *testing.T, message string) []byte {
	t.Helper()
	conn, far := logPair(t)
	go slog.New(&logSender{conn: conn}).Info(message)
	m, err := far.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(m.Body)
}

// Workers that end by themselves before they have served are failed starts: the pool
// breaks instead of starting others for ever.
func TestCrashLoopAfterReady(t *testing.T) {
	watchdog(t, time.Minute)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1, Initializer: diesLater.Bind(struct{}{})})
	var start *StartError
	eventually(t, "the pool is broken", func() bool {
		p.p.mu.Lock()
		defer p.p.mu.Unlock()
		return p.p.broken != nil
	})
	if _, err := square.Call(t.Context(), p, 2); !errors.As(err, &start) || start.Stage != "ready" || !strings.Contains(err.Error(), "before its first task") {
		t.Error(err)
	}
	if n := p.Stats().Deaths["ready"]; n != 3 {
		t.Errorf("%d of them", n)
	}
}

// The methods of an error may panic or end the goroutine: the task has an outcome, and
// the program lives on.
func TestRudeErrors(t *testing.T) {
	onEach(t, PoolOptions{Workers: 2, TaskTimeout: time.Millisecond}, func(t *testing.T, p testPool) {
		for which := range 5 {
			if _, err := bad.Call(t.Context(), p, which); err == nil {
				t.Errorf("%d: no error", which)
			}
		}
	})
	onEach(t, PoolOptions{Workers: 2}, func(t *testing.T, p testPool) {
		for _, which := range []int{0, 1, 2} {
			ctx, cancel := context.WithCancelCause(t.Context())
			fs := []*Future[int]{bad.Submit(ctx, p, which), bad.Submit(ctx, p, which), bad.Submit(ctx, p, which)}
			cancel(badError(which))
			for _, f := range fs {
				if _, err := f.Result(t.Context()); err == nil {
					t.Errorf("%d: no error", which)
				}
			}
		}
	})
}

// foreign is a cause whose method ends the goroutine.
type foreign struct{}

func (foreign) Error() string { return "foreign" }

func (foreign) Unwrap() error {
	runtime.Goexit()
	return nil
}

// The reason why a context was cancelled is the user's: it is not asked what it is, and
// not taken for one of the pool's, as that of an errgroup may be.
func TestForeignCauses(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1, Grace: 50 * time.Millisecond}, func(t *testing.T, p testPool) {
		for _, cause := range []error{foreign{}, &TimeoutError{Task: "another"}, badError(3)} {
			for _, fn := range []*Func[struct{}, struct{}]{untilDone, deaf} {
				if _, threads := p.(*ThreadPool); threads && fn == deaf {
					continue
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				f := fn.Submit(ctx, p, struct{}{})
				eventually(t, "it runs", func() bool { return f.State() == Running })
				cancel(cause)
				_, err := f.Result(t.Context())
				if err == nil || !isFirst(err, context.Canceled) {
					t.Errorf("%s, %T", fn.Name(), cause)
				}
			}
		}
	})
}

// isFirst reports whether an error or the first in its chain is another, without asking it.
func isFirst(err, want error) bool {
	for {
		if err == want {
			return true
		}
		j, ok := err.(*joinedError)
		if !ok {
			return false
		}
		err = j.first
	}
}

var panickingHandler = handlerFunc(func(slog.Record) { panic("a faulty handler") })

// A handler that panics may be the program's default as well.
func TestPanickingDefaultHandler(t *testing.T) {
	cmd := inRole("panicking handler")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "it lives <nil>") {
		t.Errorf("%v: %s", err, out)
	}
}

var _ = role("panicking handler", func() {
	slog.SetDefault(slog.New(panickingHandler))
	pool, err := NewProcessPool(PoolOptions{Workers: 1, LogHandler: panickingHandler, Grace: 50 * time.Millisecond})
	if err != nil {
		panic(err)
	}
	_, err = chatter.Call(background, pool, 1)
	pool.Close()
	fmt.Println("it lives", err)
	os.Exit(0)
})

// A refused task is as it was: it can be given to another executor, and the pool keeps
// nothing of it, however large.
func TestRefusedTaskIsWhole(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1, MaxPending: 10}, func(t *testing.T, p *ProcessPool) {
		p.Close()
		large := make([]byte, 300<<10)
		if _, err := echo.Call(t.Context(), p, large); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := echo.TrySubmit(t.Context(), p, large); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		threads, err := NewThreadPool(PoolOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := echo.Call(t.Context(), orElse{p, threads}, large)
		if err != nil || len(b) != len(large) {
			t.Error(len(b), err)
		}
	})
}

// orElse is an executor that goes to a second one if the first does not take a task.
type orElse struct{ first, second Executor }

func (e orElse) TryExecute(t *Task) error { return e.Execute(t.Context(), t) }

func (e orElse) Execute(ctx context.Context, t *Task) error {
	if err := e.first.Execute(ctx, t); err != nil {
		return e.second.Execute(ctx, t)
	}
	return nil
}

// A future holds neither its argument nor an encoded result when they are of no use any
// more.
func TestFuturesLetGo(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		for _, size := range []int{1000, 300 << 10} {
			f := echo.Submit(t.Context(), p, make([]byte, size))
			if b, err := f.Result(t.Context()); len(b) != size || err != nil {
				t.Fatal(len(b), err)
			}
			c := f.t.body.(*call[[]byte, []byte])
			if c.arg != nil || f.t.pool.payload.inline != nil || f.t.raw != nil || f.t.pool.raw.bytes != nil || f.t.pool.raw.slow != nil {
				t.Errorf("%d bytes: it holds %d of the argument, %d encoded, and of the result %v", size, len(c.arg), len(f.t.pool.payload.inline), f.t.raw)
			}
		}
	})
}

// Wait and AsCompleted leave nothing behind at futures that are still to come.
func TestWaitLeavesNothing(t *testing.T) {
	threads, err := NewThreadPool(PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pending := untilDone.Submit(t.Context(), threads, struct{}{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	done := untilDone.Submit(ended, threads, struct{}{})
	<-done.Done()
	for range 100 {
		Wait(t.Context(), FirstCompleted, pending, done)
		if got, _, err := Wait(ended, FirstCompleted, pending, done); len(got) != 1 || err != nil {
			t.Fatalf("what is completed comes before the end of the context: %d, %v", len(got), err)
		}
	}
	pending.t.mu.Lock()
	if h := pending.t.hooks; h != nil && len(h.watchers) > 1 { // the pool's own
		t.Errorf("%d watchers are left", len(h.watchers))
	}
	pending.t.mu.Unlock()
	pending.Cancel()
	<-pending.Done()
}

// Result obeys its context while a type takes its time to decode, and State never waits.
func TestResultWhileDecoding(t *testing.T) {
	watchdog(t, time.Minute)
	p := newProcesses(t, PoolOptions{Workers: 1})
	mayDecode.Lock()
	f := slowly.Submit(t.Context(), p, struct{}{})
	<-f.Done()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := f.Result(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		if s := f.State(); s != Succeeded {
			t.Error(s)
		}
	}
	mayDecode.Unlock()
	if _, err := f.Result(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is settled and at hand is returned also when the context has ended, however large.
func TestResultAtHand(t *testing.T) {
	p := newProcesses(t, PoolOptions{Workers: 1})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, size := range []int{10, 1 << 20} {
		f := echo.Submit(t.Context(), p, make([]byte, size))
		<-f.Done()
		eventually(t, "it is at hand", func() bool {
			b, err := f.Result(ended)
			return err == nil && len(b) == size
		})
	}
}

// A value of which nothing would travel is an error, where it would have to.
func TestNothingTravels(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		v, err := shy.Call(t.Context(), p, shyValue{1})
		if tp, threads := p.(*ThreadPool); threads && !tp.o.Encode {
			if v.n != 2 || err != nil {
				t.Error(v, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), "no field of brood.shyValue is exported") {
			t.Error(v, err)
		}
	})
}

// An initializer's argument that can't be encoded is an error of NewProcessPool.
func TestInitializerArgument(t *testing.T) {
	if p, err := NewProcessPool(PoolOptions{Initializer: takesChannel.Bind(make(chan int))}); err == nil || !strings.Contains(err.Error(), "test/takes a channel") {
		p.Close()
		t.Error(err)
	}
}

// wicked panics with a value whose method ends the goroutine, when it is encoded.
type wicked struct{ N int }

func (wicked) MarshalBinary() ([]byte, error)  { panic(badError(3)) }
func (*wicked) UnmarshalBinary(b []byte) error { return nil }

var takesWicked = NewFunc("test/takes wicked", func(context.Context, wicked) (int, error) { return 1, nil })

func TestPanicWithGoexit(t *testing.T) {
	watchdog(t, time.Minute)
	p := newProcesses(t, PoolOptions{Workers: 1})
	if _, err := takesWicked.Call(t.Context(), p, wicked{}); !errors.Is(err, ErrGoexit) {
		t.Error(err)
	}
	f := square.Submit(t.Context(), p, 3)
	called := make(chan bool)
	f.OnDone(func(*Future[int]) { panic(badError(3)) })
	f.OnDone(func(*Future[int]) { close(called) })
	<-called
}

func TestRunEncodedOfGoexit(t *testing.T) {
	if _, err := RunEncoded(t.Context(), leave.Name(), []byte{0}); !errors.Is(err, ErrGoexit) {
		t.Error(err)
	}
}

// A pipe that nobody reads stops a worker that writes to it with OutputPrefix, but not its
// end.
func TestPrefixToAFullPipe(t *testing.T) {
	for _, role := range []string{"full pipe", "full pipe, portable"} {
		t.Run(role, func(t *testing.T) {
			watchdog(t, time.Minute)
			endsWithFullPipe(t, role)
		})
	}
}

func endsWithFullPipe(t *testing.T, role string) {
	cmd := inRole(role)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), "it ended") {
		t.Errorf("%v: %s", err, stderr.String())
	}
	out.Close()
}

var _ = role("full pipe", func() { fullPipe(PoolOptions{}) })

var _ = role("full pipe, portable", func() { fullPipe(PoolOptions{sockets: true, portable: true}) })

func fullPipe(o PoolOptions) {
	o.Workers, o.Output, o.Grace = 1, OutputPrefix, 50*time.Millisecond
	pool, err := NewProcessPool(o)
	if err != nil {
		panic(err)
	}
	f := babble.Submit(background, pool, 10_000)
	full := func() bool {
		pool.p.mu.Lock()
		defer pool.p.mu.Unlock()
		for _, h := range pool.p.hosts {
			if h.pid != 0 && h.lines[0].Full() {
				return true
			}
		}
		return false
	}
	for !full() {
		runtime.Gosched()
	}
	f.Cancel()
	_, err = f.Result(background)
	pool.Close()
	fmt.Fprintln(os.Stderr, "it ended:", err)
	os.Exit(0)
}

var babbleAndDie = NewFunc("test/babble and die", func(_ context.Context, lines int) (int, error) {
	w := bufio.NewWriter(os.Stdout)
	for i := range lines {
		fmt.Fprintln(w, "line", i, strings.Repeat("x", 100))
	}
	w.Flush()
	os.Exit(5)
	return lines, nil
})

// All lines of a worker that ended while they could not be written are written when Close
// returns, and none is torn.
func TestPrefixedToTheEnd(t *testing.T) {
	watchdog(t, time.Minute)
	cmd := inRole("last lines")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil { // the worker is dead
		t.Fatal(err)
	}
	n := 0
	for lines := bufio.NewScanner(out); lines.Scan(); n++ {
		if want := fmt.Sprintf("line %d %s", n, strings.Repeat("x", 100)); !strings.HasSuffix(lines.Text(), "] "+want) {
			t.Fatalf("line %d is %q", n, lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil || n != babbled {
		t.Errorf("%d lines, %v", n, err)
	}
}

// babbled is how many lines fill a pipe and more than one that waits for it.
const babbled = 1600

var _ = role("last lines", func() {
	pool, err := NewProcessPool(PoolOptions{Workers: 1, Spares: -1, Output: OutputPrefix, Grace: time.Minute})
	if err != nil {
		panic(err)
	}
	babbleAndDie.Call(background, pool, babbled)
	fmt.Fprint(os.Stderr, "!")
	pool.Close()
	os.Exit(0)
})

// The second Ctrl-C ends a program whose run does not end with its context.
func TestSecondInterrupt(t *testing.T) {
	watchdog(t, time.Minute)
	cmd := inRole("stubborn main")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.ReadFull(out, make([]byte, 1))
	cmd.Process.Signal(os.Interrupt)
	io.ReadFull(out, make([]byte, 1))
	// What stops the notification runs beside what run waits for, so one more may be taken;
	// the next is sent when the program sleeps. (A storm of them as a Go program dies of the first
	// makes its runtime end by SIGSEGV, now and then.)
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	for over := false; !over; {
		cmd.Process.Signal(os.Interrupt)
		eventually(t, "it is over, or sleeps", func() bool {
			select {
			case err = <-died:
				over = true
			default:
			}
			return over || sleeps(cmd.Process.Pid)
		})
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Error(err)
	}
}

// sleeps reports whether no thread of a process runs, and no signal waits for it.
func sleeps(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, thread := range threads {
		tid, _ := strconv.Atoi(filepath.Base(thread))
		if stateOf(tid) != 'S' {
			return false
		}
	}
	return len(threads) > 0 && strings.Contains(string(readFile(pid, "status")), "\nShdPnd:\t0000000000000000\n")
}

var _ = role("stubborn main", func() {
	Main(func(ctx context.Context) error {
		fmt.Print("1")
		<-ctx.Done()
		fmt.Print("2")
		select {}
	})
})

// logPair is a connection over which a worker's logger sends.
func logPair(t *testing.T) (near, far *link.Conn) {
	t.Helper()
	near, f, err := link.Pair()
	if err != nil {
		t.Fatal(err)
	}
	if far, err = link.NewConn(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		near.Close()
		far.Close()
	})
	return near, far
}
