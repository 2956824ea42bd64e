package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/brood-go/brood"
)

const testIdle = 8 * time.Second // of time in a bubble

// piped runs a test with a connection and its other end, in which nothing takes time but waiting.
func piped(t *testing.T, idle time.Duration, f func(t *testing.T, c *conn, client net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		defer client.Close()
		c := newConn(server, limits{Idle: idle})
		defer c.Close()
		f(t, c, client)
	})
}

// took is for how long f has run.
func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// times out checks that an error is that of a deadline.
func timesOut(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("not a timeout: %v", err)
	}
}

func TestIdleSilence(t *testing.T) {
	piped(t, testIdle, func(t *testing.T, c *conn, client net.Conn) {
		d := took(func() {
			_, err := c.Read(make([]byte, 1))
			timesOut(t, err)
		})
		if d != testIdle {
			t.Errorf("a Read has waited for %v", d)
		}
	})
}

// Of a client that does not read a Write has enough after the idle time, and not before.
func TestIdleWrite(t *testing.T) {
	piped(t, testIdle, func(t *testing.T, c *conn, client net.Conn) {
		go io.CopyN(io.Discard, client, 100)
		d := took(func() {
			n, err := c.Write(make([]byte, 1000))
			timesOut(t, err)
			if n != 100 {
				t.Errorf("%d bytes were written", n)
			}
		})
		if d < testIdle || d > 2*testIdle {
			t.Errorf("a Write has waited for %v", d)
		}
	})
}

// What passes in one direction counts for a call that waits in the other.
func TestIdleOneDirection(t *testing.T) {
	piped(t, testIdle, func(t *testing.T, c *conn, client net.Conn) {
		go io.Copy(io.Discard, client)
		last := make(chan time.Time, 1)
		go func() {
			for range 10 {
				<-time.After(testIdle * 3 / 4)
				c.Write([]byte("x"))
			}
			last <- time.Now()
		}()
		_, err := c.Read(make([]byte, 1))
		timesOut(t, err)
		if d := time.Since(<-last); d != testIdle {
			t.Errorf("the Read has ended %v after the last Write", d)
		}
	})
}

// The time in which the handler does something else is not idle.
func TestIdleComputing(t *testing.T) {
	piped(t, testIdle, func(t *testing.T, c *conn, client net.Conn) {
		go func() {
			b := make([]byte, 10)
			for {
				n, err := client.Read(b)
				if err != nil {
					return
				}
				<-time.After(testIdle / 2)
				client.Write(b[:n])
			}
		}()
		for range 3 {
			<-time.After(3 * testIdle)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Error("a Write: ", err)
			}
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error("a Read: ", err)
			}
		}
	})
}

// A large Write that goes on is not idle, nor is a Read that waits beside it.
func TestIdleLargeWrite(t *testing.T) {
	const size = 300_000
	piped(t, testIdle, func(t *testing.T, c *conn, client net.Conn) {
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			read <- err
		}()
		go func() {
			b := make([]byte, 1000)
			for got := 0; got < size; {
				<-time.After(testIdle / 4)
				n, err := client.Read(b)
				if err != nil {
					return
				}
				got += n
			}
			client.Write([]byte("x"))
		}()
		if n, err := c.Write(make([]byte, size)); n != size || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := <-read; err != nil {
			t.Error("the Read beside it: ", err)
		}
	})
}

// The handler's own deadlines hold as well, for calls that wait and those to come.
func TestOwnDeadlines(t *testing.T) {
	for _, idle := range []time.Duration{0, testIdle} {
		piped(t, idle, func(t *testing.T, c *conn, client net.Conn) {
			c.SetReadDeadline(time.Now().Add(time.Second))
			for range 2 {
				if d := took(func() {
					_, err := c.Read(make([]byte, 1))
					timesOut(t, err)
				}); d > time.Second {
					t.Errorf("%v", d)
				}
			}
			c.SetDeadline(time.Time{})
			go func() {
				<-time.After(time.Second)
				c.SetWriteDeadline(time.Now().Add(time.Second))
			}()
			if d := took(func() {
				_, err := c.Write(make([]byte, 1))
				timesOut(t, err)
			}); d != 2*time.Second {
				t.Errorf("set while it waits: %v", d)
			}
			go func() {
				<-time.After(testIdle / 2)
				client.Write([]byte("x"))
			}()
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error("none: ", err)
			}
		})
	}
}

// After the cut every call fails, whatever deadlines the handler sets.
func TestCut(t *testing.T) {
	for _, idle := range []time.Duration{0, testIdle} {
		piped(t, idle, func(t *testing.T, c *conn, client net.Conn) {
			c.SetDeadline(time.Now().Add(time.Second))
			go func() {
				<-time.After(time.Second / 2)
				c.cut()
			}()
			if d := took(func() {
				_, err := c.Read(make([]byte, 1))
				timesOut(t, err)
			}); d != time.Second/2 {
				t.Errorf("a Read that waits: %v", d)
			}
			for _, at := range []time.Time{{}, time.Now().Add(time.Hour)} {
				if err := errors.Join(c.SetDeadline(at), c.SetReadDeadline(at), c.SetWriteDeadline(at)); err != nil {
					t.Error(err)
				}
				if d := took(func() {
					_, err := c.Read(make([]byte, 1))
					timesOut(t, err)
					_, err = c.Write(make([]byte, 1))
					timesOut(t, err)
				}); d != 0 {
					t.Errorf("later calls: %v", d)
				}
			}
		})
	}
}

// What the connection below can do, the handler's can.
func TestConnMethods(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, idle := range []time.Duration{0, time.Minute} {
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := newConn(accepted, limits{Idle: idle})
		defer c.Close()
		if c.NetConn() != accepted || c.RemoteAddr().String() != client.LocalAddr().String() {
			t.Error(c.NetConn(), c.RemoteAddr())
		}
		if raw, err := c.SyscallConn(); err != nil || raw.Control(func(uintptr) {}) != nil {
			t.Error(err)
		}
		path := t.TempDir() + "/f"
		if err := os.WriteFile(path, []byte(strings.Repeat("x", 200_000)), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sent := make(chan error, 1)
		go func() {
			n, err := io.Copy(c, f)
			if n != 200_000 {
				t.Errorf("%d bytes were sent", n)
			}
			_, also := io.Copy(c, io.LimitReader(strings.NewReader("the end, and more"), 7))
			sent <- errors.Join(err, also, c.CloseWrite())
		}()
		b, err := io.ReadAll(client)
		if len(b) != 200_007 || !strings.HasSuffix(string(b), "xthe end") || errors.Join(err, <-sent) != nil {
			t.Errorf("%d bytes were received: %v", len(b), err)
		}
		if err := c.CloseRead(); err != nil {
			t.Error(err)
		}
	}
	piped(t, 0, func(t *testing.T, c *conn, client net.Conn) {
		_, err := c.SyscallConn()
		for _, err := range []error{err, c.CloseRead(), c.CloseWrite()} {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Error(err)
			}
		}
	})
	bare := newConn(nowhere{}, limits{})
	if a := bare.RemoteAddr(); a == nil || a.String() != "unknown" || a.Network() != "unknown" {
		t.Error(a)
	}
}

// nowhere is a connection without addresses.
type nowhere struct{ net.Conn }

func (nowhere) RemoteAddr() net.Addr { return nil }
func (nowhere) LocalAddr() net.Addr  { return nil }

// Of an error with several causes the connection must explain each.
func TestExplains(t *testing.T) {
	own := errors.New("own")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, x := range []struct {
		met  uint32
		ctx  context.Context
		err  error
		want bool
	}{
		{metEnd, t.Context(), fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		{metFailure, t.Context(), io.EOF, false},
		{metFailure, t.Context(), &net.OpError{Err: os.NewSyscallError("read", syscall.ECONNRESET)}, true},
		{metEnd, t.Context(), syscall.ECONNRESET, false},
		{metTimeout, t.Context(), os.ErrDeadlineExceeded, true},
		{metTimeout, t.Context(), context.DeadlineExceeded, false},
		{0, ended, fmt.Errorf("x: %w", context.DeadlineExceeded), true},
		{metTimeout, ended, errors.Join(context.Canceled, os.ErrDeadlineExceeded), true},
		{metTimeout, ended, fmt.Errorf("both: %w", errors.Join(context.Canceled, own)), false},
		{metTimeout, ended, fmt.Errorf("%w: %w", io.EOF, context.Canceled), false},
		{metClose, t.Context(), net.ErrClosed, true},
		{metClose | metEnd | metTimeout | metFailure, ended, own, false},
		{metFailure, ended, &brood.RemoteError{Text: "of some other process"}, false},
	} {
		c := newConn(nowhere{}, limits{})
		c.met.Store(x.met)
		if c.explains(x.ctx, x.err) != x.want {
			t.Errorf("%v after %b: want %v", x.err, x.met, x.want)
		}
	}
}
