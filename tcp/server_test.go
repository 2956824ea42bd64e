package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/brood-go/brood"
)

// Each client gets its own text back, many at once.
func TestUpper(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := serve(t, upper, o)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				c, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				text := fmt.Sprintf("client %d %s\n", i, strings.Repeat("x", 10*i))
				io.WriteString(c, text)
				c.(*net.TCPConn).CloseWrite()
				if b, err := io.ReadAll(c); err != nil || string(b) != strings.ToUpper(text) {
					t.Errorf("client %d: %q, %v", i, b, err)
				}
			})
		}
		wg.Wait()
		eventually(t, "all are counted", func() bool { return s.Stats() == Stats{Accepted: 200} })
		s.end()
		if err := s.ends(); err != nil {
			t.Error(err)
		}
		if log := s.log.String(); log != "" {
			t.Errorf("logged: %s", log)
		}
		if c, err := net.Dial("tcp", s.addr); err == nil {
			c.Close()
			t.Error("it still listens")
		}
	})
}

// A handler's panic, error or Goexit costs its connection alone, and is counted and logged.
func TestFailures(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := serve(t, upper, o)
		other := s.dial()
		other.gets("a", "A")
		s.dial().loses("panic")
		s.dial().loses("fail")
		s.dial().loses("goexit")
		other.gets("b", "B")
		eventually(t, "all are counted", func() bool { return s.Stats() == Stats{Accepted: 4, Active: 1, Failed: 2, Panicked: 1} })
		eventually(t, "all are logged", func() bool {
			log := s.log.String()
			return strings.Contains(log, "the handler panicked") && strings.Contains(log, "serveUpper") && strings.Count(log, "the handler failed") == 2 && strings.Contains(log, "as asked") && strings.Contains(log, "remote=127.0.0.1:")
		})
	})
}

// What a handler meets elsewhere is its own failure, also if it looks like a client that has gone.
func TestFailuresElsewhere(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := serve(t, elsewhere, o)
		all := []string{"canceled", "deadline", "timeout", "end", "reset", "closed"}
		for _, what := range all {
			s.dial().gets(what, "so it is")
		}
		eventually(t, "all are counted", func() bool { return s.Stats() == Stats{Accepted: 6, Failed: 6} })
		eventually(t, "all are logged", func() bool { return strings.Count(s.log.String(), "elsewhere: ") == 6 })
	})
}

// A client that vanishes in the middle hurts nobody, and is no failure.
func TestVanishingClients(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := serve(t, upper, o)
		other := s.dial()
		other.gets("a", "A")
		for range 20 {
			c := s.dial()
			c.gets("x", "X")
			io.WriteString(c, "half a li")
			c.Conn.(*net.TCPConn).SetLinger(0) // it is reset
			c.Close()
		}
		other.gets("b", "B")
		eventually(t, "they are gone", func() bool { return s.Stats() == Stats{Accepted: 21, Active: 1} })
	})
}

// More than MaxConns wait until one has ended.
func TestMaxConns(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.MaxConns, o.Workers = 2, min(o.Workers, 2)
		s := serve(t, upper, o)
		first, second := s.dial(), s.dial()
		first.gets("a", "A")
		second.gets("b", "B")
		third := s.dial() // the kernel takes it
		io.WriteString(third, "c\n")
		eventually(t, "two are served", func() bool { return s.Stats().Active == 2 })
		answered := make(chan string)
		go func() {
			line, _ := third.lines.ReadString('\n')
			answered <- line
		}()
		select {
		case <-answered:
			t.Error("a third is served")
		default:
		}
		first.gets("still here", "STILL HERE")
		if n := s.Stats().Accepted; n != 2 {
			t.Errorf("%d were accepted", n)
		}
		first.Close()
		if line := <-answered; line != "C\n" {
			t.Errorf("%q", line)
		}
	})
}

// A connection on which nothing passes ends; one that has longer does not. What counts is tested
// in conn_test.go.
func TestIdle(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.IdleTimeout = 50 * time.Millisecond
		s := serve(t, upper, o)
		if _, err := s.dial().Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a silent one: %v", err)
		}
		eventually(t, "it is over", func() bool { return s.Stats() == Stats{Accepted: 1} })
		if o.Model == Threads { // the same everywhere, but the kernel takes its time to be full
			full := serve(t, pours, o)
			full.dial()
			eventually(t, "that of a client that does not read is over", func() bool { return full.Stats() == Stats{Accepted: 1} })
		}
		o.IdleTimeout = time.Minute
		if _, err := io.CopyN(io.Discard, serve(t, floods, o).dial(), 30_000); err != nil {
			t.Error(err)
		}
	})
}

// When the handler closes its connection the client learns of it, though the handler goes on.
func TestClose(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.Drain = -1
		serve(t, upper, o).dial().loses("close")
	})
}

// When the contexts have ended no deadline of the handler's own makes it wait.
func TestCutWins(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.Drain, o.Grace = -1, time.Hour
		s := serve(t, upper, o)
		s.dial().gets("hold on", "holds")
		s.end()
		if err := s.ends(); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st != (Stats{Accepted: 1}) {
			t.Errorf("%+v", st)
		}
	})
}

// A client that was reset before it was served has a remote address all the same.
func TestResetRemote(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.MaxConns, o.Workers = 1, min(o.Workers, 1)
		s := serve(t, asks, o)
		first := s.dial()
		eventually(t, "one is served", func() bool { return s.Stats().Active == 1 })
		second := s.dial()
		second.Conn.(*net.TCPConn).SetLinger(0)
		second.Close()
		first.Close()
		for _, c := range []*client{first, second} {
			want := "it was " + c.LocalAddr().String()
			eventually(t, want, func() bool { return strings.Contains(s.log.String(), want) })
		}
	})
}

// At the end of its context a server serves what it has, and accepts no more; then the handlers'
// contexts end.
func TestDrain(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		s := serve(t, upper, o)
		c, waits := s.dial(), s.dial()
		c.gets("a", "A")
		waits.gets("until the end", "waits")
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(t.Context()) }()
		eventually(t, "it listens no more", func() bool {
			c, err := net.Dial("tcp", s.addr)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		c.gets("b", "B")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Shutdown(ended); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.Close()
		waits.Close() // its handler waits for its context alone
		s.end()
		select {
		case err := <-s.over:
			t.Fatalf("it has ended with a handler: %v", err)
		default:
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := errors.Join(s.ends(), <-down); err != nil {
			t.Error(err)
		}
	})
}

// When it has drained for long enough, a server ends the handlers' contexts and what waits for
// their connections.
func TestDrainEnds(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.Drain = time.Millisecond
		s := serve(t, upper, o)
		reads, waits := s.dial(), s.dial()
		reads.gets("a", "A")
		waits.gets("until the end", "waits")
		s.end()
		if err := s.ends(); err != nil {
			t.Error(err)
		}
		for _, c := range []*client{reads, waits} {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("the connection is open")
			}
		}
	})
}

// A handler that does not return loses its process, or its connection.
func TestDeaf(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.Drain, o.Grace = -1, -1
		if o.Model == Threads {
			return // its goroutine would be left behind: see TestAbandoned
		}
		s := serve(t, deaf, o)
		c := s.dial()
		if _, err := c.lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		s.end()
		if err := s.ends(); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is open")
		}
	})
}

// release is what stays waits for; a goroutine of an earlier test may still look at it.
var release atomic.Pointer[chan struct{}]

// newRelease makes one, and returns what closes it.
func newRelease() func() {
	c := make(chan struct{})
	release.Store(&c)
	return func() { close(c) }
}

// stays returns when the test says so.
var stays = NewHandler("test stays", func(_ context.Context, conn net.Conn) error {
	fmt.Fprintln(conn, "here")
	<-*release.Load()
	return nil
})

// A goroutine that does not return is abandoned, and its connection closed.
func TestAbandoned(t *testing.T) {
	defer newRelease()()
	s := serve(t, stays, Options{Drain: -1, Grace: -1})
	c := s.dial()
	if _, err := c.lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	s.end()
	if err := s.ends(); !errors.Is(err, brood.ErrAbandoned) || !strings.Contains(err.Error(), "1 handlers have not returned") {
		t.Error(err)
	}
	if err := s.Close(); !errors.Is(err, brood.ErrAbandoned) {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open")
	}
}

// A handler has the grace to return in, and no more.
func TestGrace(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		o.Drain, o.Grace = -1, time.Hour
		s := serve(t, upper, o)
		s.dial().gets("return later", "later")
		s.end()
		if err := s.ends(); err != nil || s.Stats() != (Stats{Accepted: 1}) {
			t.Errorf("%v, %+v", err, s.Stats())
		}
		o.Grace = 50 * time.Millisecond
		h := deaf
		if o.Model == Threads { // its goroutine would be left behind
			h = stays
			defer newRelease()()
		}
		s = serve(t, h, o)
		if _, err := s.dial().lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.end()
		err := s.ends()
		if d := time.Since(began); d < o.Grace {
			t.Errorf("it has ended after %v", d)
		}
		if abandoned := errors.Is(err, brood.ErrAbandoned); abandoned != (o.Model == Threads) || s.Stats().Died != 1 && !abandoned {
			t.Errorf("%v, %+v", err, s.Stats())
		}
	})
}

// Unix sockets are served as well.
func TestUnixSockets(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Skip("no Unix sockets here: ", err)
		}
		s := serveOn(t, ln, upper, o)
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		io.WriteString(nc, "hello\n")
		nc.(*net.UnixConn).CloseWrite()
		if b, err := io.ReadAll(nc); string(b) != "HELLO\n" {
			t.Errorf("%q, %v", b, err)
		}
		s.end()
		if err := s.ends(); err != nil {
			t.Error(err)
		}
	})
}

// What makes no sense is refused, with what to do.
func TestMisuse(t *testing.T) {
	watchdog(t, time.Minute)
	if _, err := NewServer(nil, Options{}); err == nil {
		t.Error("no handler")
	}
	for want, o := range map[string]Options{
		"no model 7":             {Model: 7},
		"can't be negative":      {MaxConns: -1},
		"IdleTimeout":            {IdleTimeout: -1},
		"Workers is for Prefork": {Workers: 2},
		"would never serve":      {Model: Prefork, Workers: 3, MaxConns: 2},
		"makes no sense":         {Model: Processes, Pool: brood.PoolOptions{Workers: 2}},
		"for Processes and Pref": {Pool: brood.PoolOptions{Memory: 1 << 30}},
		"Pool.MinWorkers is for": {Model: Prefork, Pool: brood.PoolOptions{MinWorkers: 2}},
		"is more than MaxConns":  {Model: Processes, MaxConns: 2, Pool: brood.PoolOptions{MinWorkers: 3}},
		"Pool.Encode":            {Model: Prefork, Pool: brood.PoolOptions{Encode: true}},
		"Pool.CrashRetries":      {Model: Processes, Pool: brood.PoolOptions{CrashRetries: 1}},
		"Pool.Name":              {Model: Prefork, Pool: brood.PoolOptions{Name: "x"}},
		"MaxTasks, MinWorkers":   {Model: Prefork, Pool: brood.PoolOptions{MaxTasks: -1}},
		"is in bytes":            {Model: Prefork, Pool: brood.PoolOptions{Memory: 64}},
		"there is no way 7":      {Model: Prefork, Pool: brood.PoolOptions{Output: 7}},
	} {
		if _, err := NewServer(upper, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	s := serve(t, upper, Options{})
	s.dial().gets("a", "A")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), ln); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	early, err := NewServer(upper, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := early.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := early.ListenAndServe(t.Context(), "127.0.0.1:0"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := early.Close(); err != nil {
		t.Error(err)
	}
	taken, err := NewServer(upper, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := taken.ListenAndServe(t.Context(), s.addr); err == nil || !strings.Contains(err.Error(), s.addr) {
		t.Error(err)
	}
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "the function is nil") {
			t.Error(p)
		}
	}()
	NewHandler("nil", nil)
}
