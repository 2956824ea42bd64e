package brood

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/child"
)

// What only processes do: die.

var (
	dieOn = NewFunc("test/die on", func(_ context.Context, a [2]int) (int, error) {
		if a[0] == a[1] {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return a[0], nil
	})
	killPID = NewFunc("test/kill pid", func(_ context.Context, pid int) (int, error) {
		syscall.Kill(pid, syscall.SIGKILL)
		return os.Getpid(), nil
	})
	ignoreTerm = NewFunc("test/ignore TERM", func(context.Context, struct{}) (struct{}, error) {
		signal.Ignore(syscall.SIGTERM)
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		select {}
	})
	endless = NewFunc("test/endless", func(context.Context, struct{}) (int, error) {
		for i := 0; ; i++ {
			if i < 0 {
				return i, nil
			}
		}
	})
	prepared    string
	prepareWith = NewFunc("test/prepare", func(_ context.Context, s string) (struct{}, error) {
		prepared += s
		return struct{}{}, nil
	})
	whatIsPrepared = NewFunc("test/prepared", func(context.Context, struct{}) (string, error) { return prepared, nil })
	flaky          = NewFunc("test/flaky", func(_ context.Context, a flakyArg) (string, error) {
		b, _ := os.ReadFile(a.File)
		f, err := os.OpenFile(a.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return "", err
		}
		f.WriteString("x")
		f.Close()
		switch {
		case len(b) < a.Crashes:
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case len(b) < a.Crashes+a.Errors:
			return "", errOurs
		}
		return "in the end", nil
	}).Idempotent()
	talk = NewFunc("test/talk", func(_ context.Context, die bool) (struct{}, error) {
		fmt.Println("a line on standard output")
		fmt.Fprintln(os.Stderr, "a line on standard error")
		if die {
			os.Exit(9)
		}
		return struct{}{}, nil
	})
	logSome = NewFunc("test/log", func(context.Context, struct{}) (struct{}, error) {
		slog.With("a", 1).WithGroup("g").Warn("from afar", "b", "two", slog.Group("h", "c", true), "d", time.Second)
		return struct{}{}, nil
	})
	environment = NewFunc("test/environment", func(context.Context, struct{}) ([]string, error) { return os.Environ(), nil })
)

type flakyArg struct {
	File            string
	Crashes, Errors int
}

func TestOneOfHundredKills(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2}, func(t *testing.T, p *ProcessPool) {
		var fs []*Future[int]
		for i := range 100 {
			fs = append(fs, dieOn.Submit(t.Context(), p, [2]int{i, 37}))
		}
		for i, f := range fs {
			v, err := f.Result(t.Context())
			var died *WorkerDied
			if i == 37 && (!errors.As(err, &died) || died.Signal != syscall.SIGKILL || died.Task != "test/die on") || i != 37 && (err != nil || v != i) {
				t.Errorf("task %d: %d, %v", i, v, err)
			}
		}
		if s := p.Stats(); s.Done != 99 || s.Failed != 1 || s.Deaths["signal killed"] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func kill(pid int) { syscall.Kill(pid, syscall.SIGKILL) }

// Idle workers killed from outside hurt nobody; of a busy one its task alone.
func TestKilledFromOutside(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2}, func(t *testing.T, p *ProcessPool) {
		for range 5 {
			for _, w := range p.Stats().Processes {
				kill(w.PID)
			}
			if v, err := square.Call(t.Context(), p, 5); v != 25 || err != nil {
				var died *WorkerDied
				if !errors.As(err, &died) { // it may have been taken before the signal came
					t.Fatalf("after the death of idle workers: %d, %v", v, err)
				}
			}
		}
		f := deaf.Submit(t.Context(), p, struct{}{})
		eventually(t, "it runs", func() bool { return f.State() == Running })
		for _, w := range p.Stats().Processes {
			if w.Running == "test/deaf" {
				kill(w.PID)
			}
		}
		var died *WorkerDied
		if _, err := f.Result(t.Context()); !errors.As(err, &died) || died.Signal != syscall.SIGKILL {
			t.Error(err)
		}
		if v, err := square.Call(t.Context(), p, 6); v != 36 || err != nil {
			t.Error(v, err)
		}
	})
}

// Workers kill one another: every task has an outcome, and the pool goes on.
func TestWorkersKillOneAnother(t *testing.T) {
	for _, n := range []int{1, 2, 5, 13} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			watchdog(t, time.Minute)
			p := newProcesses(t, PoolOptions{Workers: n})
			rng := rand.New(rand.NewPCG(1, uint64(n)))
			var fs []*Future[int]
			for range 20 {
				pids := p.Stats().Processes
				if len(pids) == 0 {
					square.Call(t.Context(), p, 1)
					continue
				}
				fs = append(fs, killPID.Submit(t.Context(), p, pids[rng.IntN(len(pids))].PID))
			}
			for _, f := range fs {
				if _, err := f.Result(t.Context()); err != nil {
					var died *WorkerDied
					if !errors.As(err, &died) {
						t.Errorf("%T: %v", err, err)
					}
				}
			}
			mustRecover(t, p)
		})
	}
}

// mustRecover checks that a pool serves again, whatever was killed just before.
func mustRecover(t *testing.T, p *ProcessPool) {
	t.Helper()
	for i := range 20 {
		f := square.Submit(t.Context(), p, i)
		v, err := f.Result(t.Context())
		var died *WorkerDied
		if errors.As(err, &died) {
			continue // of a signal that was still on its way
		}
		if v != i*i || err != nil {
			t.Fatalf("the pool does not go on: %d, %v", v, err)
		}
	}
}

// A payload that can't be encoded or decoded fails its own task.
func TestBadAndGoodPayloads(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2}, func(t *testing.T, p *ProcessPool) {
		points := []point{encodeArg, decodeArg, encodeResult, decodeResult}
		var bad []*Future[trapResult]
		var good []*Future[[]byte]
		for i := range 100 {
			bad = append(bad, trapped.Submit(t.Context(), p, trapArg{trap{At: points[i%4], Fault: faultError, Size: i * 1000}}))
			good = append(good, echo.Submit(t.Context(), p, bytes.Repeat([]byte{byte(i)}, i*1000)))
		}
		for i := range 100 {
			if _, err := bad[i].Result(t.Context()); !errors.Is(err, errFault) {
				t.Errorf("bad %d: %v", i, err)
			}
			if b, err := good[i].Result(t.Context()); err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, i*1000)) {
				t.Errorf("good %d: %d bytes, %v", i, len(b), err)
			}
		}
	})
}

// Kills race with "task done, next one taken": whoever is hit, every task has its
// own outcome, and a task that was not taken is run.
func TestKillRacesWithNextTask(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1}, func(t *testing.T, p *ProcessPool) {
		rounds := 30
		if long {
			rounds = 500
		}
		for round := range rounds {
			var fs []*Future[int]
			for i := range 200 {
				fs = append(fs, square.Submit(t.Context(), p, i))
			}
			fs[rand.IntN(100)].Result(t.Context())
			for _, w := range p.Stats().Processes {
				if w.State == "busy" {
					kill(w.PID)
				}
			}
			dead := 0
			for i, f := range fs {
				v, err := f.Result(t.Context())
				var died *WorkerDied
				switch {
				case errors.As(err, &died):
					dead++
				case err != nil || v != i*i:
					t.Fatalf("round %d, task %d: %d, %v", round, i, v, err)
				}
			}
			if dead > 1 {
				t.Fatalf("round %d: one death ended %d tasks", round, dead)
			}
		}
	})
}

func TestDeafWorkers(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2, Grace: 20 * time.Millisecond}, func(t *testing.T, p *ProcessPool) {
		for name, f := range map[string]*Future[struct{}]{"ignores TERM": ignoreTerm.Submit(t.Context(), p, struct{}{}), "deaf": deaf.Submit(t.Context(), p, struct{}{})} {
			eventually(t, "it runs", func() bool { return f.State() == Running })
			f.Cancel()
			var died *WorkerDied
			if _, err := f.Result(t.Context()); !errors.Is(err, context.Canceled) || !errors.As(err, &died) {
				t.Errorf("%s: %v", name, err)
			}
		}
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer stop()
		if _, err := endless.Submit(ctx, p, struct{}{}).Result(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an endless loop: %v", err)
		}
		busy := endless.Submit(t.Context(), p, struct{}{})
		eventually(t, "it runs", func() bool { return busy.State() == Running })
		p.Close()
		if _, err := busy.Result(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// Deaths during Close, Resize and the replacement of a used-up worker.
func TestDeathDuring(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, p *ProcessPool){
		"Close":    func(t *testing.T, p *ProcessPool) { p.Close() },
		"Shutdown": func(t *testing.T, p *ProcessPool) { p.Shutdown(t.Context()) },
		"Resize": func(t *testing.T, p *ProcessPool) {
			for _, n := range []int{1, 4, 2, 3} {
				p.Resize(n)
			}
		},
		"recycling": func(t *testing.T, p *ProcessPool) {},
	} {
		t.Run(name, func(t *testing.T) {
			watchdog(t, time.Minute)
			for range 5 {
				p := newProcesses(t, PoolOptions{Workers: 3, MaxTasks: 10, Grace: 20 * time.Millisecond})
				var fs []*Future[int]
				for i := range 100 {
					fs = append(fs, square.Submit(t.Context(), p, i))
				}
				fs[10].Result(t.Context())
				var killing sync.WaitGroup
				killing.Go(func() {
					for _, w := range p.Stats().Processes {
						kill(w.PID)
					}
				})
				do(t, p)
				for i, f := range fs {
					v, err := f.Result(t.Context())
					var died *WorkerDied
					if err == nil && v != i*i || err != nil && !errors.As(err, &died) && !errors.Is(err, ErrClosed) {
						t.Errorf("task %d: %d, %v", i, v, err)
					}
				}
				killing.Wait()
				if name == "Resize" || name == "recycling" {
					mustRecover(t, p)
				}
				p.Close()
			}
		})
	}
}

func TestMaxTasksAndInitializer(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2, MaxTasks: 5, Initializer: prepareWith.Bind("once")}, func(t *testing.T, p *ProcessPool) {
		uses := make(map[int]int)
		for range 60 {
			pid, err := getpid.Call(t.Context(), p, struct{}{})
			if err != nil {
				t.Fatal(err)
			}
			uses[pid]++
			if s, err := whatIsPrepared.Call(t.Context(), p, struct{}{}); s != "once" || err != nil {
				t.Fatalf("%q, %v", s, err)
			}
		}
		for pid, n := range uses {
			if n > 5 {
				t.Errorf("worker %d ran %d tasks", pid, n)
			}
		}
		if len(uses) < 12 {
			t.Errorf("%d workers for 120 tasks", len(uses))
		}
		if s := p.Stats(); len(s.Deaths) != 0 {
			t.Errorf("workers that were replaced count as dead: %v", s.Deaths)
		}
	})
}

func TestRetries(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2, CrashRetries: 2, ErrorRetries: 3}, func(t *testing.T, p *ProcessPool) {
		try := func(crashes, errs int) error {
			v, err := flaky.Call(t.Context(), p, flakyArg{filepath.Join(t.TempDir(), "tries"), crashes, errs})
			if err == nil && v != "in the end" {
				t.Errorf("%q", v)
			}
			return err
		}
		if err := try(2, 3); err != nil {
			t.Errorf("within both budgets: %v", err)
		}
		var died *WorkerDied
		if err := try(3, 0); !errors.As(err, &died) {
			t.Errorf("three crashes: %v", err)
		}
		if err := try(0, 4); !errors.Is(err, errOurs) {
			t.Errorf("four errors: %v", err)
		}
		// What is not idempotent is not tried again.
		if _, err := dieOn.Call(t.Context(), p, [2]int{1, 1}); !errors.As(err, &died) {
			t.Error(err)
		}
		if s := p.Stats(); s.Deaths["signal killed"] != 2+3+1 {
			t.Errorf("%v", s.Deaths)
		}
	})
}

func TestOutputIsCaptured(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1, Output: OutputCapture}, func(t *testing.T, p *ProcessPool) {
		_, err := talk.Call(t.Context(), p, true)
		var died *WorkerDied
		if !errors.As(err, &died) || died.ExitCode != 9 || !strings.Contains(string(died.Output), "a line on standard output\n") || !strings.Contains(string(died.Output), "a line on standard error\n") {
			t.Errorf("%v, %+v", err, died)
		}
	})
	w := &tailWriter{}
	for range 10_000 {
		io.WriteString(w, "0123456789")
	}
	if b := w.bytes(); len(b) != tailSize || string(b[len(b)-10:]) != "0123456789" || cap(w.buf) > 8*tailSize {
		t.Errorf("%d bytes, capacity %d", len(b), cap(w.buf))
	}
	var out lockedBuffer
	pw := newPrefixWriter(&out, new(sync.Mutex), "[w] ", func() {})
	io.WriteString(pw, "one\ntw")
	io.WriteString(pw, "o\n\n")
	if idle := pw.out.whenIdle(); idle != nil {
		<-idle
	}
	if out.String() != "[w] one\n[w] two\n[w] \n" {
		t.Errorf("%q", out.String())
	}
}

func TestLogsComeHome(t *testing.T) {
	var out lockedBuffer
	o := PoolOptions{Workers: 1, LogHandler: slog.NewTextHandler(&out, nil)}
	onProcesses(t, o, func(t *testing.T, p *ProcessPool) {
		if _, err := logSome.Call(t.Context(), p, struct{}{}); err != nil {
			t.Fatal(err)
		}
		want := `level=WARN msg="from afar" a=1 g.b=two g.h.c=true g.d=1s worker=processes-1 pid=`
		eventually(t, "the record comes", func() bool {
			return strings.Contains(out.String(), want) || strings.Contains(out.String(), strings.Replace(want, "-1", "-2", 1))
		})
		out.Reset()
	})
}

func (b *lockedBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

func TestIdleWorkersEnd(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 3, IdleTimeout: 30 * time.Millisecond, MinWorkers: 1}, func(t *testing.T, p *ProcessPool) {
		var fs []*Future[struct{}]
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 3 {
			fs = append(fs, untilDone.Submit(ctx, p, struct{}{}))
		}
		eventually(t, "three work", func() bool { return p.Stats().Running == 3 })
		cancel()
		for _, f := range fs {
			f.Result(t.Context())
		}
		eventually(t, "one and a spare are left", func() bool { return len(p.Stats().Processes) == 2 })
		if v, err := square.Call(t.Context(), p, 9); v != 81 || err != nil {
			t.Error(v, err)
		}
	})
	watchdog(t, time.Minute)
	p := newProcesses(t, PoolOptions{Workers: 2, IdleTimeout: time.Millisecond})
	if n := len(p.Stats().Processes); n != 0 {
		t.Errorf("%d processes before there is work", n)
	}
	for i := range 5 {
		if v, err := square.Call(t.Context(), p, i); v != i*i || err != nil {
			t.Error(v, err)
		}
		eventually(t, "none is left", func() bool { return len(p.Stats().Processes) == 0 })
	}
}

func TestStats(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 2, Grace: -1}, func(t *testing.T, p *ProcessPool) {
		ctx, cancel := context.WithCancel(t.Context())
		f := endless.Submit(ctx, p, struct{}{})
		eventually(t, "it burns CPU time", func() bool {
			return slices.ContainsFunc(p.Stats().Processes, func(w WorkerStats) bool {
				return w.Running == "test/endless" && w.State == "busy" && w.CPU > 20*time.Millisecond && w.Memory > 1<<20 && w.PID > 0
			})
		})
		eventually(t, "a spare is there", func() bool {
			return slices.ContainsFunc(p.Stats().Processes, func(w WorkerStats) bool { return w.State == "spare" })
		})
		cancel()
		p.Close()
		f.Result(t.Context())
		if s := p.Stats(); len(s.Processes) != 0 || s.Failed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// The variables of the handshake are gone before the program's code runs.
func TestEnvironmentIsClean(t *testing.T) {
	onProcesses(t, PoolOptions{Workers: 1}, func(t *testing.T, p *ProcessPool) {
		env, err := environment.Call(t.Context(), p, struct{}{})
		if err != nil || slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, handshakeVar) }) {
			t.Errorf("%v\n%v", err, env)
		}
	})
	if atInit {
		t.Error("this process was started as a worker")
	}
}

// atInit is whether a package-level initialiser sees the variable.
var _, atInit = os.LookupEnv(handshakeVar)

var nested *Func[int, int]

// A function that calls itself through the pool is made in an init function: as an
// initialiser it would refer to itself.
func init() {
	nested = NewFunc("test/nest", func(ctx context.Context, deep int) (int, error) {
		p, err := NewProcessPool(PoolOptions{Workers: 1, Spares: -1})
		if errors.Is(err, ErrDepth) {
			return deep, nil
		}
		if err != nil {
			return 0, err
		}
		defer p.Close()
		return nested.Call(ctx, p, deep+1)
	})
}

// Pools in workers of pools: down to the cap, and no further.
func TestNestedPools(t *testing.T) {
	watchdog(t, time.Minute)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1})
	if deep, err := nested.Call(t.Context(), p, 1); deep != maxDepth || err != nil {
		t.Errorf("%d, %v", deep, err)
	}
}

// A pool that nobody holds any more ends.
func TestDroppedPool(t *testing.T) {
	watchdog(t, time.Minute)
	mark := fmt.Sprintf("dropped%d", os.Getpid())
	t.Setenv("BROOD_TEST_MARK", mark)
	func() {
		p, err := NewProcessPool(PoolOptions{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := square.Call(t.Context(), p, 3); v != 9 || err != nil {
			t.Fatal(v, err)
		}
	}()
	endSlots()
	eventually(t, "its processes end", func() bool {
		runtime.GC()
		endSlots()
		return processesWith(mark) == ""
	})
}

// A pool whose handle is lost still ends the tasks that it has.
func TestDroppedPoolDrains(t *testing.T) {
	watchdog(t, time.Minute)
	started := filepath.Join(t.TempDir(), "started")
	f := func() *Future[string] {
		p, err := NewProcessPool(PoolOptions{Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		return waitForFile.Submit(t.Context(), p, started)
	}()
	for range 5 {
		runtime.GC()
	}
	if err := os.WriteFile(started, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := f.Result(t.Context()); v != started || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

// waitForFile runs until there is a file of that name.
var waitForFile = NewFunc("test/wait for a file", func(ctx context.Context, path string) (string, error) {
	for ctx.Err() == nil {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", ctx.Err()
})

// A parent that is killed takes its workers with it, whatever they do.
func TestParentKilled(t *testing.T) {
	for _, what := range []string{"busy", "idle", "starting", "portable"} {
		t.Run(what, func(t *testing.T) {
			watchdog(t, time.Minute)
			mark := fmt.Sprintf("BROOD_TEST_MARK=orphans%d%s", os.Getpid(), what)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "BROOD_TEST_ROLE=parent "+what, mark, "GORACE=atexit_sleep_ms=0")
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if processesWith(mark) == "" {
				t.Error("the parent has no process")
			}
			cmd.Process.Kill()
			cmd.Wait()
			began := time.Now()
			eventually(t, "nothing is left", func() bool { return processesWith(mark) == "" })
			if d := time.Since(began); d > time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

var _ = role("parent busy", func() { busyParent(PoolOptions{Workers: 3}) })

var _ = role("parent portable", func() { busyParent(PoolOptions{Workers: 3, sockets: true, portable: true}) })

func busyParent(o PoolOptions) {
	p, err := NewProcessPool(o)
	if err != nil {
		panic(err)
	}
	for range 3 {
		endless.Submit(background, p, struct{}{})
	}
	for p.Stats().Running < 3 {
		runtime.Gosched()
	}
	fmt.Println("ready")
	select {}
}

var _ = role("parent idle", func() {
	p, err := NewProcessPool(PoolOptions{Workers: 3})
	if err != nil {
		panic(err)
	}
	square.Call(background, p, 1)
	fmt.Println("ready")
	select {}
})

var _ = role("parent starting", func() {
	p, err := NewProcessPool(PoolOptions{Workers: 3, Initializer: deafInit.Bind(0)})
	if err != nil {
		panic(err)
	}
	for len(p.Stats().Processes) < 2 {
		runtime.Gosched()
	}
	fmt.Println("ready")
	select {}
})

var deafInit = NewFunc("test/deaf init", func(context.Context, int) (struct{}, error) { select {} })

// What kills the program in its own code leaves no child behind.
func TestFaultsInTheProgram(t *testing.T) {
	for _, f := range faults {
		if slices.Contains([]fault{faultError, faultPanic, faultGoexit, faultMemory, faultStop}, f) {
			continue // an outcome; the machine's memory; the program lives on, stopped
		}
		for _, at := range inParent {
			t.Run(string(f)+" "+string(at), func(t *testing.T) {
				watchdog(t, time.Minute)
				mark := fmt.Sprintf("BROOD_TEST_MARK=program%d", time.Now().UnixNano())
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), "BROOD_TEST_ROLE=program", mark, "BROOD_TEST_FAULT="+string(f), "BROOD_TEST_POINT="+string(at))
				out, err := cmd.CombinedOutput()
				if strings.Contains(string(out), "survived") {
					t.Errorf("the fault did not happen: %v\n%s", err, out)
				}
				eventually(t, "no child is left", func() bool { return processesWith(mark) == "" })
			})
		}
	}
}

var _ = role("program", func() {
	f, at := fault(os.Getenv("BROOD_TEST_FAULT")), point(os.Getenv("BROOD_TEST_POINT"))
	p, err := NewProcessPool(PoolOptions{Workers: 2})
	if err != nil {
		panic(err)
	}
	square.Call(background, p, 1)
	done := make(chan struct{})
	fut := trapped.Submit(background, p, trapArg{trap{At: at, Fault: f}})
	fut.OnDone(func(*Future[trapResult]) {
		if at == inCallback {
			f.happen()
		}
		close(done)
	})
	fut.Result(background)
	<-done
	fmt.Println("survived")
})

var checksum = NewFunc("test/checksum", func(_ context.Context, b []byte) (sum [2]int, err error) {
	for _, c := range b {
		sum[1] += int(c)
	}
	sum[0] = len(b)
	return sum, nil
})

// Payloads as large as they get. A GiB is for the long mode.
func TestHugePayloads(t *testing.T) {
	size := 64 << 20
	switch {
	case long && raceDetector:
		size = 256 << 20 // of which its three processes need some GB as it is
	case long:
		size = 1 << 30
	}
	onProcesses(t, PoolOptions{Workers: 1}, func(t *testing.T, p *ProcessPool) {
		watchdog(t, 3*time.Minute)
		arg := bytes.Repeat([]byte{1, 0, 0, 0}, size/4)
		if sum, err := checksum.Call(t.Context(), p, arg); err != nil || sum != [2]int{size, size / 4} {
			t.Errorf("%v, %v", sum, err)
		}
		if b, err := grow.Call(t.Context(), p, size); err != nil || len(b) != size {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
}

// Results that nobody asks for are given back by the garbage collector, and what a
// pool held goes with it.
func TestUnreadResults(t *testing.T) {
	watchdog(t, time.Minute)
	p := newProcesses(t, PoolOptions{Workers: 1, Spares: -1})
	pid, err := getpid.Call(t.Context(), p, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	// Twenty more need twenty more segments, unless earlier ones are used again.
	eventually(t, "the worker's segments are used again", func() bool {
		before := segments(pid)
		for range 20 {
			<-grow.Submit(t.Context(), p, 1<<20).Done()
		}
		after := segments(pid)
		runtime.GC()
		return after > 0 && after <= before
	})
}

// segments counts the memfds of a process that are segments.
func segments(pid int) (n int) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, l := range links {
		if to, _ := os.Readlink(l); strings.Contains(to, "memfd:segment") {
			n++
		}
	}
	return n
}

// A system that is out of descriptors breaks no pool in which a worker serves, however long it
// lasts, and then a single fault does not either; a pool in which none serves it does break.
func TestShortages(t *testing.T) {
	p, err := newPool(PoolOptions{Workers: 1, Spares: 1}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hosts = []*host{{pool: p, state: hostServing}}
	for range 1000 {
		p.startFailed(&host{pool: p, stage: "start", startErr: fmt.Errorf("open: %w", syscall.EMFILE), ended: &child.Report{}})
	}
	if p.startFailed(&host{pool: p, stage: "handshake", startErr: errors.New("a fault"), ended: &child.Report{}}); p.broken != nil {
		t.Error("broken, with a worker that serves:", p.broken)
	}
	p.hosts = nil
	n := 0
	for ; p.broken == nil && n < 1000; n++ {
		p.startFailed(&host{pool: p, stage: "start", startErr: syscall.ENOMEM, ended: &child.Report{}})
	}
	if p.broken == nil || n < breakAfter {
		t.Errorf("%v after %d shortages without a worker", p.broken, n)
	}
}
