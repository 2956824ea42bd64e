package tcp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood"
)

// distantServer is a server in a process of its own, which has its own descriptors.
type distantServer struct {
	testServer
	stdin io.Closer
	lines *bufio.Reader
}

// serveApart starts such a server: the role says with which options.
func serveApart(t *testing.T, role string, args ...string) *distantServer {
	t.Helper()
	watchdog(t, 2*time.Minute)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BROOD_TCP_TEST_ROLE="+role)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	a := &distantServer{stdin: stdin, lines: bufio.NewReader(stdout)}
	addr, err := a.lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	a.testServer = testServer{t: t, addr: strings.TrimSpace(addr)}
	return a
}

// says waits for the next line of the server's program.
func (a *distantServer) says(want string) {
	a.t.Helper()
	if line, err := a.lines.ReadString('\n'); line != want+"\n" {
		a.t.Fatalf("the server says %q, %v; want %q", line, err, want)
	}
}

// beApart is the server's side, until its input ends, as it does also with the test's process.
func beApart(o Options, report func(s *Server, stop <-chan struct{})) {
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
		time.AfterFunc(30*time.Second, func() { os.Exit(4) })
	}()
	s, err := NewServer(upper, o)
	if err != nil {
		panic(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error)
	go func() { over <- s.Serve(ctx, ln) }()
	fmt.Println(ln.Addr())
	if report != nil {
		report(s, stop)
	}
	<-stop
	cancel()
	err = <-over
	st := s.Stats()
	fmt.Println("ended", err, st.Accepted, st.Active, st.Failed+st.Panicked+st.Died)
}

// When descriptors run out accepting pauses, and goes on when connections have ended. What is left
// is enough to start processes with: each client is served.
func TestOutOfDescriptors(t *testing.T) {
	for _, c := range []struct {
		name    string
		clients int
	}{{"threads", 150}, {"prefork", 150}, {"processes", 100}, {"processes, a fresh one each time", 100}, {"processes, and files", 30}} {
		t.Run(c.name, func(t *testing.T) {
			a := serveApart(t, "few descriptors", c.name)
			var all []*client
			for range c.clients {
				all = append(all, a.dial())
			}
			if !strings.HasPrefix(c.name, "processes") { // there no more may be accepted than there can be processes for
				a.says("pauses")
			}
			var wg sync.WaitGroup
			for i, c := range all { // each is served, as soon as others have ended
				wg.Go(func() {
					c.gets(fmt.Sprint("x", i), fmt.Sprint("X", i))
					c.Close()
				})
			}
			wg.Wait()
			a.stdin.Close()
			a.says(fmt.Sprint("ended <nil> ", c.clients, " 0 0"))
		})
	}
}

// There are no more connections than there can be processes for, but always one.
func TestAffordable(t *testing.T) {
	for _, c := range []struct{ wanted, limit, inUse, want int }{
		{100, 0, 50, 100}, {100, 1 << 20, 50, 100}, {100, 1024, 10, 99}, {100, 60, 9, 2}, {100, 20, 9, 1}, {1, 60, 9, 1},
	} {
		if got := affordable(c.wanted, c.limit, c.inUse); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func init() { // which refers to itself
	roles["few descriptors"] = func() {
		o := map[string]Options{
			"threads":                          {},
			"prefork":                          {Model: Prefork, Workers: 1, MaxConns: 150},
			"processes":                        {Model: Processes, MaxConns: 1000},
			"processes, and files":             {Model: Processes, MaxConns: 1000},
			"processes, a fresh one each time": {Model: Processes, MaxConns: 1000, Pool: brood.PoolOptions{MaxTasks: 1}},
		}[os.Args[1]]
		few := uint64(100)
		if o.Model == Processes { // a worker costs its parent some
			few = 60
		}
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: few, Max: few})
		beApart(o, func(s *Server, stop <-chan struct{}) {
			if os.Args[1] == "processes, and files" {
				for range 20 {
					if f, err := os.Open(os.DevNull); err == nil {
						defer f.Close()
					}
				}
			}
			if o.Model == Processes {
				<-stop
				return
			}
			every := time.NewTicker(time.Millisecond)
			defer every.Stop()
			for s.Stats().Pauses == 0 {
				select {
				case <-every.C:
				case <-stop:
					return
				}
			}
			fmt.Println("pauses")
		})
	}
	roles["many"] = func() {
		o := Options{}
		if os.Args[1] == Processes.String() {
			o.Model = Processes
			o.MaxConns, _ = strconv.Atoi(os.Args[2])
		}
		beApart(o, nil)
	}
}

// Very many clients are connected at once, and each is served.
func TestVeryMany(t *testing.T) {
	for _, c := range []struct {
		model            Model
		clients, ifShort int
	}{{Threads, 10_000, 1000}, {Processes, 1000, 20}} {
		t.Run(c.model.String(), func(t *testing.T) {
			n := c.ifShort
			if long {
				n = c.clients
			}
			a := serveApart(t, "many", c.model.String(), fmt.Sprint(n))
			all := make([]*client, n)
			for i := range all {
				all[i] = a.dial()
			}
			for round := range 2 {
				for i, c := range all { // all of them are open
					fmt.Fprintf(c, "x%d %d\n", round, i)
				}
				for i, c := range all {
					if line, err := c.lines.ReadString('\n'); line != fmt.Sprintf("X%d %d\n", round, i) {
						t.Fatalf("client %d: %q, %v", i, line, err)
					}
				}
			}
			for _, c := range all {
				c.Close()
			}
			a.stdin.Close()
			a.says(fmt.Sprint("ended <nil> ", n, " 0 0"))
		})
	}
}

// A process that serves one connection at a time runs on one CPU at a time, if nothing else is
// said.
func TestCPUs(t *testing.T) {
	watchdog(t, time.Minute)
	if os.Getenv("GOMAXPROCS") != "" {
		t.Setenv("GOMAXPROCS", "")
	}
	for _, c := range []struct {
		o    Options
		want int
	}{
		{Options{Model: Processes}, 1},
		{Options{Model: Processes, CPUs: 3}, 3},
		{Options{Model: Processes, CPUs: -1}, runtime.GOMAXPROCS(0)},
		{Options{Model: Prefork, Workers: 1}, 1},
		{Options{Model: Prefork, Workers: 1, MaxConns: 2}, runtime.GOMAXPROCS(0)},
		{Options{Model: Prefork, Workers: 1, CPUs: 3}, 3},
	} {
		s := serve(t, upper, c.o)
		s.dial().gets("cpus", fmt.Sprint(c.want))
	}
	t.Setenv("GOMAXPROCS", "5")
	serve(t, upper, Options{Model: Processes}).dial().gets("cpus", "5")
	if _, err := NewServer(upper, Options{CPUs: 1}); err == nil {
		t.Error("CPUs for threads")
	}
}
