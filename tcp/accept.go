package tcp

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"
)

// acceptor accepts connections, as many at once as there is room for, until it is stopped or the
// listener fails.
type acceptor struct {
	ln        net.Listener
	stopping  <-chan struct{} // the listener is closed after that
	room      chan struct{}   // holds one for each connection that is served; nil: no bound
	ends      chan struct{}   // holds one after a connection has ended
	serve     func(net.Conn)  // must not block; gone is called when the connection is over
	onPause   func(error)     // accepting pauses, for the first time in a while
	lastPause time.Time       // when a pause has last ended
	limit     func() int      // how many descriptors there can be, of which some are kept; nil: none are
}

// unbounded is as many connections as there may be.
const unbounded = -1

func newAcceptor(ln net.Listener, stopping <-chan struct{}, most int, serve func(net.Conn), onPause func(error)) *acceptor {
	a := &acceptor{ln: ln, stopping: stopping, ends: make(chan struct{}, 1), serve: serve, onPause: onPause}
	if most != unbounded {
		a.room = make(chan struct{}, most)
	}
	return a
}

// run accepts.
func (a *acceptor) run() error {
	pause := firstPause
	for a.hasRoom() {
		a.forget()
		conn, err := a.ln.Accept()
		switch {
		case err == nil:
			low := a.crowded(conn)
			if a.serve(conn); low != nil {
				pause = a.rest(pause, low)
			} else {
				pause = firstPause
			}
			continue
		case isClosed(a.stopping):
			return nil
		case isOneOf(err, errLost):
		case isOneOf(err, errExhausted), isOneOf(err, errAgain), isTimeout(err):
			pause = a.rest(pause, err)
		default:
			return err
		}
		a.leaveRoom()
	}
	return nil
}

const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
	quietTime    = 10 * time.Second // after which pausing is news again
)

var (
	// errLost: a connection was lost before it could be accepted. The next one may be there.
	errLost = []error{syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO}
	// errExhausted: the system is out of something that it will have again.
	errExhausted = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}
	// errAgain: the network has an error that accept(2) says is to be taken as "try again".
	errAgain = append([]error{syscall.EPERM, syscall.ENETDOWN, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EOPNOTSUPP, syscall.ETIMEDOUT, syscall.EAGAIN}, errAgainHere...)
)

func isOneOf(err error, all []error) bool {
	return slices.ContainsFunc(all, func(e error) bool { return errors.Is(err, e) })
}

// isTimeout reports whether a listener has only not waited any longer.
func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// hasRoom waits until one more can be served, or returns false when that is over.
func (a *acceptor) hasRoom() bool {
	if a.room == nil {
		return !isClosed(a.stopping)
	}
	select {
	case a.room <- struct{}{}:
		if isClosed(a.stopping) {
			a.leaveRoom()
			return false
		}
		return true
	case <-a.stopping:
		return false
	}
}

func (a *acceptor) leaveRoom() {
	if a.room != nil {
		<-a.room
	}
}

// gone is called when a connection is over, and its descriptor closed.
func (a *acceptor) gone() {
	a.leaveRoom()
	select {
	case a.ends <- struct{}{}:
	default:
	}
}

// A process costs its parent descriptors, and without one a connection that was accepted is not
// served, and gives none back: so connections must leave enough of them. There are no more at
// once than all could have a process each; and as the program has files of its own, and the
// kernel gives the lowest number that is free, a high one says that there are few: such a
// connection is served, but accepting pauses.
const (
	descriptorsEach = 10 // of a connection and its process: eight, and what else a start needs for a moment
	leastReserve    = 24 // for one process that starts, at the most
)

// affordable is for how many connections, of as many as are wanted, there are descriptors, once
// so many are in use.
func affordable(wanted, limit, inUse int) int {
	if limit == 0 {
		return wanted
	}
	return max(1, min(wanted, (limit-inUse-leastReserve)/descriptorsEach))
}

// crowded is an error if a connection has one of the descriptors that are kept.
func (a *acceptor) crowded(conn net.Conn) error {
	if a.limit == nil {
		return nil
	}
	if limit := a.limit(); limit > 0 && descriptorOf(conn) >= limit-leastReserve {
		return fmt.Errorf("the rest of %d descriptors is kept for starting processes: %w", limit, syscall.EMFILE)
	}
	return nil
}

// forget forgets the connections that have ended so far: those that end from now on are
// what rest waits for.
func (a *acceptor) forget() {
	select {
	case <-a.ends:
	default:
	}
}

// rest waits until a connection has ended, which has given something back, or d is over. It
// returns how long the next pause is, if that was not enough.
func (a *acceptor) rest(d time.Duration, why error) time.Duration {
	if time.Since(a.lastPause) > quietTime {
		a.onPause(why)
	}
	defer func() { a.lastPause = time.Now() }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.ends:
	case <-timer.C:
	case <-a.stopping:
	}
	return min(2*d, longestPause)
}
