package tcp

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// idleConn is a connection that ends when nothing has passed in either direction for a time:
// a Read or Write that waits then fails with os.ErrDeadlineExceeded. A deadline that its user
// sets holds as well.
//
// Before a Read or Write the system is told of a deadline, at most once in an eighth of the
// time. When that is over while the other direction was busy, the call goes on.
type idleConn struct {
	net.Conn
	idle time.Duration
	last atomic.Int64 // when something passed, as a time since begin
	in   side
	out  side
}

// side is one direction's deadlines.
type side struct {
	set func(time.Time) error

	mu   sync.Mutex
	user time.Time // what the user has set; zero: none
	told time.Time // what the system knows; zero: nothing
	over bool      // it was cut: no deadline is set any more
}

var begin = time.Now()

func newIdleConn(c net.Conn, idle time.Duration) *idleConn {
	i := &idleConn{Conn: c, idle: idle}
	i.in.set, i.out.set = c.SetReadDeadline, c.SetWriteDeadline
	i.touch()
	return i
}

func (c *idleConn) touch() { c.last.Store(int64(time.Since(begin))) }

// until is when the connection will have been idle for too long.
func (c *idleConn) until() time.Time { return begin.Add(time.Duration(c.last.Load()) + c.idle) }

// before tells the system the deadline of a call that begins or goes on.
func (s *side) before(until time.Time, slack time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.user.IsZero() && s.user.Before(until) {
		until = s.user
	} else if d := until.Sub(s.told); d >= 0 && d < slack {
		return nil
	}
	return s.tell(until)
}

// tell is called with mu held.
func (s *side) tell(t time.Time) error {
	if s.over || s.told.Equal(t) {
		return nil
	}
	s.told = t
	return s.set(t)
}

// passed reports whether the user's own deadline is over, or the connection was cut.
func (s *side) passed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over || !s.user.IsZero() && !time.Now().Before(s.user)
}

// do makes a call until it has an outcome that is not the deadline of one side alone.
func (c *idleConn) do(s *side, call func(p []byte) (int, error), p []byte) (n int, err error) {
	for slack := c.idle / 8; ; slack = 0 {
		if err := s.before(c.until(), slack); err != nil {
			return n, err
		}
		var m int
		m, err = call(p[n:])
		if n += m; m > 0 {
			c.touch()
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || s.passed() || !time.Now().Before(c.until()) {
			return n, err
		}
		if m > 0 && s == &c.in {
			return n, nil
		}
	}
}

// Read implements net.Conn.
func (c *idleConn) Read(p []byte) (int, error) { return c.do(&c.in, c.Conn.Read, p) }

// Write implements net.Conn.
func (c *idleConn) Write(p []byte) (int, error) { return c.do(&c.out, c.Conn.Write, p) }

// SetDeadline implements net.Conn.
func (c *idleConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *idleConn) SetReadDeadline(t time.Time) error { return c.in.setUser(t, c.until()) }

// SetWriteDeadline implements net.Conn.
func (c *idleConn) SetWriteDeadline(t time.Time) error { return c.out.setUser(t, c.until()) }

// setUser sets the user's deadline, also for a call that waits.
func (s *side) setUser(t, until time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.user = t; t.IsZero() || until.Before(t) {
		t = until
	}
	return s.tell(t)
}

// CloseWrite closes the direction to the client, if that can be closed alone.
func (c *idleConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// cut ends every call, and those to come.
func (c *idleConn) cut() {
	for _, s := range []*side{&c.in, &c.out} {
		s.mu.Lock()
		s.tell(past)
		s.over = true
		s.mu.Unlock()
	}
}
