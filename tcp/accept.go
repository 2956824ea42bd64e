package tcp

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// acceptor accepts connections, as many at once as there is room for, until it is stopped or the
// listener fails.
type acceptor struct {
	ln       net.Listener
	stopping <-chan struct{} // the listener is closed after that
	room     chan struct{}   // holds one for each connection that is served; nil: no bound
	freed    chan struct{}   // holds one after a connection has ended
	serve    func(net.Conn)  // must not block; gone is called when the connection is over
	paused   func(error)     // the system is out of something, for the first time in a while
	rested   time.Time       // when a pause has last ended
}

func newAcceptor(ln net.Listener, stopping <-chan struct{}, most int, serve func(net.Conn), paused func(error)) *acceptor {
	a := &acceptor{ln: ln, stopping: stopping, freed: make(chan struct{}, 1), serve: serve, paused: paused}
	if most > 0 {
		a.room = make(chan struct{}, most)
	}
	return a
}

// run accepts.
func (a *acceptor) run() error {
	pause := firstPause
	for a.hasRoom() {
		conn, err := a.ln.Accept()
		switch {
		case err == nil:
			pause = firstPause
			a.serve(conn)
			continue
		case isClosed(a.stopping):
			return nil
		case errors.Is(err, syscall.ECONNABORTED), errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EPROTO):
		case exhausted(err):
			if time.Since(a.rested) > quietTime {
				a.paused(err)
			}
			a.rest(pause)
			a.rested = time.Now()
			pause = min(2*pause, longestPause)
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

// exhausted reports whether the system is out of something that it will have again.
func exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
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
	case a.freed <- struct{}{}:
	default:
	}
}

// rest waits until a connection has ended, which has given something back, or d is over.
func (a *acceptor) rest(d time.Duration) {
	select {
	case <-a.freed: // of a time before this want
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.freed:
	case <-timer.C:
	case <-a.stopping:
	}
}
