package tcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/brood-go/brood"
)

// Handlers that the tests use.
var (
	// upper answers each line in upper case, and obeys some of them.
	upper = NewHandler("test upper", serveUpper)
	// deaf does not look at its context, nor at its connection's errors.
	deaf = NewHandler("test deaf", func(_ context.Context, conn net.Conn) error {
		fmt.Fprintln(conn, os.Getpid())
		select {}
	})
	// floods writes until it fails, while another goroutine of it reads.
	floods = NewHandler("test floods", func(ctx context.Context, conn net.Conn) error {
		read := make(chan error, 1)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			read <- err
		}()
		for {
			if _, err := conn.Write([]byte("x")); err != nil {
				return errors.Join(err, <-read)
			}
		}
	})
)

// pours writes as much as it can.
var pours = NewHandler("test pours", func(_ context.Context, conn net.Conn) error {
	for b := make([]byte, 1<<20); ; {
		if _, err := conn.Write(b); err != nil {
			return err
		}
	}
})

// elsewhere fails with what its client says it has met somewhere else.
var elsewhere = NewHandler("test elsewhere", func(_ context.Context, conn net.Conn) error {
	line, _ := bufio.NewReader(conn).ReadString('\n')
	fmt.Fprintln(conn, "so it is")
	err, ok := map[string]error{
		"canceled\n": context.Canceled, "deadline\n": context.DeadlineExceeded, "timeout\n": os.ErrDeadlineExceeded,
		"end\n": io.EOF, "reset\n": syscall.ECONNRESET, "closed\n": net.ErrClosed,
	}[line]
	if !ok {
		return nil
	}
	return fmt.Errorf("elsewhere: %w", err)
})

// asks waits for its client's end, and says of whom it was.
var asks = NewHandler("test asks", func(_ context.Context, conn net.Conn) error {
	conn.Read(make([]byte, 1))
	return fmt.Errorf("it was %v", conn.RemoteAddr())
})

var errHandler = errors.New("as asked")

func serveUpper(ctx context.Context, conn net.Conn) error {
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		switch line {
		case "pid\n":
			line = fmt.Sprintln(os.Getpid())
		case "cpus\n":
			line = fmt.Sprintln(runtime.GOMAXPROCS(0))
		case "strand\n":
			line = brood.Current(ctx).Kind.String() + "\n"
		case "panic\n":
			panic("as asked")
		case "goexit\n":
			runtime.Goexit()
		case "fail\n":
			return errHandler
		case "crash\n":
			p, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = p.Kill()
			}
			return err
		case "able\n":
			line = os.Getenv("BROOD_TCP_TEST_ABLE") + "\n"
		case "eat\n":
			var all [][]byte
			for range 64 { // 512 MiB
				all = append(all, bytes.Repeat([]byte("x"), 8<<20))
			}
			<-ctx.Done()
			runtime.KeepAlive(all)
			return nil
		case "close\n":
			conn.Close()
			<-ctx.Done()
			return nil
		case "return later\n":
			fmt.Fprintln(conn, "later")
			<-ctx.Done()
			<-time.After(20 * time.Millisecond)
			return nil
		case "hold on\n":
			fmt.Fprintln(conn, "holds")
			<-ctx.Done()
			conn.SetDeadline(time.Now().Add(time.Hour))
			_, err := conn.Read(make([]byte, 1))
			return err
		case "until the end\n":
			fmt.Fprintln(conn, "waits")
			<-ctx.Done()
			return ctx.Err()
		}
		if _, err := io.WriteString(conn, strings.ToUpper(line)); err != nil {
			return err
		}
	}
}

var long = os.Getenv("BROOD_LONG") != ""

func TestMain(m *testing.M) {
	brood.Init()
	if role := roles[os.Getenv("BROOD_TCP_TEST_ROLE")]; role != nil {
		role()
		os.Exit(0)
	}
	mark := fmt.Sprintf("tcptest%d;", os.Getpid())
	os.Setenv("BROOD_TREE", os.Getenv("BROOD_TREE")+mark)
	goroutines := runtime.NumGoroutine()
	code := m.Run()
	if left := leftovers(mark, goroutines); left != "" && code == 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	os.Exit(code)
}

// roles are programs that tests start.
var roles = make(map[string]func())

// leftovers waits for what is on its way out, and describes what stays.
func leftovers(mark string, goroutines int) (left string) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); runtime.Gosched() {
		left = ""
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(mark)) && f != fmt.Sprintf("/proc/%d/environ", os.Getpid()) {
				left += f + " "
			}
		}
		if n := runtime.NumGoroutine(); left == "" && n > goroutines+1 { // and the warden's keeper
			buf := make([]byte, 1<<20)
			left = fmt.Sprintf("%d goroutines:\n%s", n-goroutines, buf[:runtime.Stack(buf, true)])
		}
		if left == "" {
			return ""
		}
	}
	return left
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

// eventually waits until f is true; it is for what has no event.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("in 10 s, never: %s", what)
		}
	}
}

// journal is a log that can be read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// testServer is a server under test, and what became of Serve.
type testServer struct {
	*Server
	t    *testing.T
	addr string
	end  context.CancelFunc
	over chan error
	log  *journal
}

// serve starts a server.
func serve(t *testing.T, h *Handler, o Options) *testServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, h, o)
}

func serveOn(t *testing.T, ln net.Listener, h *Handler, o Options) *testServer {
	t.Helper()
	watchdog(t, time.Minute)
	s := &testServer{t: t, addr: ln.Addr().String(), over: make(chan error, 1), log: new(journal)}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	}
	var err error
	if s.Server, err = NewServer(h, o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.end = cancel
	go func() { s.over <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		s.Close()
	})
	return s
}

// ends waits for the end of Serve.
func (s *testServer) ends() error {
	err := <-s.over
	s.over <- err
	return err
}

// client is a connection to a server.
type client struct {
	net.Conn
	t     *testing.T
	lines *bufio.Reader
}

func (s *testServer) dial() *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return &client{c, s.t, bufio.NewReader(c)}
}

// ask sends a line and returns the answer.
func (c *client) ask(line string) (string, error) {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	answer, err := c.lines.ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}

// gets asks, and checks the answer.
func (c *client) gets(line, want string) {
	c.t.Helper()
	if got, err := c.ask(line); got != want || err != nil {
		c.t.Errorf("%q is answered by %q, %v", line, got, err)
	}
}

// loses asks for what ends the connection.
func (c *client) loses(line string) {
	c.t.Helper()
	if got, err := c.ask(line); err == nil {
		c.t.Errorf("%q is answered by %q", line, got)
	}
}

// onEach runs a test on each model.
func onEach(t *testing.T, f func(t *testing.T, o Options)) {
	for _, o := range []Options{{}, {Model: Processes, MaxConns: 8}, {Model: Prefork, Workers: 4, MaxConns: 8}} {
		t.Run(o.Model.String(), func(t *testing.T) {
			if o.Model != Threads {
				needsProcesses(t)
			}
			f(t, o)
		})
	}
}

// needsProcesses skips a test where there are none.
func needsProcesses(t *testing.T) {
	t.Helper()
	s, err := NewServer(upper, Options{Model: Processes})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx, ln); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this platform has no worker processes: ", err)
	}
}
