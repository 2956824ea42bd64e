package brood

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// greeter is the second way: a type with a Run method.
type greeter struct{ Name, File string }

// Run implements Runner.
func (g *greeter) Run(ctx context.Context) error {
	s := Current(ctx)
	p := Parent(ctx)
	return os.WriteFile(g.File, fmt.Appendf(nil, "hello %s from %s %s (%d), child of %s %d", g.Name, s.Kind, s.Name, s.PID, p.Name, p.PID), 0o600)
}

var (
	greets     = NewRunner[*greeter]("test/greeter")
	handleTerm = NewFunc("test/handle TERM", func(ctx context.Context, file string) (string, error) {
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		os.WriteFile(file, nil, 0o600)
		return fmt.Sprint(<-c), nil
	})
)

func start[A, R any](t *testing.T, f *Func[A, R], arg A, o ProcessOptions) *Process[R] {
	t.Helper()
	watchdog(t, time.Minute)
	p, err := f.Start(t.Context(), arg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestProcess(t *testing.T) {
	p := start(t, square, 7, ProcessOptions{Name: "seven", Daemon: true})
	if p.Name() != "seven" || !p.Daemon() || p.PPID() != os.Getpid() || p.PID() == os.Getpid() || p.PID() == 0 {
		t.Errorf("%s %v %d %d", p.Name(), p.Daemon(), p.PID(), p.PPID())
	}
	if v, err := p.Result(t.Context()); v != 49 || err != nil {
		t.Error(v, err)
	}
	if err := p.Join(t.Context()); err != nil || p.Alive() {
		t.Errorf("after Join: %v", err)
	}
	if code, ok := p.ExitCode(); code != 0 || !ok {
		t.Error(code, ok)
	}
	failed := start(t, failing, "ours", ProcessOptions{})
	if _, err := failed.Result(t.Context()); !errors.Is(err, errOurs) {
		t.Error(err)
	}
	failed.Join(t.Context())
	if code, _ := failed.ExitCode(); code != 1 {
		t.Errorf("a function that failed: exit code %d", code)
	}
}

func TestProcessOfAType(t *testing.T) {
	file := t.TempDir() + "/said"
	ctx := t.Context()
	p := start(t, greets, &greeter{"Ada", file}, ProcessOptions{})
	if _, err := p.Result(ctx); err != nil {
		t.Fatal(err)
	}
	p.Join(ctx)
	want := fmt.Sprintf("hello Ada from process test/greeter (%d), child of anonymous %d", p.PID(), os.Getpid())
	if b, _ := os.ReadFile(file); string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
}

func TestTerminateAndKill(t *testing.T) {
	for _, c := range []struct {
		end  func(*Child)
		want syscall.Signal
	}{{(*Child).Terminate, syscall.SIGTERM}, {(*Child).Kill, syscall.SIGKILL}} {
		p := start(t, deaf, struct{}{}, ProcessOptions{})
		if _, ok := p.ExitCode(); ok || !p.Alive() {
			t.Error("it has ended")
		}
		short, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		if err := p.Join(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.end(p.Child)
		if err := p.Join(t.Context()); err != nil || p.Alive() {
			t.Error(err)
		}
		if code, ok := p.ExitCode(); code != -int(c.want) || !ok {
			t.Errorf("exit code %d, want %d", code, -int(c.want))
		}
		var died *WorkerDied
		if _, err := p.Result(t.Context()); !errors.As(err, &died) || died.Signal != c.want || died.PID != p.PID() {
			t.Error(err)
		}
		c.end(p.Child) // of one that has ended it does nothing
	}
	file := t.TempDir() + "/ready"
	p := start(t, handleTerm, file, ProcessOptions{})
	eventually(t, "it listens", func() bool { _, err := os.Stat(file); return err == nil })
	p.Terminate()
	if v, err := p.Result(t.Context()); v != "terminated" || err != nil {
		t.Errorf("a function that handles SIGTERM: %q, %v", v, err)
	}
}

func TestProcessObeysItsContext(t *testing.T) {
	watchdog(t, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	obeys, err := untilDone.Start(ctx, struct{}{}, ProcessOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hears, err := deaf.Start(ctx, struct{}{}, ProcessOptions{Pool: PoolOptions{Grace: -1}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ActiveChildren()); n < 2 || !slices.ContainsFunc(ActiveChildren(), func(c *Child) bool { return c.PID() == hears.PID() }) {
		t.Errorf("%d active children", n)
	}
	cancel()
	for _, p := range []*Process[struct{}]{obeys, hears} {
		if _, err := p.Result(t.Context()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		p.Join(t.Context())
	}
	if slices.ContainsFunc(ActiveChildren(), func(c *Child) bool { return c.PID() == hears.PID() }) {
		t.Error("a child that has ended is active")
	}
}

func TestStartErrors(t *testing.T) {
	watchdog(t, time.Minute)
	if _, err := takesChannel.Start(t.Context(), nil, ProcessOptions{}); err == nil || !strings.Contains(err.Error(), "encode the argument") {
		t.Error(err)
	}
	if _, err := square.Start(t.Context(), 1, ProcessOptions{Pool: PoolOptions{Policy: &sched.FCFS{}}}); err == nil {
		t.Error("a policy for one process")
	}
	if _, err := square.Start(t.Context(), 1, ProcessOptions{Pool: PoolOptions{Workers: 3}}); err == nil {
		t.Error("three workers for one process")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := square.Start(ctx, 1, ProcessOptions{}); err == nil {
		if _, err := p.Result(t.Context()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	// Each ends with its memory.
	p := start(t, trapped, trapArg{trap{At: inFunc, Fault: faultMemory}}, ProcessOptions{Pool: PoolOptions{Memory: 256 << 20}})
	var died *WorkerDied
	if _, err := p.Result(t.Context()); !errors.As(err, &died) || !died.OutOfMemory {
		t.Error(err)
	}
}

// No zombie is left, not even for a moment longer than Join.
func TestNoZombies(t *testing.T) {
	for range 20 {
		p := start(t, square, 1, ProcessOptions{})
		p.Join(t.Context())
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID())); err == nil && strings.Contains(string(b), ") Z ") {
			t.Fatalf("a zombie: %s", b)
		}
	}
}

var _ = role("main", func() {
	Main(func(ctx context.Context) error {
		if s := Current(ctx); s.Name != "main" || Parent(ctx) != nil {
			return fmt.Errorf("main is %v", s)
		}
		daemon, err := deaf.Start(ctx, struct{}{}, ProcessOptions{Daemon: true})
		if err != nil {
			return err
		}
		fmt.Println("ready", daemon.PID())
		<-ctx.Done()
		return fmt.Errorf("the end: %w", ctx.Err())
	})
})

var mutters = NewFunc("test/mutters", func(context.Context, struct{}) (struct{}, error) {
	fmt.Fprint(os.Stderr, "an unfinished ")
	fmt.Print("a whole line\nan unfinished one")
	fmt.Fprint(os.Stderr, "error")
	return struct{}{}, nil
})

// The last line of a process is written before Join returns, newline or not.
func TestPrefixedOutput(t *testing.T) {
	cmd := inRole("prefix")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if want := "[m] a whole line\n[m] an unfinished one\njoined\n"; err != nil || string(out) != want || stderr.String() != "[m] an unfinished error\n" {
		t.Errorf("%v: %q, %q", err, out, stderr.String())
	}
}

var _ = role("prefix", func() {
	Main(func(ctx context.Context) error {
		p, err := mutters.Start(ctx, struct{}{}, ProcessOptions{Name: "m", Pool: PoolOptions{Output: OutputPrefix}})
		if err != nil {
			return err
		}
		err = p.Join(ctx)
		fmt.Println("joined")
		return err
	})
})
