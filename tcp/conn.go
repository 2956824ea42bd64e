package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is the connection that a handler gets, whatever runs it.
//
// # Deadlines
//
// There are up to three for each direction: that of the handler (SetDeadline), that of the
// idle time, and the cut at the server's end, after which every call fails. The system
// knows the earliest. Only who holds the side's mu tells it one, and none after the cut.
//
// # Idle time
//
// A Read or Write may wait until, for the idle time, nothing has passed in either direction since it
// began: the time in which the handler does something else does not count. Before a call
// the system is told of a deadline, at most once in an eighth of the idle time. When that is
// over and something has passed meanwhile, the call goes on. A Write has an earlier one and goes in
// pieces, so that what it gets rid of is known to a Read that waits beside it.
//
// Without an idle time a Read or Write is that of the connection below, and one comparison.
type conn struct {
	net.Conn
	remote net.Addr
	passed bool // another process has a descriptor of the same socket
	limits
	born time.Time
	last atomic.Int64  // when something passed, as a time since born
	met  atomic.Uint32 // what calls have failed with
	in   side
	out  side
}

// limits are those of a connection's times, also on the way to another process.
type limits struct{ Idle, Handshake time.Duration }

// side is one direction's deadlines.
type side struct {
	mu   sync.Mutex
	user time.Time // what the user has set; zero: none
	told time.Time // what the system knows; zero: nothing
	over bool      // it was cut: no deadline is set any more
}

// What the calls of a connection have failed with.
const (
	metEnd     = 1 << iota // of what the client sends
	metTimeout             // a deadline, whosever
	metFailure
	metClose // by the handler
)

// pieceSize is how much a Write writes before it looks at the clock.
const pieceSize = 64 << 10

// past is a deadline that is over.
var past = time.Unix(1, 0)

func newConn(c net.Conn, l limits) *conn {
	return &conn{Conn: c, remote: remoteOf(c), limits: l, born: time.Now()}
}

// anyone is the remote address of a connection that has none.
type anyone struct{ network string }

// Network implements net.Addr.
func (a anyone) Network() string { return a.network }

// String implements net.Addr.
func (a anyone) String() string { return "unknown" }

// remoteOf is the remote address of a connection, and never nil.
func remoteOf(c net.Conn) net.Addr {
	if a := c.RemoteAddr(); a != nil {
		return a
	}
	if a := c.LocalAddr(); a != nil {
		return anyone{a.Network()}
	}
	return anyone{"unknown"}
}

// RemoteAddr implements net.Conn. It is the address at the time when the connection was accepted.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// NetConn is the connection below. What is done with it directly neither counts as activity
// nor is undone by the server's end.
func (c *conn) NetConn() net.Conn { return c.Conn }

// SyscallConn implements syscall.Conn.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// CloseRead ends the direction from the client, if that can be done alone.
func (c *conn) CloseRead() error {
	if r, ok := c.Conn.(interface{ CloseRead() error }); ok {
		return r.CloseRead()
	}
	return errors.ErrUnsupported
}

// CloseWrite ends the direction to the client, if that can be done alone.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements net.Conn. The client learns of it at once, also when another process still
// has a descriptor of the socket.
func (c *conn) Close() error {
	c.met.Or(metClose)
	if c.passed {
		c.CloseWrite()
		c.CloseRead()
	}
	return c.Conn.Close()
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (n int, err error) {
	if c.Idle == 0 {
		n, err = c.Conn.Read(p)
	} else {
		n, err = c.readIdle(p)
	}
	if err != nil {
		c.note(err)
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (n int, err error) {
	if c.Idle == 0 {
		n, err = c.Conn.Write(p)
	} else {
		n, err = c.writeIdle(p)
	}
	if err != nil {
		c.note(err)
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom: files and sockets are sent by the system itself, unless there
// is an idle time, as nobody would know how far it is.
func (c *conn) ReadFrom(r io.Reader) (n int64, err error) {
	to, ok := c.Conn.(io.ReaderFrom)
	if !ok || c.Idle > 0 || !sendable(r) {
		return io.Copy(writerOnly{c}, r)
	}
	if n, err = to.ReadFrom(r); err != nil {
		c.note(err) // it may be the source's: the system does not say
	}
	return n, err
}

// writerOnly hides ReadFrom.
type writerOnly struct{ io.Writer }

// sendable reports whether the system may be able to send what a reader has.
func sendable(r io.Reader) bool {
	if l, ok := r.(*io.LimitedReader); ok {
		r = l.R
	}
	switch r.(type) {
	case *os.File, *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// note keeps in mind what a call has failed with.
func (c *conn) note(err error) {
	switch {
	case err == io.EOF:
		c.met.Or(metEnd)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.met.Or(metTimeout)
	default:
		c.met.Or(metFailure)
	}
}

// errFailed are what a connection fails with when its client has gone.
var errFailed = []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ETIMEDOUT, io.ErrClosedPipe, io.ErrShortWrite}

// explains reports whether a handler's error says no more than that its connection, or the server, is
// over. What the handler has met elsewhere is its own failure: only what this very connection
// has met counts, and of an error with several causes each must.
func (c *conn) explains(ctx context.Context, err error) bool {
	met := c.met.Load()
	return everyCause(err, func(err error) bool {
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			return ctx.Err() != nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return met&metEnd != 0
		case errors.Is(err, os.ErrDeadlineExceeded):
			return met&metTimeout != 0
		case errors.Is(err, net.ErrClosed):
			return met&(metFailure|metClose) != 0
		}
		return met&metFailure != 0 && slices.ContainsFunc(errFailed, func(e error) bool { return errors.Is(err, e) })
	})
}

// everyCause reports whether f is true of all that err wraps, where that is several errors.
func everyCause(err error, f func(error) bool) bool {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if several, ok := e.(interface{ Unwrap() []error }); ok && len(several.Unwrap()) > 0 {
			return !slices.ContainsFunc(several.Unwrap(), func(e error) bool { return e != nil && !everyCause(e, f) })
		}
	}
	return f(err)
}

func (c *conn) touch() { c.last.Store(int64(time.Since(c.born))) }

// until is when a call that began so long after the connection will have waited for too long.
func (c *conn) until(began time.Duration) time.Time {
	return c.born.Add(max(time.Duration(c.last.Load()), began) + c.Idle)
}

func (c *conn) readIdle(p []byte) (int, error) {
	began := time.Since(c.born)
	for slack := c.Idle / 8; ; slack = 0 {
		if err := c.in.before(c.until(began), slack, c.Conn.SetReadDeadline); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(p)
		if n > 0 {
			c.touch()
		}
		goesOn := c.goesOn(&c.in, err, began)
		switch {
		case !goesOn:
			return n, err
		case n > 0:
			return n, nil
		}
	}
}

func (c *conn) writeIdle(p []byte) (n int, err error) {
	began := time.Since(c.born)
	slack := c.Idle / 8
	for {
		until := c.until(began)
		if early := time.Now().Add(c.Idle / 2); early.Before(until) {
			until = early
		}
		if err := c.out.before(until, slack, c.Conn.SetWriteDeadline); err != nil {
			return n, err
		}
		m, err := c.Conn.Write(p[n:min(n+pieceSize, len(p))])
		if n += m; m > 0 {
			c.touch()
		}
		slack = c.Idle / 8
		if err != nil {
			if !c.goesOn(&c.out, err, began) {
				return n, err
			}
			slack = 0
		}
		if n == len(p) {
			return n, nil
		}
	}
}

// goesOn reports whether a call has failed by no more than a deadline of the idle time that is not
// over, because something has passed since.
func (c *conn) goesOn(s *side, err error, began time.Duration) bool {
	return err != nil && errors.Is(err, os.ErrDeadlineExceeded) && !s.passed() && time.Now().Before(c.until(began))
}

// before tells the system the deadline of a call that begins or goes on.
func (s *side) before(until time.Time, slack time.Duration, set func(time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.user.IsZero() && s.user.Before(until) {
		until = s.user
	} else if d := until.Sub(s.told); d >= 0 && d < slack {
		return nil
	}
	return s.tell(until, set)
}

// tell is called with mu held.
func (s *side) tell(t time.Time, set func(time.Time) error) error {
	if s.over || s.told.Equal(t) {
		return nil
	}
	s.told = t
	return set(t)
}

// passed reports whether the user's own deadline is over, or the connection was cut.
func (s *side) passed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over || !s.user.IsZero() && !time.Now().Before(s.user)
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn. After the cut it changes nothing.
func (c *conn) SetReadDeadline(t time.Time) error { return c.setUser(&c.in, t, c.Conn.SetReadDeadline) }

// SetWriteDeadline implements net.Conn. After the cut it changes nothing.
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setUser(&c.out, t, c.Conn.SetWriteDeadline)
}

// setUser sets the user's deadline, also for a call that waits: if the idle time may be over
// before, that one looks at the clock and goes on.
func (c *conn) setUser(s *side, t time.Time, set func(time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = t
	if c.Idle > 0 {
		if until := c.until(0); t.IsZero() || until.Before(t) {
			t = until
		}
	}
	return s.tell(t, set)
}

// cut ends every call, and those to come.
func (c *conn) cut() {
	c.in.cut(c.Conn.SetReadDeadline)
	c.out.cut(c.Conn.SetWriteDeadline)
}

func (s *side) cut(set func(time.Time) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(past, set)
	s.over = true
}
