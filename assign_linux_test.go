package brood

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Where calls go, and what becomes of those that never got there: taken back, behind
// a call for which a worker is killed, in the ring of a worker that does not take them.

var (
	// secondTry is readPipe that may be run again, and fails if it is told to.
	secondTry = NewFunc("test/second try", func(_ context.Context, path string) (string, error) {
		b, err := os.ReadFile(path)
		if string(b) == "fail" {
			return "", errOurs
		}
		return string(b), err
	}).Idempotent()
	// whyEnded says what its context ended with.
	whyEnded = NewFunc("test/why it ended", func(ctx context.Context, _ struct{}) (string, error) {
		<-ctx.Done()
		return fmt.Sprint(ctx.Err()), nil
	})
	// lateForNext returns when it has read the first named pipe, but its worker takes no
	// other call before somebody writes to the second: the function leaves its context
	// locked, which the worker ends when the outcome is on its way.
	lateForNext = NewFunc("test/late for the next", func(ctx context.Context, paths [2]string) (string, error) {
		b, err := os.ReadFile(paths[0])
		c := ctx.(*taskContext)
		c.mu.Lock()
		go func() {
			os.ReadFile(paths[1])
			c.mu.Unlock()
		}()
		return string(b), err
	})
)

// tell waits until a function reads the named pipe, and lets it read text.
func tell(t *testing.T, path, text string) {
	t.Helper()
	var f *os.File
	eventually(t, "somebody reads "+path, func() (ok bool) {
		var err error
		f, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	if _, err := f.WriteString(text); err != nil {
		t.Error(err)
	}
	f.Close()
}

// want waits for the result of a task.
func want[R comparable](t *testing.T, what string, f *Future[R], v R) {
	t.Helper()
	if got, err := f.Result(t.Context()); got != v || err != nil {
		t.Errorf("%s: %v, %v, want %v", what, got, err, v)
	}
}

// suspend stops every thread of a process and returns what lets it go on.
func suspend(t *testing.T, pid int) (resume func()) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is stopped", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, thread := range threads {
			tid := 0
			if fmt.Sscan(filepath.Base(thread), &tid); stateOf(tid) != 'T' {
				return false
			}
		}
		return len(threads) > 0
	})
	return sync.OnceFunc(func() { syscall.Kill(pid, syscall.SIGCONT) })
}

// serving waits until a pool has n workers that serve, and returns them in the order in
// which they are chosen.
func serving(t *testing.T, p *ProcessPool, n int) (hosts []*host) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d serve", n), func() bool {
		p.p.mu.Lock()
		defer p.p.mu.Unlock()
		hosts = nil
		for _, h := range p.p.hosts {
			if h.state == hostServing {
				hosts = append(hosts, h)
			}
		}
		return len(hosts) == n
	})
	return hosts
}

// withoutReader makes a test the only one that reads a worker's outcomes. What it
// returns reads them until none is awaited.
func withoutReader(t *testing.T, h *host) (read func()) {
	t.Helper()
	eventually(t, "nobody reads", func() bool {
		h.pool.mu.Lock()
		defer h.pool.mu.Unlock()
		if h.reader != readerNone {
			return false
		}
		h.reader = readerCall
		return true
	})
	read = sync.OnceFunc(func() {
		for h.readSome(h.gone.Load) {
		}
	})
	t.Cleanup(read)
	return read
}

// wantCallAsleep waits until a Call reads a worker's outcomes, and has ceased to look for
// them: it sleeps, so that it sees only for what it is woken.
func wantCallAsleep(t *testing.T, h *host) {
	t.Helper()
	buf := make([]byte, 1<<20)
	eventually(t, "a Call reads, and sleeps", func() bool {
		h.pool.mu.Lock()
		role := h.reader
		h.pool.mu.Unlock()
		stacks := string(buf[:runtime.Stack(buf, true)])
		return role == readerCall && slices.ContainsFunc(strings.Split(stacks, "\n\n"), func(stack string) bool {
			return strings.Contains(stack, "(*host).readFor(") && strings.Contains(stack, "futex.Wait(")
		})
	})
}

// What waits behind a call for which its worker is killed goes to another worker.
func TestKilledForOneCall(t *testing.T) {
	for name, o := range map[string]PoolOptions{
		"no grace":    {Workers: 1, Grace: -1},
		"short grace": {Workers: 1, Grace: time.Millisecond, TaskTimeout: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			onProcesses(t, o, func(t *testing.T, p *ProcessPool) {
				square.Call(t.Context(), p, 1)
				a := deaf.Submit(t.Context(), p, struct{}{})
				var behind []*Future[int]
				for i := range 10 {
					behind = append(behind, square.Submit(t.Context(), p, i))
				}
				eventually(t, "it runs", func() bool { return a.State() != Queued })
				if o.TaskTimeout == 0 {
					a.Cancel()
				}
				_, err := a.Result(t.Context())
				var timeout *TimeoutError
				if o.TaskTimeout == 0 && (!errors.Is(err, context.Canceled) || !errors.As(err, new(*WorkerDied))) || o.TaskTimeout > 0 && (!errors.As(err, &timeout) || !timeout.Killed) {
					t.Errorf("the one for which it is killed: %v", err)
				}
				for i, f := range behind {
					want(t, fmt.Sprint("behind it, task ", i), f, i*i)
				}
			})
		})
	}
}

// A call that ends by itself at the moment at which it is cancelled takes no other one
// along, without any grace.
func TestCancelRacesWithNextCall(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1, Grace: -1}, func(t *testing.T, p *ProcessPool) {
		rounds := 100
		if long {
			rounds = 5000
		}
		for round := range rounds {
			a := wait.Submit(t.Context(), p, time.Duration(rand.IntN(100))*time.Microsecond)
			b := square.Submit(t.Context(), p, round)
			time.AfterFunc(time.Duration(rand.IntN(300))*time.Microsecond, func() { a.Cancel() })
			want(t, fmt.Sprintf("round %d", round), b, round*round)
			if _, err := a.Result(t.Context()); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("round %d: %v", round, err)
			}
		}
	})
}

// A call has ended, its worker runs the next one, and nobody has read the outcome yet:
// then the worker is not killed for it, neither without grace nor after it.
func TestCancelAfterTheEnd(t *testing.T) {
	for name, o := range map[string]PoolOptions{
		"no grace": {Workers: 1, Spares: -1, Grace: -1},
		"grace":    {Workers: 1, Spares: -1, Grace: time.Millisecond, TaskTimeout: 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			watchdog(t, 20*time.Second)
			p := newProcesses(t, o)
			h := serving(t, p, 1)[0]
			read := withoutReader(t, h)
			paths := pipes(t, 2)
			a := readPipe.Submit(t.Context(), p, paths[0])
			b := readPipe.Submit(t.Context(), p, paths[1])
			tell(t, paths[0], "a")
			eventually(t, "the next one runs", func() bool { return b.State() == Running })
			if o.TaskTimeout == 0 {
				a.Cancel()
			}
			eventually(t, "the grace is over", func() bool {
				p.p.mu.Lock()
				defer p.p.mu.Unlock()
				return h.flights[0].cause != nil && time.Now().After(h.flights[0].killAt)
			})
			p.p.supervise()
			p.p.mu.Lock()
			p.p.o.TaskTimeout = 0 // the other one has all the time that it needs
			if h.killed {
				t.Error("the worker was killed")
			}
			p.p.mu.Unlock()
			if !t.Failed() {
				tell(t, paths[1], "b")
			}
			read()
			want(t, "the one that has ended", a, "a")
			want(t, "the one that runs", b, "b")
		})
	}
}

// refill fills the ring of a worker with calls that are taken back. No call of one, which
// runs a function by Call or by Submit, fits into it then.
type refill struct {
	name string
	fill func(t *testing.T, p *ProcessPool)
	one  func(t *testing.T, p *ProcessPool, call bool) (outcome <-chan error)
}

var refills = []refill{
	{"few large", func(t *testing.T, p *ProcessPool) {
		for range 4 {
			takeBackNow(t, echo.Submit(t.Context(), p, make([]byte, 60_000)))
		}
	}, func(t *testing.T, p *ProcessPool, call bool) <-chan error {
		return outcomeOf(t, echo, p, make([]byte, 60_000), call)
	}},
	{"many small", func(t *testing.T, p *ProcessPool) {
		for i := range 9000 {
			takeBackNow(t, square.Submit(t.Context(), p, i))
		}
	}, func(t *testing.T, p *ProcessPool, call bool) <-chan error {
		return outcomeOf(t, square, p, 3, call)
	}},
}

// takeBackNow cancels a task that has not begun.
func takeBackNow[R any](t *testing.T, f *Future[R]) {
	t.Helper()
	f.Cancel()
	select {
	case <-f.Done():
	default:
		t.Fatal("a cancelled task that waits goes on waiting")
	}
}

// outcomeOf runs a function by Call or by Submit, which does not end before it is let to.
// When it returns, the pool has the task.
func outcomeOf[A, R any](t *testing.T, f *Func[A, R], p *ProcessPool, arg A, call bool) <-chan error {
	before := known(p)
	outcome := make(chan error, 1)
	if call {
		go func() { outcome <- second(f.Call(t.Context(), p, arg)) }()
	} else {
		future := f.Submit(t.Context(), p, arg)
		go func() { outcome <- second(future.Result(t.Context())) }()
	}
	eventually(t, "the pool has the task", func() bool { return known(p) == before+1 })
	return outcome
}

// known is how many tasks a pool has that wait or run.
func known(p *ProcessPool) int {
	s := p.Stats()
	return s.Queued + s.Running
}

// A ring that is full of calls which were taken back has room again once its worker steps
// over them, though it gives no answer to them: it takes what waits for that room. That
// the call before them has ended says nothing of it.
func TestRingFullOfTakenBack(t *testing.T) {
	for _, fill := range refills {
		for _, calls := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
			t.Run(fmt.Sprintf("%s, by Call: %v", fill.name, calls), func(t *testing.T) {
				watchdog(t, 20*time.Second)
				p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1})
				serving(t, p, 1) // so that a Call reads for itself
				paths := pipes(t, 2)
				first := outcomeOf(t, lateForNext, p, [2]string(paths), calls[0])
				eventually(t, "it runs", func() bool { return p.Stats().Running == 1 })
				fill.fill(t, p)
				last := fill.one(t, p, calls[1])
				wantNoRoom(t, p)
				tell(t, paths[0], "go")
				if err := <-first; err != nil {
					t.Error(err)
				}
				wantNoRoom(t, p)
				tell(t, paths[1], "go")
				if err := <-last; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// wantNoRoom checks that a task waits in the queue, and not in the ring.
func wantNoRoom(t *testing.T, p *ProcessPool) {
	t.Helper()
	p.p.mu.Lock()
	defer p.p.mu.Unlock()
	if p.p.queued != 1 {
		t.Errorf("%d tasks are queued: there was room in the ring", p.p.queued)
	}
}

// The same of a worker that runs nothing, but has not come to look at its ring.
func TestIdleRingFullOfTakenBack(t *testing.T) {
	for _, fill := range refills {
		for _, call := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, by Call: %v", fill.name, call), func(t *testing.T) {
				watchdog(t, 20*time.Second)
				p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1})
				resume := suspend(t, serving(t, p, 1)[0].pid)
				t.Cleanup(resume)
				fill.fill(t, p)
				last := fill.one(t, p, call)
				wantNoRoom(t, p)
				resume()
				if err := <-last; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// What is cancelled while it waits leaves the queue: it takes no memory, and costs
// those that wait nothing.
func TestCancelledLeaveQueue(t *testing.T) {
	try := func(t *testing.T, p testPool, length func() int) {
		watchdog(t, 20*time.Second)
		first := stubborn.Submit(t.Context(), p, struct{}{})
		eventually(t, "it runs", func() bool { return first.State() == Running })
		var kept []*Future[int]
		most := 0
		for i := range 100_000 {
			f := square.Submit(context.Background(), p, i)
			if i%20_000 == 10_000 {
				kept = append(kept, f)
			} else {
				takeBackNow(t, f)
			}
			most = max(most, length())
		}
		if s := p.Stats(); most > 1000 || s.Queued != len(kept) || s.Running != 1 {
			t.Errorf("the queue was %d long, for %d tasks that wait; %+v", most, len(kept), s)
		}
		first.Cancel()
		for k, f := range kept {
			i := 10_000 + 20_000*k
			want(t, fmt.Sprint("task ", i), f, i*i)
		}
		if n := length(); n > 100 || p.Stats().Queued != 0 {
			t.Errorf("%d are left in the queue, %+v", n, p.Stats())
		}
	}
	t.Run("threads", func(t *testing.T) {
		p := newThreads(t, PoolOptions{Workers: 1})
		try(t, p, func() int { p.mu.Lock(); defer p.mu.Unlock(); return p.queue.len() })
	})
	t.Run("processes", func(t *testing.T) {
		p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1})
		try(t, p, func() int { p.p.mu.Lock(); defer p.p.mu.Unlock(); return p.p.queue.len() })
	})
}

// dated is a context whose deadline passes when the test says so.
type dated struct {
	context.Context
	done chan struct{}
}

func (d dated) Deadline() (time.Time, bool) { return time.Now(), true }
func (d dated) Done() <-chan struct{}       { return d.done }
func (d dated) Err() error {
	select {
	case <-d.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// A function learns from its context whether it was cancelled or a deadline has passed,
// also if that happens before it begins.
func TestReasonReachesFunction(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		for round := range 20 {
			for _, reason := range []error{context.Canceled, context.DeadlineExceeded} {
				late := dated{context.Background(), make(chan struct{})}
				f := whyEnded.Submit(late, p, struct{}{})
				if round == 0 {
					eventually(t, "it runs", func() bool { return f.State() == Running })
				}
				if reason == context.Canceled {
					f.Cancel()
				} else {
					close(late.done)
				}
				v, err := f.Result(t.Context())
				if round > 0 && errors.Is(err, reason) {
					continue // it did not begin
				}
				if v != reason.Error() || err != nil {
					t.Errorf("the function saw %q, its task ended with %v, want %v", v, err, reason)
				}
			}
		}
	})
	onEach(t, PoolOptions{Workers: 1, TaskTimeout: 300 * time.Millisecond}, func(t *testing.T, p testPool) {
		if v, err := whyEnded.Call(t.Context(), p, struct{}{}); v != context.DeadlineExceeded.Error() || err != nil {
			t.Errorf("out of time, the function saw %q, %v", v, err)
		}
	})
}

// The same of a function whose pool is closed: contexts have no other errors.
func TestReasonOfClose(t *testing.T) {
	onEach(t, PoolOptions{Workers: 1}, func(t *testing.T, p testPool) {
		f := whyEnded.Submit(t.Context(), p, struct{}{})
		eventually(t, "it runs", func() bool { return f.State() == Running })
		p.Close()
		if v, err := f.Result(t.Context()); v != context.Canceled.Error() || err != nil {
			t.Errorf("the function saw %q, its task ended with %v", v, err)
		}
	})
}

// A worker that does not take its calls is not tried with each new one, and is one
// of the workers again when it goes on.
func TestStoppedWorkerIsLastChoice(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 2, Spares: -1})
	resume := suspend(t, serving(t, p, 2)[0].pid)
	t.Cleanup(resume)
	late := 0
	for i := range 50 {
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		v, err := square.Call(ctx, p, i)
		stop()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			if late++; late > 3 {
				t.Fatalf("call %d is the fourth one that nobody takes", i)
			}
		case v != i*i || err != nil:
			t.Errorf("call %d: %d, %v", i, v, err)
		}
	}
	resume()
	paths := pipes(t, 2)
	a, b := readPipe.Submit(t.Context(), p, paths[0]), readPipe.Submit(t.Context(), p, paths[1])
	eventually(t, "both work", func() bool { return p.Stats().Running == 2 })
	finish(t, paths, []*Future[string]{a, b})
}

// However many calls were taken back from it while it took none: no call waits behind a
// long one while a worker that goes on has nothing to do.
func TestStoppedWorkerIsUsedAgain(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 2, Spares: -1})
	h := serving(t, p, 2)[0]
	paths := pipes(t, 4)
	var fs []*Future[string]
	for _, path := range paths[:2] {
		fs = append(fs, readPipe.Submit(t.Context(), p, path))
	}
	finish(t, paths[:1], fs[:1])
	resume := suspend(t, h.pid)
	t.Cleanup(resume)
	for i := range 20 {
		takeBackNow(t, square.Submit(t.Context(), p, i))
	}
	resume()
	finish(t, paths[1:2], fs[1:])
	for _, path := range paths[2:] {
		fs = append(fs, readPipe.Submit(t.Context(), p, path))
	}
	eventually(t, "both work", func() bool { return p.Stats().Running == 2 })
	finish(t, paths[2:], fs[2:])
}

// Calls in the ring of a worker that takes none lose their time limit to it once: they
// go to another, and all of them have their result.
func TestStoppedWorkerIsReplaced(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1, TaskTimeout: time.Second})
	h := serving(t, p, 1)[0]
	suspend(t, h.pid)
	var fs []*Future[int]
	for i := range prefetch {
		fs = append(fs, square.Submit(t.Context(), p, i))
	}
	for i, f := range fs {
		want(t, fmt.Sprint("task ", i), f, i*i)
	}
	if s := p.Stats(); s.Failed != 0 || len(s.Deaths) != 0 || h.pid == serving(t, p, 1)[0].pid {
		t.Errorf("%+v", s)
	}
}

// A Call that reads its worker's outcomes returns when its task has ended at another
// worker, which stole it, although its own worker is silent.
func TestStolenCallReturns(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 2, Spares: -1, ErrorRetries: 1})
	h := serving(t, p, 2)[0]
	paths := pipes(t, 3)
	called := outcomeOf(t, secondTry, p, paths[0], true)
	eventually(t, "it runs", func() bool { return p.Stats().Running == 1 })
	other := readPipe.Submit(t.Context(), p, paths[1])
	eventually(t, "another runs elsewhere", func() bool { return other.State() == Running })
	silent := readPipe.Submit(t.Context(), p, paths[2])
	tell(t, paths[0], "fail") // so that it waits behind the silent one, in the same ring
	eventually(t, "it waits behind the silent one", func() bool {
		p.p.mu.Lock()
		defer p.p.mu.Unlock()
		return len(h.flights) == 2 && h.flights[0].task == &silent.t
	})
	eventually(t, "the silent one runs", func() bool { return silent.State() == Running })
	wantCallAsleep(t, h)
	tell(t, paths[1], "go")
	want(t, "the other one", other, "go")
	tell(t, paths[0], "go")
	if err := <-called; err != nil {
		t.Error(err)
	}
	if s := silent.State(); s != Running {
		t.Errorf("the silent one is %v", s)
	}
	finish(t, paths[2:], []*Future[string]{silent})
}

// The same of one whose worker is taken out of service, and takes its time.
func TestMovedCallReturns(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 2, Spares: -1, Grace: time.Hour})
	h := serving(t, p, 2)[0]
	paths := pipes(t, 2)
	a := readPipe.Submit(t.Context(), p, paths[0])
	b := readPipe.Submit(t.Context(), p, paths[1])
	finish(t, paths[:1], []*Future[string]{a})
	resume := suspend(t, h.pid)
	t.Cleanup(resume)
	eventually(t, "nobody reads", func() bool {
		p.p.mu.Lock()
		defer p.p.mu.Unlock()
		return h.reader == readerNone
	})
	called := outcomeOf(t, square, p, 3, true)
	wantCallAsleep(t, h)
	if err := p.Resize(1); err != nil {
		t.Fatal(err)
	}
	finish(t, paths[1:], []*Future[string]{b})
	if err := <-called; err != nil {
		t.Error(err)
	}
	p.p.mu.Lock()
	defer p.p.mu.Unlock()
	if h.state != hostQuitting {
		t.Errorf("its worker was to be asked to end, and is in state %d", h.state)
	}
}

// What waits in the queue gets the places of what was cancelled in a ring, although
// there is no outcome after which they would be given out.
func TestCancelledGiveTheirPlaces(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1})
	resume := suspend(t, serving(t, p, 1)[0].pid)
	t.Cleanup(resume)
	ctx, cancel := context.WithCancel(t.Context())
	var first, second []*Future[int]
	for i := range prefetch {
		first = append(first, square.Submit(ctx, p, i))
	}
	for i := range 10 {
		second = append(second, square.Submit(t.Context(), p, i))
	}
	cancel()
	for _, f := range first {
		if _, err := f.Result(t.Context()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	resume()
	for i, f := range second {
		want(t, fmt.Sprint("task ", i), f, i*i)
	}
}

// A worker that has stepped over cancelled calls, and gave no outcome since, is as good as
// any other that is idle: no task waits behind a long one for it.
func TestCancelledCountNoLonger(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 2, Spares: -1})
	hosts := serving(t, p, 2)
	busy := untilDone.Submit(t.Context(), p, struct{}{})
	eventually(t, "it runs", func() bool { return busy.State() == Running })
	idle := hosts[1]
	for round := range 20 {
		resume := suspend(t, idle.pid)
		for range 3 {
			square.Submit(t.Context(), p, 1).Cancel()
		}
		resume()
		want(t, fmt.Sprint("round ", round), square.Submit(t.Context(), p, round), round*round)
	}
	busy.Cancel()
	busy.Result(t.Context())
}

// Call returns when its context ends, also if the task was asked to end before that, for
// another reason, and does not.
func TestCallObeysItsContextTwice(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1, TaskTimeout: time.Millisecond, Grace: time.Minute})
	serving(t, p, 1)
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan error)
	go func() { returned <- second(deaf.Call(ctx, p, struct{}{})) }()
	eventually(t, "it ran out of time", func() bool {
		p.p.mu.Lock()
		defer p.p.mu.Unlock()
		for _, h := range p.p.hosts {
			if len(h.flights) > 0 && h.flights[0].cause != nil {
				return true
			}
		}
		return false
	})
	cancel()
	if err := <-returned; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	kill(p.Stats().Processes[0].PID)
}

// Over a socket one worker that takes nothing counts once for a task, however often that
// is noticed.
func TestUntakenCountsWorkers(t *testing.T) {
	watchdog(t, 20*time.Second)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1, TaskTimeout: time.Second, sockets: true})
	resume := suspend(t, serving(t, p, 1)[0].pid)
	t.Cleanup(resume)
	f := square.Submit(t.Context(), p, 3)
	untaken := func() int8 {
		p.p.mu.Lock()
		defer p.p.mu.Unlock()
		return f.t.pool.untaken
	}
	for untaken() == 0 {
		p.p.supervise()
	}
	for range maxUntaken {
		p.p.supervise()
	}
	want(t, "the task", f, 9)
}
