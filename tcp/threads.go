package tcp

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/brood-go/brood"
)

// crew serves connections on threads of this process: for the model of that name, and in
// each process of Prefork.
type crew struct {
	h        *Handler
	limits   limits
	ctx      context.Context
	onBegin  func()
	onEnd    func(remote net.Addr, err error) // the connection is closed
	acceptor *acceptor

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// serve starts the thread of a connection.
func (c *crew) serve(accepted net.Conn) {
	conn := newConn(accepted, c.limits)
	c.mu.Lock()
	c.conns[conn] = struct{}{}
	c.mu.Unlock()
	c.onBegin()
	remote := conn.RemoteAddr()
	brood.Go(c.ctx, brood.ThreadOptions{Name: c.h.name + " " + remote.String(), Daemon: true}, func(ctx context.Context) error {
		err := brood.ErrGoexit
		defer func() {
			c.mu.Lock()
			delete(c.conns, conn)
			c.mu.Unlock()
			c.onEnd(remote, err)
			c.acceptor.gone()
		}()
		err = c.h.serve(ctx, conn)
		return nil
	})
}

// cutOff closes the connections of handlers that have not returned, and says how many
// there are.
func (c *crew) cutOff() int {
	c.mu.Lock()
	left := slices.Collect(maps.Keys(c.conns))
	c.mu.Unlock()
	for _, conn := range left { // which may take its time
		conn.Close()
	}
	return len(left)
}

// threads is the model of a goroutine for each connection.
type threads struct {
	crew
}

func newThreads(s *Server, ctx context.Context, ln net.Listener) *threads {
	t := &threads{crew{h: s.h, limits: s.o.limits(), conns: make(map[*conn]struct{})}}
	t.ctx = handlerContext(ctx, s.ctx)
	t.onBegin = func() {
		s.accepted.Add(1)
		s.enter()
	}
	t.onEnd = func(remote net.Addr, err error) {
		s.outcome(remote, err)
		s.leave()
	}
	most := unbounded
	if s.o.MaxConns > 0 {
		most = s.o.MaxConns
	}
	t.acceptor = newAcceptor(ln, s.stopping, most, t.serve, s.pausing)
	return t
}

// handlerContext has the values of Serve's context, and the end of the handlers'.
func handlerContext(values, end context.Context) context.Context { return handlerCtx{end, values} }

type handlerCtx struct {
	context.Context
	values context.Context
}

// Value implements context.Context.
func (m handlerCtx) Value(key any) any {
	if v := m.Context.Value(key); v != nil {
		return v
	}
	return m.values.Value(key)
}

func (t *threads) run() error { return t.acceptor.run() }

func (t *threads) end() error {
	if n := t.cutOff(); n > 0 {
		return fmt.Errorf("tcp: %d handlers have not returned within the grace: %w", n, brood.ErrAbandoned)
	}
	return nil
}

// pausing is told when accepting pauses.
func (s *Server) pausing(err error) {
	s.pauses.Add(1)
	s.o.Logger.Warn("tcp: accepting pauses", "handler", s.h.name, "error", err)
}
