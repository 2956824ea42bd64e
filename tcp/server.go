package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood"
)

// Model says what runs a handler.
type Model int

// The models. See the package's documentation.
const (
	// Threads: a goroutine for each connection.
	Threads Model = iota
	// Processes: a process for each connection.
	Processes
	// Prefork: processes that are started before and share the listener.
	Prefork
)

var modelNames = [...]string{"threads", "processes", "prefork"}

// String is the model in one lower-case word.
func (m Model) String() string {
	if m < 0 || int(m) >= len(modelNames) {
		return fmt.Sprintf("Model(%d)", int(m))
	}
	return modelNames[m]
}

// Options configures a server. The zero value works.
type Options struct {
	// Model says what runs the handler. Default: Threads.
	Model Model
	// MaxConns is how many connections are served at once; more wait in the listener's
	// queue. 0: no bound with Threads, 100 with Processes, Workers with Prefork, where it is
	// divided among the processes. Each process costs this one about ten descriptors: with
	// Processes there are no more connections at once than its limit of them allows.
	MaxConns int
	// Workers is how many processes of Prefork accept. Those that have accepted
	// Options.Pool.MaxTasks connections and still serve some come on top, as many again at the most.
	// 0: two for each CPU, but no more than MaxConns.
	Workers int
	// IdleTimeout ends a connection on which nothing has passed for so long, in either
	// direction: what waits for it then fails with os.ErrDeadlineExceeded. 0: never.
	IdleTimeout time.Duration
	// HandshakeTimeout is how long a client has for the TLS handshake, if the handler has TLS. 0: 10 s;
	// negative: for ever.
	HandshakeTimeout time.Duration
	// Drain is how long connections may go on before the contexts of their handlers end, when
	// that of Serve has ended, the listener has failed, or no process can be started. 0: 10 s;
	// negative: not at all.
	Drain time.Duration
	// Grace is how long a handler has to return when its context has ended. 0: 2 s; negative:
	// none.
	Grace time.Duration
	// Logger gets what goes wrong: errors and panics of handlers, processes that died, a
	// system that is out of descriptors. nil: slog's default.
	Logger *slog.Logger
	// Pool has what the processes of Processes and Prefork have in common with workers of a
	// pool: Memory, MaxTasks (here: connections), Initializer, StartTimeout, Spares, Output
	// and LogHandler, and for Processes IdleTimeout and MinWorkers: 0 is 10 s, and one for each
	// CPU. What else is set is refused.
	Pool brood.PoolOptions
}

const (
	defaultProcesses = 100
	defaultHandshake = 10 * time.Second
	defaultDrain     = 10 * time.Second
	defaultGrace     = 2 * time.Second
	defaultIdlePool  = 10 * time.Second
)

// withDefaults fills in what the zero value stands for.
func (o Options) withDefaults() Options {
	cpus := runtime.GOMAXPROCS(0)
	if o.Model == Prefork {
		if o.Workers == 0 {
			o.Workers = 2 * cpus
			if o.MaxConns > 0 {
				o.Workers = min(o.Workers, o.MaxConns)
			}
		}
		if o.MaxConns == 0 {
			o.MaxConns = o.Workers
		}
	}
	if o.Model == Processes {
		if o.MaxConns == 0 {
			o.MaxConns = defaultProcesses
		}
		if o.Pool.IdleTimeout == 0 {
			o.Pool.IdleTimeout = defaultIdlePool
		}
		if o.Pool.MinWorkers == 0 {
			o.Pool.MinWorkers = min(cpus, o.MaxConns)
		}
	}
	o.HandshakeTimeout = orDefault(o.HandshakeTimeout, defaultHandshake)
	o.Drain = orDefault(o.Drain, defaultDrain)
	o.Grace = orDefault(o.Grace, defaultGrace)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func (o *Options) limits() limits { return limits{o.IdleTimeout, o.HandshakeTimeout} }

func orDefault(d, otherwise time.Duration) time.Duration {
	switch {
	case d == 0:
		return otherwise
	case d < 0:
		return 0
	}
	return d
}

// validate says what can't be meant.
func (o *Options) validate() error {
	p := &o.Pool
	switch {
	case o.Model < Threads || o.Model > Prefork:
		return fmt.Errorf("tcp: Options.Model: there is no model %d", o.Model)
	case o.MaxConns < 0 || o.Workers < 0:
		return errors.New("tcp: Options.MaxConns and Workers can't be negative: use 0 for the default")
	case o.IdleTimeout < 0:
		return errors.New("tcp: Options.IdleTimeout can't be negative: use 0 for none")
	case o.Workers > 0 && o.Model != Prefork:
		return fmt.Errorf("tcp: Options.Workers is for Prefork; with %v MaxConns bounds the connections", o.Model)
	case o.Workers > 0 && o.MaxConns > 0 && o.MaxConns < o.Workers:
		return fmt.Errorf("tcp: Options.MaxConns (%d) is less than Workers (%d): some would never serve", o.MaxConns, o.Workers)
	case p.Workers != 0 || p.MaxPending != 0 || p.TaskTimeout != 0 || p.Grace != 0 || p.CrashRetries != 0 || p.ErrorRetries != 0 || p.Policy != nil || p.Encode || p.MaxPayload != 0 || p.Name != "":
		return errors.New("tcp: Options.Pool has an option that makes no sense for a server: see there")
	case o.Model == Threads && (p.Memory != 0 || p.MaxTasks != 0 || p.Initializer != nil || p.StartTimeout != 0 || p.IdleTimeout != 0 || p.MinWorkers != 0 || p.Spares != 0 || p.Output != brood.OutputInherit || p.LogHandler != nil):
		return errors.New("tcp: Options.Pool is for Processes and Prefork")
	case o.Model == Prefork && (p.IdleTimeout != 0 || p.MinWorkers != 0):
		return errors.New("tcp: Options.Pool.IdleTimeout and MinWorkers are for Processes")
	}
	return nil
}

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
	Pauses   int64 // times in which the system was out of something, so that accepting had to pause
}

// Server serves the connections of one listener. Make it with NewServer. Its methods may be
// called by any goroutine.
type Server struct {
	h *Handler
	o Options

	serving  atomic.Bool
	ln       net.Listener  // under mu until serving
	stopping chan struct{} // closed when no more is accepted
	ctx      context.Context
	cancel   context.CancelFunc // ends the handlers' contexts
	draining sync.Once          // the time until then runs
	finished chan struct{}      // closed when Serve has returned

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
	s := &Server{h: h, o: o.withDefaults(), stopping: make(chan struct{}), finished: make(chan struct{})}
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
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if s.serving.Swap(true) {
		ln.Close()
		return fmt.Errorf("tcp: Serve was called before, or after the end: %w", ErrClosed)
	}
	defer close(s.finished)
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

// Shutdown accepts no more connections and waits until those that are served have ended, or
// until ctx ends: then its error is returned, and they go on: Close ends them.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	return s.wait(ctx)
}

// Close accepts no more connections, ends the handlers' contexts, and waits until Serve has
// returned.
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
		return nil
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
