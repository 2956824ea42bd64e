package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/brood-go/brood"
)

// prefork is the model of processes that share the listener. Each is a worker of a pool whose one
// task is to accept and serve. With the task it gets three files:
//
//	the listener  a descriptor of the same one
//	drain         a pipe whose other end the parent closes when no more is to be accepted
//	report        a pipe into which the process writes what it has done so far: see report.go
//
// The parent sees to it that there are always so many tasks that accept, until the server stops. One
// that has accepted as many connections as it may (MaxTasks) says so, and has a successor at
// once, while it serves what it has. As many as accept may be at that; then it is waited for.
// The context of the task is that of the handlers.
type prefork struct {
	s    *Server
	ln   filer
	pool *brood.ProcessPool
}

// assignment is a listener on its way to a process.
type assignment struct {
	Limits limits
	Most   int // connections at once
	Served int // after how many it returns; 0: never
	CPUs   int // 0: as it is

	listener, drain, report *os.File
}

var _ brood.FileCarrier = (*assignment)(nil)

// Files implements brood.FileCarrier.
func (s *assignment) Files() []brood.Descriptor {
	return []brood.Descriptor{s.listener, s.drain, s.report}
}

// SetFiles implements brood.FileCarrier.
func (s *assignment) SetFiles(f []*os.File) { s.listener, s.drain, s.report = f[0], f[1], f[2] }

func newPrefork(s *Server, ln net.Listener) (*prefork, error) {
	f, err := shareable(ln)
	if err != nil {
		return nil, err
	}
	o := s.o.Pool
	o.Name, o.Workers, o.Grace = s.h.name, s.o.Workers, graceOf(s.o.Grace)
	if o.MaxTasks > 0 {
		o.MaxTasks = 1 // the task counts the connections
		o.MinWorkers, o.Workers, o.IdleTimeout = o.Workers, 2*o.Workers, defaultIdlePool
	}
	if o.LogHandler == nil {
		o.LogHandler = s.o.Logger.Handler()
	}
	pool, err := brood.NewProcessPool(o)
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	return &prefork{s, f, pool}, nil
}

func (p *prefork) run() error {
	var wg sync.WaitGroup
	for i := range p.s.o.Workers {
		most := p.s.o.MaxConns / p.s.o.Workers
		if i < p.s.o.MaxConns%p.s.o.Workers {
			most++
		}
		wg.Go(func() { p.keep(most) })
	}
	wg.Wait()
	return nil
}

func (p *prefork) end() error {
	err := p.pool.Close()
	<-p.s.whenQuiet() // every task has its outcome
	return err
}

// keep keeps one process accepting until the server stops.
func (p *prefork) keep(most int) {
	fruitless := firstPause
	for !isClosed(p.s.stopping) {
		t, err := p.listen(most)
		if err != nil {
			p.failed(err)
		} else {
			select {
			case <-t.retired:
				fruitless = firstPause
				continue
			case <-t.over:
			}
			if p.s.tallies.fruitful(t.tally) {
				fruitless = firstPause
				continue
			}
		}
		timer := time.NewTimer(fruitless) // it may go on like this
		select {
		case <-timer.C:
		case <-p.s.stopping:
			timer.Stop()
		}
		fruitless = min(2*fruitless, longestPause)
	}
}

// failed logs why a process serves no more. When the server stops most of what can be
// wrong comes of that, and that the grace was over is no news.
func (p *prefork) failed(err error) {
	log := p.s.o.Logger.With("handler", p.s.h.name, "error", err)
	var died *brood.WorkerDied
	var start *brood.StartError
	switch {
	case err == nil:
	case isClosed(p.s.stopping):
		if errors.As(err, &died) && p.s.ctx.Err() == nil {
			log.Error("tcp: a process has died with the connections that it still served")
		}
	case errors.As(err, &start):
		p.s.breaks(err)
	default:
		log.Error("tcp: a process that shares the listener has ended, or could not begin: another one takes its place")
	}
}

// turn is one process's time at the listener.
type turn struct {
	tally   *tally
	retired chan struct{} // closed once it accepts no more, but still serves
	over    chan struct{} // closed when it has ended
}

// listen has a process accept and serve.
func (p *prefork) listen(most int) (*turn, error) {
	listener, err := p.ln.File()
	if err != nil {
		return nil, err
	}
	drain, stopDrain, err := os.Pipe()
	if err != nil {
		listener.Close()
		return nil, err
	}
	reports, report, err := os.Pipe()
	if err != nil {
		for _, f := range []*os.File{listener, drain, stopDrain} {
			f.Close()
		}
		return nil, err
	}
	o := p.s.o
	t := &turn{p.s.tallies.open(most, o.Pool.MaxTasks), make(chan struct{}), make(chan struct{})}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer reports.Close()
		p.listenTo(t, reports)
	}()
	p.s.enter()
	f := p.s.h.listenerFunc.Submit(p.s.ctx, p.pool, assignment{o.limits(), most, o.Pool.MaxTasks, o.cpus(most), listener, drain, report})
	go func() {
		defer p.s.leave()
		defer close(t.over)
		defer stopDrain.Close()
		select {
		case <-f.Done():
		case <-p.s.stopping:
			stopDrain.Close()
			if f.State() != brood.Running { // no process has it yet, and without the listener none could take it
				f.Cancel()
			}
			listener.Close() // the last descriptor of it here
		}
		_, err := f.Result(context.Background())
		<-read
		died := (*brood.WorkerDied)(nil)
		p.s.tallies.close(t.tally, errors.As(err, &died))
		p.failed(err)
	}()
	return t, nil
}

// listenTo takes a process's reports until its end.
func (p *prefork) listenTo(t *turn, reports io.Reader) {
	var c counts
	for told := false; c.read(reports) == nil; {
		if p.s.tallies.update(t.tally, c) && !told {
			told = true
			close(t.retired)
		}
	}
}

// serveMany accepts and serves in a process of Prefork.
func (h *Handler) serveMany(ctx context.Context, p assignment) (none struct{}, err error) {
	useCPUs(p.CPUs)
	defer p.report.Close()
	defer p.drain.Close()
	ln, err := net.FileListener(p.listener)
	p.listener.Close()
	if err != nil {
		return none, fmt.Errorf("tcp: the listener that was passed on: %w", err)
	}
	r := &reporter{out: p.report}
	stopping := make(chan struct{})
	stop := sync.OnceFunc(func() {
		close(stopping)
		ln.Close()
	})
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	go func() {
		io.Copy(io.Discard, p.drain) // ends also with this function
		stop()
	}()
	c := &crew{h: h, limits: p.Limits, ctx: ctx, conns: make(map[*conn]struct{})}
	var active sync.WaitGroup
	served := 0
	c.onBegin = func() {
		active.Add(1)
		r.began()
		if served++; served == p.Served {
			r.retire()
			stop()
		}
	}
	c.onEnd = func(remote net.Addr, err error) {
		r.ended(h.judge(slog.Default(), remote, err))
		active.Done()
	}
	c.acceptor = newAcceptor(ln, stopping, p.Most, c.serve, func(err error) {
		r.paused()
		slog.Warn("tcp: accepting pauses", "handler", h.name, "error", err)
	})
	err = c.acceptor.run()
	active.Wait() // or the grace is over, and the process with it
	r.flush()
	return none, err
}
