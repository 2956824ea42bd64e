package tcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood"
)

// prefork is the model of processes that share the listener. Each is a worker of a pool whose one
// task is to accept and serve. With the task it gets three files:
//
//	the listener  a descriptor of the same one
//	drain         a pipe whose other end the parent closes when no more is to be accepted
//	report        a pipe into which the process writes what it has done so far, at most every
//	              reportEvery, and at the end: a tally, as fixed numbers
//
// The parent sees to it that there are always so many tasks, until the server stops. The context
// of the task is that of the handlers.
type prefork struct {
	s    *Server
	ln   filer
	pool *brood.ProcessPool
}

// shared is a listener on its way to a process.
type shared struct {
	Idle   time.Duration
	Most   int // connections at once
	Served int // after how many it returns; 0: never

	listener, drain, report *os.File
}

var _ brood.FileCarrier = (*shared)(nil)

// Files implements brood.FileCarrier.
func (s *shared) Files() []brood.Descriptor { return []brood.Descriptor{s.listener, s.drain, s.report} }

// SetFiles implements brood.FileCarrier.
func (s *shared) SetFiles(f []*os.File) { s.listener, s.drain, s.report = f[0], f[1], f[2] }

func newPrefork(s *Server, ln net.Listener) (*prefork, error) {
	f, ok := ln.(filer)
	if !ok {
		return nil, fmt.Errorf("tcp: a %T can't be shared with processes: use a listener of package net for TCP or Unix sockets (for TLS see Handler.TLS)", ln)
	}
	o := s.o.Pool
	o.Name, o.Workers, o.Grace = s.h.name, s.o.Workers, graceOf(s.o.Grace)
	if o.MaxTasks > 0 {
		o.MaxTasks = 1 // the task counts the connections
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
		p.s.enter()
		wg.Go(func() {
			defer p.s.leave()
			p.keep(most)
		})
	}
	wg.Wait()
	return nil
}

func (p *prefork) end() error { return p.pool.Close() }

// keep keeps one process serving until the server stops.
func (p *prefork) keep(most int) {
	fruitless := firstPause
	for !isClosed(p.s.stopping) {
		served, err := p.listen(most)
		if isClosed(p.s.stopping) { // there is no more to do, and most of what can be wrong now comes of that
			p.lost(err)
			return
		}
		var start *brood.StartError
		switch {
		case err == nil:
		case errors.As(err, &start):
			p.s.breaks(err)
			return
		default:
			p.s.o.Logger.Error("tcp: a process that shares the listener has ended: another one takes its place", "handler", p.s.h.name, "error", err)
		}
		if served || err == nil {
			fruitless = firstPause
			continue
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

// lost logs a process that died as it drained; that the grace was over is no news.
func (p *prefork) lost(err error) {
	if died := (*brood.WorkerDied)(nil); errors.As(err, &died) && p.s.ctx.Err() == nil {
		p.s.o.Logger.Error("tcp: a process has died with the connections that it still served", "handler", p.s.h.name, "error", err)
	}
}

// listen has a process accept and serve until it ends, and reports whether it served anything.
func (p *prefork) listen(most int) (served bool, err error) {
	listener, err := p.ln.File()
	if err != nil {
		return false, err
	}
	drain, stopDrain, err := os.Pipe()
	if err != nil {
		listener.Close()
		return false, err
	}
	defer stopDrain.Close()
	reports, report, err := os.Pipe()
	if err != nil {
		listener.Close()
		drain.Close()
		return false, err
	}
	t := p.s.tallies.open()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer reports.Close()
		for t.read(reports) == nil {
		}
	}()
	o := p.s.o
	f := p.s.h.many.Submit(p.s.ctx, p.pool, shared{o.IdleTimeout, most, o.Pool.MaxTasks, listener, drain, report})
	select {
	case <-f.Done():
	case <-p.s.stopping:
		stopDrain.Close()
		if f.State() != brood.Running { // no process has it yet, and without the listener none could take it
			f.Cancel()
		}
		listener.Close() // the last descriptor of it here
	}
	_, err = f.Result(context.Background())
	<-read
	active := p.s.tallies.close(t)
	if died := (*brood.WorkerDied)(nil); errors.As(err, &died) {
		p.s.died.Add(int64(active))
	}
	return t.accepted.Load() > 0, err
}

// tally is what a process has done.
type tally struct{ accepted, active, failed, panicked, pauses atomic.Uint32 }

const tallySize = 5 * 4

func (t *tally) fields() []*atomic.Uint32 {
	return []*atomic.Uint32{&t.accepted, &t.active, &t.failed, &t.panicked, &t.pauses}
}

func (t *tally) append(b []byte) []byte {
	for _, f := range t.fields() {
		b = binary.LittleEndian.AppendUint32(b, f.Load())
	}
	return b
}

// read reads the next report.
func (t *tally) read(r io.Reader) error {
	var b [tallySize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return err
	}
	for i, f := range t.fields() {
		f.Store(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return nil
}

// tallies are those of the processes there are, and the sum of those there were.
type tallies struct {
	mu   sync.Mutex
	live map[*tally]struct{}
	past Stats
}

func (a *tallies) open() *tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live == nil {
		a.live = make(map[*tally]struct{})
	}
	t := new(tally)
	a.live[t] = struct{}{}
	return t
}

// close ends a tally, and says how many connections it had.
func (a *tallies) close(t *tally) (active uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.live, t)
	active = t.active.Swap(0)
	t.addTo(&a.past)
	return active
}

func (t *tally) addTo(s *Stats) {
	s.Accepted += int64(t.accepted.Load())
	s.Active += int(t.active.Load())
	s.Failed += int64(t.failed.Load())
	s.Panicked += int64(t.panicked.Load())
	s.Pauses += int64(t.pauses.Load())
}

// sum is what all have done.
func (a *tallies) sum() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.past
	for t := range a.live {
		t.addTo(&s)
	}
	return s
}

// serveMany accepts and serves in a process of Prefork.
func (h *Handler) serveMany(ctx context.Context, p shared) (none struct{}, err error) {
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
	c := &crew{h: h, idle: p.Idle, ctx: ctx, conns: make(map[*conn]struct{})}
	var active sync.WaitGroup
	served := 0
	c.began = func() {
		active.Add(1)
		r.began()
		if served++; served == p.Served {
			stop()
		}
	}
	c.ended = func(remote net.Addr, err error) {
		r.ended(h.judge(slog.Default(), remote, err))
		active.Done()
	}
	c.accepts = newAcceptor(ln, stopping, p.Most, c.serve, func(err error) {
		r.pauses.Add(1)
		slog.Warn("tcp: accepting pauses until the system has room again", "handler", h.name, "error", err)
	})
	err = c.accepts.run()
	active.Wait() // or the grace is over, and the process with it
	r.flush()
	return none, err
}

// reportEvery is how often a process tells what it has done.
const reportEvery = 50 * time.Millisecond

// reporter writes a process's reports.
type reporter struct {
	tally
	due atomic.Bool // a report is about to be written

	mu  sync.Mutex
	out io.Writer
}

func (r *reporter) began() {
	r.accepted.Add(1)
	r.active.Add(1)
	r.changed()
}

func (r *reporter) ended(v verdict) {
	switch v {
	case failed:
		r.failed.Add(1)
	case panicked:
		r.panicked.Add(1)
	}
	r.active.Add(^uint32(0))
	r.changed()
}

// changed sees to it that there is a report.
func (r *reporter) changed() {
	if !r.due.Load() && !r.due.Swap(true) {
		time.AfterFunc(reportEvery, r.flush)
	}
}

func (r *reporter) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due.Store(false) // before it is read: what comes later is reported later
	r.out.Write(r.tally.append(nil))
}
