package brood

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/brood-go/brood/sched"
)

// Functions that most tests use.
var (
	square = NewFunc("test/square", func(_ context.Context, n int) (int, error) { return n * n, nil })
	echo   = NewFunc("test/echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	getpid = NewFunc("test/getpid", func(context.Context, struct{}) (int, error) { return os.Getpid(), nil })
	// untilDone obeys its context; deaf does not.
	untilDone = NewFunc("test/until done", func(ctx context.Context, _ struct{}) (struct{}, error) {
		<-ctx.Done()
		return struct{}{}, ctx.Err()
	})
	deaf = NewFunc("test/deaf", func(context.Context, struct{}) (struct{}, error) { select {} })
)

var long = os.Getenv("BROOD_LONG") != ""

func TestMain(m *testing.M) {
	Init()
	if role := os.Getenv("BROOD_TEST_ROLE"); role != "" {
		play(role)
	}
	// Every process that these tests start carries this mark, so that those which are
	// left behind can be told from others.
	mark := fmt.Sprintf("roottest%d;", os.Getpid())
	os.Setenv("BROOD_TREE", os.Getenv("BROOD_TREE")+mark)
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt) // its goroutine stays, whoever is the first to ask for it
	signal.Stop(c)
	goroutines := runtime.NumGoroutine()
	code := m.Run()
	removePrograms()
	endSlots()
	if left := leftovers(mark, goroutines); left != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

// removePrograms removes what a test has built.
var removePrograms = func() {}

// leftovers waits for what is on its way out, and describes what stays.
func leftovers(mark string, goroutines int) (left string) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if left = processesWith(mark); left != "" {
			continue
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			buf := make([]byte, 1<<20)
			left = fmt.Sprintf("%d goroutines:\n%s", n-goroutines, buf[:runtime.Stack(buf, true)])
			continue
		}
		return ""
	}
	return left
}

// processesWith lists the living processes whose environment has mark.
func processesWith(mark string) string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), mark) {
			pid := filepath.Base(filepath.Dir(f))
			if pid == fmt.Sprint(os.Getpid()) {
				continue
			}
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			found = append(found, fmt.Sprintf("%s %q", pid, line))
		}
	}
	return strings.Join(found, ", ")
}

// watchdog dumps all stacks if a test takes longer than it ever should.
func watchdog(t *testing.T, d time.Duration) {
	t.Helper()
	if long {
		d *= 10
	}
	timer := time.AfterFunc(d, func() {
		buf := make([]byte, 4<<20)
		fmt.Fprintf(os.Stderr, "%s has not ended after %v\n%s", t.Name(), d, buf[:runtime.Stack(buf, true)])
		os.Exit(3)
	})
	t.Cleanup(func() { timer.Stop() })
}

// an executor under test. Those with processes need not exist on this platform.
type executorUnderTest struct {
	name      string
	processes bool
	new       func(t *testing.T, o PoolOptions) testPool
}

// testPool is what both pools have.
type testPool interface {
	Executor
	Close() error
	Shutdown(context.Context) error
	Resize(int) error
	Stats() Stats
}

var executors = []executorUnderTest{
	{"threads", false, func(t *testing.T, o PoolOptions) testPool { return newThreads(t, o) }},
	{"threads encoded", false, func(t *testing.T, o PoolOptions) testPool {
		o.Encode = true
		return newThreads(t, o)
	}},
	{"processes", true, func(t *testing.T, o PoolOptions) testPool { return newProcesses(t, o) }},
	{"processes over sockets", true, func(t *testing.T, o PoolOptions) testPool {
		o.sockets = true
		return newProcesses(t, o)
	}},
	{"processes, portable", true, func(t *testing.T, o PoolOptions) testPool {
		o.sockets, o.portable = true, true
		return newProcesses(t, o)
	}},
	{"processes, with a policy", true, func(t *testing.T, o PoolOptions) testPool {
		o.Policy = &sched.SJF{Patience: time.Second}
		return newProcesses(t, o)
	}},
}

func newThreads(t *testing.T, o PoolOptions) *ThreadPool {
	t.Helper()
	p, err := NewThreadPool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func newProcesses(t *testing.T, o PoolOptions) *ProcessPool {
	t.Helper()
	p, err := NewProcessPool(o)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this platform has no worker processes: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// onEach runs a test on every executor.
func onEach(t *testing.T, o PoolOptions, f func(t *testing.T, p testPool)) {
	for _, e := range executors {
		t.Run(e.name, func(t *testing.T) {
			watchdog(t, time.Minute)
			f(t, e.new(t, o))
		})
	}
}

// onProcesses runs a test on both ways of transport.
func onProcesses(t *testing.T, o PoolOptions, f func(t *testing.T, p *ProcessPool)) {
	for _, e := range executors {
		if e.processes {
			t.Run(e.name, func(t *testing.T) {
				watchdog(t, time.Minute)
				f(t, e.new(t, o).(*ProcessPool))
			})
		}
	}
}

// eventually waits until f is true; it is for what has no event.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("in 10 s, never: %s", what)
		}
	}
}

// inRole is a command that runs this test binary as one of the programs below.
func inRole(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BROOD_TEST_ROLE="+role)
	return cmd
}

// play runs one of the programs that tests start.
func play(role string) {
	f := roles[role]
	if f == nil {
		fmt.Fprintln(os.Stderr, "no role", role)
		os.Exit(2)
	}
	time.AfterFunc(10*time.Minute, func() { os.Exit(5) }) // if the test is gone
	f()
	os.Exit(0)
}

// roles are filled by the test files, at package level.
var roles = make(map[string]func())

func role(name string, f func()) struct{} {
	roles[name] = f
	return struct{}{}
}

// readFile is a file of a process in /proc.
func readFile(pid int, name string) []byte {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	return b
}
