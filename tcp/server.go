package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood"
)

// ErrClosed is what Serve returns when the server was told to end before.
var ErrClosed = errors.New("tcp: the server is closed")

// Stats is how a server is doing. With Prefork the processes tell of themselves, but not more
// often than every 50 ms.
type Stats struct {
	Accepted int64 // connections so far
	Active   int   // that are served now
	Failed   int64 // whose handler returned an error, but for clients that went away
	Panicked int64 // whose handler panicked
	Died     int64 // whose process died, as far as it had told of them
	Pauses   int64 // times in which accepting had to pause, mostly because the system was out of something
}

// Server serves the connections of one listener. Make it with NewServer. Its methods may be
// called by any goroutine.
type Server struct {
	h *Handler
	o Options

	serving   atomic.Bool
	ln        net.Listener  // under mu until listening
	listening chan struct{} // closed when there is a listener
	stopping  chan struct{} // closed when no more is accepted
	ctx       context.Context
	cancel    context.CancelFunc // ends the handlers' contexts
	draining  sync.Once          // the time until then runs
	finished  chan struct{}      // closed when Serve has returned
	result    error              // what it returned, written before

	mu      sync.Mutex
	stopped bool
	broken  error         // why processes can't be started any more
	busy    int           // connections, or with Prefork listeners, that are served
	quiet   chan struct{} // closed when there are none; nil if nobody waits

	accepted, failed, panicked, died, pauses atomic.Int64

	tallies tallies // of Prefork
}

// model is what serves.
type model interface {
	// run accepts and serves until the server stops or the listener fails. It may leave
	// connections that are still served.
	run() error
	// end ends what the grace was not enough for.
	end() error
}

// NewServer makes a server. The models with processes need a program that has called
// brood.Main or brood.Init, on a Unix system.
func NewServer(h *Handler, o Options) (*Server, error) {
	if h == nil {
		return nil, errors.New("tcp: NewServer: the handler is nil")
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{h: h, o: o.withDefaults(), listening: make(chan struct{}), stopping: make(chan struct{}), finished: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// ListenAndServe listens on a TCP address, as "localhost:7000" or ":0", and serves: see Serve.
func (s *Server) ListenAndServe(ctx context.Context, address string) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("tcp: %w", err)
	}
	return s.Serve(ctx, ln)
}

// Serve serves the listener's connections until ctx ends, or Shutdown or Close is called,
// and returns when all of them have ended. It owns the listener, which for processes must be a TCP
// or Unix one of package net. It returns nil at an orderly end; when the listener fails the
// error says why; brood.ErrAbandoned means that handlers have not returned. A server serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) (err error) {
	if s.serving.Swap(true) {
		ln.Close()
		return fmt.Errorf("tcp: Serve was called before, or after the end: %w", ErrClosed)
	}
	defer func() {
		s.result = err
		close(s.finished)
	}()
	defer s.cancel()
	defer ln.Close()
	if s.h.tls != nil {
		if _, err := s.h.tls(); err != nil {
			return fmt.Errorf("tcp: the TLS configuration of handler %s: %w", s.h.name, err)
		}
	}
	m, err := s.model(ctx, ln)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.ln = ln
	if s.stopped {
		ln.Close()
	}
	s.mu.Unlock()
	close(s.listening)
	defer context.AfterFunc(ctx, s.drain)()
	if err = m.run(); err != nil {
		err = fmt.Errorf("tcp: the listener has failed: %w", err)
		s.fails(err)
	}
	s.settle()
	s.cancel()
	err = errors.Join(err, m.end())
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.broken)
}

// drain ends accepting, and the handlers' contexts some time later.
func (s *Server) drain() {
	s.stop()
	s.draining.Do(func() {
		timer := time.AfterFunc(s.o.Drain, s.cancel)
		context.AfterFunc(s.ctx, func() { timer.Stop() })
	})
}

// fails ends the server for a reason of its own.
func (s *Server) fails(err error) {
	s.o.Logger.Error("tcp: the server ends", "handler", s.h.name, "error", err)
	s.drain()
}

// Addr waits until the server listens, and returns the listener's address, which for ":0" says
// the port. The error is ctx's, or ErrClosed if the server has ended before.
func (s *Server) Addr(ctx context.Context) (net.Addr, error) {
	select {
	case <-s.listening:
	case <-ctx.Done():
		return nil, fmt.Errorf("tcp: wait for the server to listen: %w", context.Cause(ctx))
	case <-s.finished:
		select {
		case <-s.listening:
		default:
			return nil, ErrClosed
		}
	}
	return s.ln.Addr(), nil
}

// breaks ends the server because no process can be started.
func (s *Server) breaks(err error) {
	err = fmt.Errorf("tcp: %w", err)
	s.mu.Lock()
	first := s.broken == nil
	if first {
		s.broken = err
	}
	s.mu.Unlock()
	if first {
		s.fails(err)
	}
}

func (s *Server) model(ctx context.Context, ln net.Listener) (model, error) {
	switch s.o.Model {
	case Processes:
		return newProcesses(s, ln)
	case Prefork:
		return newPrefork(s, ln)
	}
	return newThreads(s, ctx, ln), nil
}

// stop ends accepting.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	close(s.stopping)
	if s.ln != nil {
		s.ln.Close()
	}
}

// settle waits until nothing is served, or the grace is over after the handlers' contexts have
// ended.
func (s *Server) settle() {
	quiet := s.whenQuiet()
	select {
	case <-quiet:
		return
	case <-s.ctx.Done():
	}
	grace := time.NewTimer(s.o.Grace)
	defer grace.Stop()
	select {
	case <-quiet:
	case <-grace.C:
	}
}

// enter counts something that is served.
func (s *Server) enter() {
	s.mu.Lock()
	s.busy++
	s.mu.Unlock()
}

// leave is its end.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy--; s.busy == 0 && s.quiet != nil {
		close(s.quiet)
		s.quiet = nil
	}
}

// whenQuiet is closed when nothing is served. It is asked when nothing more begins.
func (s *Server) whenQuiet() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	quiet := make(chan struct{})
	if s.busy == 0 {
		close(quiet)
		return quiet
	}
	s.quiet = quiet
	return quiet
}

// Shutdown accepts no more connections and waits until those that are served have ended, and
// returns what Serve returned; or until ctx ends: then its error is returned, and they go on:
// Close ends them. Without it, or the end of Serve's context, they may go on for ever.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	return s.wait(ctx)
}

// Close accepts no more connections, ends the handlers' contexts, waits until Serve has
// returned, and returns the same: brood.ErrAbandoned if there are handlers that have not.
func (s *Server) Close() error {
	s.stop()
	s.cancel()
	return s.wait(context.Background())
}

func (s *Server) wait(ctx context.Context) error {
	if !s.serving.Swap(true) { // it never will
		close(s.finished)
	}
	select {
	case <-s.finished:
		return s.result
	case <-ctx.Done():
		return fmt.Errorf("tcp: shut down: %w", context.Cause(ctx))
	}
}

// Stats says how the server is doing.
func (s *Server) Stats() Stats {
	if s.o.Model == Prefork {
		return s.tallies.sum()
	}
	s.mu.Lock()
	active := s.busy
	s.mu.Unlock()
	return Stats{Accepted: s.accepted.Load(), Active: active, Failed: s.failed.Load(), Panicked: s.panicked.Load(), Died: s.died.Load(), Pauses: s.pauses.Load()}
}

// verdict says how a connection ended.
type verdict int

const (
	fine verdict = iota // or the client went away
	failed
	panicked
	died
)

// judge says how a connection ended that a handler has served with err, and logs what is worth it.
func (h *Handler) judge(log *slog.Logger, remote net.Addr, err error) verdict {
	if err == nil {
		return fine
	}
	log = log.With("handler", h.name, "remote", remote.String())
	if p := (*brood.PanicError)(nil); errors.As(err, &p) {
		log.Error("tcp: the handler panicked", "panic", p.Value, "stack", string(p.Stack))
		return panicked
	}
	if d := (*brood.WorkerDied)(nil); errors.As(err, &d) {
		log.Error("tcp: the handler's process died", "error", err)
		return died
	}
	log.Warn("tcp: the handler failed", "error", err)
	return failed
}

// outcome counts how a connection ended.
func (s *Server) outcome(remote net.Addr, err error) {
	switch s.h.judge(s.o.Logger, remote, err) {
	case failed:
		s.failed.Add(1)
	case panicked:
		s.panicked.Add(1)
	case died:
		s.died.Add(1)
	}
	if start := (*brood.StartError)(nil); errors.As(err, &start) {
		s.breaks(err)
	}
}
