package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/brood-go/brood"
)

// scripted is a listener of which the test says what becomes of each Accept.
type scripted struct {
	net.Listener
	script chan error // nil: a connection
	closed sync.Once
}

func listenScripted(t *testing.T) *scripted {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &scripted{Listener: ln, script: make(chan error, 100)}
}

func (l *scripted) Accept() (net.Conn, error) {
	err, ok := <-l.script
	switch {
	case !ok:
		return nil, net.ErrClosed
	case err != nil:
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	return l.Listener.Accept()
}

func (l *scripted) Close() error {
	l.closed.Do(func() { close(l.script) })
	return l.Listener.Close()
}

// A server whose listener fails says so at once, and its handlers have as long as at any end.
func TestListenerFails(t *testing.T) {
	for _, drain := range []time.Duration{time.Hour, time.Millisecond} {
		ln := listenScripted(t)
		ln.script <- nil
		s := serveOn(t, ln, upper, Options{Drain: drain})
		c := s.dial()
		c.gets("until the end", "waits")
		ln.script <- errHandler
		eventually(t, "it is logged", func() bool { return strings.Contains(s.log.String(), "the server ends") })
		if drain == time.Hour {
			select {
			case err := <-s.over:
				t.Errorf("it has not drained: %v", err)
			default:
			}
			s.Close()
		}
		if err := s.ends(); !errors.Is(err, errHandler) || !strings.Contains(err.Error(), "listener") {
			t.Error(err)
		}
	}
}

// Errors of accept that say to try again do not end the server.
func TestAcceptAgain(t *testing.T) {
	ln := listenScripted(t)
	s := serveOn(t, ln, upper, Options{Drain: -1})
	all := slices.Concat(errLost, errAgain, errExhausted, []error{os.ErrDeadlineExceeded})
	for _, err := range all {
		ln.script <- err
		ln.script <- nil
		s.dial().gets("a", "A")
	}
	s.end()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Accepted != int64(len(all)) || st.Pauses != 1 { // one piece of news
		t.Errorf("%+v", st)
	}
}

// Who listens on port 0 can be asked for the address.
func TestAddr(t *testing.T) {
	watchdog(t, time.Minute)
	s, err := NewServer(upper, Options{})
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Addr(impatient); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	over := make(chan error)
	go func() { over <- s.ListenAndServe(t.Context(), "127.0.0.1:0") }()
	addr, err := s.Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	(&testServer{t: t, addr: addr.String()}).dial().gets("a", "A")
	if err := errors.Join(s.Close(), <-over); err != nil {
		t.Error(err)
	}
	if again, err := s.Addr(t.Context()); err != nil || again.String() != addr.String() {
		t.Error(again, err)
	}
	never, err := NewServer(upper, Options{})
	if err != nil {
		t.Fatal(err)
	}
	never.Close()
	if _, err := never.Addr(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// unable is an initializer that fails.
var unable = brood.NewFunc("test unable", func(_ context.Context, why string) (struct{}, error) {
	fmt.Println("this is the initializer")
	return struct{}{}, fmt.Errorf("unable: %s", why)
})

// able is one that does not.
var able = brood.NewFunc("test able", func(_ context.Context, what string) (struct{}, error) {
	return struct{}{}, os.Setenv("BROOD_TCP_TEST_ABLE", what)
})

// When no process can be started the server ends, and says why. So does the initializer's output.
func TestNoProcess(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		if o.Model == Threads {
			return
		}
		o.MaxConns, o.Workers = 1, min(o.Workers, 1)
		o.Pool = brood.PoolOptions{Initializer: unable.Bind("as asked"), Output: brood.OutputCapture, Spares: -1}
		s := serve(t, upper, o)
		s.dial()
		err := s.ends()
		var start *brood.StartError
		if !errors.As(err, &start) || start.Stage != "initializer" || !strings.Contains(err.Error(), "unable: as asked") || !strings.Contains(string(start.Output), "this is the initializer") {
			t.Errorf("%v, %+v", err, start)
		}
		if !strings.Contains(s.log.String(), "the server ends") {
			t.Errorf("logged: %s", s.log)
		}
	})
}

// A listener that wraps another one would be passed by.
func TestWrappedListener(t *testing.T) {
	onEach(t, func(t *testing.T, o Options) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := serveOn(t, struct{ *net.TCPListener }{ln.(*net.TCPListener)}, upper, o)
		if o.Model == Threads {
			s.dial().gets("a", "A")
			return
		}
		if err := s.ends(); err == nil || !strings.Contains(err.Error(), "Threads") || !strings.Contains(err.Error(), "Handler.TLS") {
			t.Error(err)
		}
	})
}
