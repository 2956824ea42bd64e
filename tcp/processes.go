package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/brood-go/brood"
)

// processes is the model of a process for each connection: a worker of a pool gets a
// descriptor of the accepted socket with its task. The parent closes its own one when the task has
// its outcome, which it has also, and at once, when the worker dies.
type processes struct {
	s        *Server
	pool     *brood.ProcessPool
	acceptor *acceptor
}

// handoff is a connection on its way to a process.
type handoff struct {
	Limits limits
	Remote address
	CPUs   int // 0: as it is

	conn   brood.Descriptor // in the process that has accepted it
	socket *os.File         // in the one that serves it
}

var _ brood.FileCarrier = (*handoff)(nil)

// Files implements brood.FileCarrier.
func (p *handoff) Files() []brood.Descriptor { return []brood.Descriptor{p.conn} }

// SetFiles implements brood.FileCarrier.
func (p *handoff) SetFiles(files []*os.File) { p.socket = files[0] }

// filer is a listener of which there can be another descriptor.
type filer interface {
	net.Listener
	File() (*os.File, error)
}

// shareable is a listener whose connections can go to processes. What wraps one, also one that has
// all of its methods, changes what is accepted, and a process would get what is below.
func shareable(ln net.Listener) (filer, error) {
	switch ln := ln.(type) {
	case *net.TCPListener:
		return ln, nil
	case *net.UnixListener:
		return ln, nil
	}
	return nil, fmt.Errorf("tcp: the connections of a %T can't go to processes: use a *net.TCPListener or *net.UnixListener as it is, and for TLS Handler.TLS; the model Threads takes any listener", ln)
}

func newProcesses(s *Server, ln net.Listener) (*processes, error) {
	if _, err := shareable(ln); err != nil {
		return nil, err
	}
	limit := descriptorLimit()
	most := affordable(s.o.MaxConns, limit, descriptorOf(ln)+1)
	if most < s.o.MaxConns {
		s.o.Logger.Warn("tcp: this process may have too few descriptors for Options.MaxConns (ulimit -n)", "handler", s.h.name, "MaxConns", s.o.MaxConns, "descriptors", limit, "served at once", most)
	}
	o := s.o.Pool
	o.Name, o.Workers, o.Grace = s.h.name, most, graceOf(s.o.Grace)
	o.MinWorkers = min(o.MinWorkers, most)
	pool, err := brood.NewProcessPool(o)
	if err != nil {
		return nil, fmt.Errorf("tcp: %w", err)
	}
	p := &processes{s: s, pool: pool}
	p.acceptor = newAcceptor(ln, s.stopping, most, p.serve, s.pausing)
	p.acceptor.limit = descriptorLimit
	return p, nil
}

// graceOf is a grace as PoolOptions has it.
func graceOf(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// serve passes a connection on.
func (p *processes) serve(conn net.Conn) {
	s := p.s
	s.accepted.Add(1)
	s.enter()
	remote := remoteOf(conn)
	over := func(err error) {
		if s.ctx.Err() == nil || !unserved(err) {
			s.outcome(remote, err)
		}
		p.acceptor.gone()
		s.leave()
	}
	p.s.h.connFunc.Submit(s.ctx, p.pool, handoff{Limits: s.o.limits(), Remote: addressOf(remote), CPUs: s.o.cpus(1), conn: conn.(brood.Descriptor)}).OnDone(func(f *brood.Future[struct{}]) {
		_, err := f.Result(context.Background())
		over(err)
	})
}

// unserved reports whether a task ended because the server has ended, and no handler has begun, or
// none that had anything to say.
func unserved(err error) bool {
	var remote *brood.RemoteError
	switch {
	case errors.As(err, new(*brood.PanicError)), errors.As(err, new(*brood.WorkerDied)):
		return false
	case errors.As(err, &remote):
		return remote.Text == context.Canceled.Error()
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, brood.ErrClosed)
}

func (p *processes) run() error { return p.acceptor.run() }

func (p *processes) end() error {
	err := p.pool.Close()
	<-p.s.whenQuiet() // every task has its outcome
	return err
}

// serveOne serves a connection in the process that it was passed to.
func (h *Handler) serveOne(ctx context.Context, p handoff) (none struct{}, err error) {
	useCPUs(p.CPUs)
	accepted, err := net.FileConn(p.socket)
	p.socket.Close()
	if err != nil {
		return none, fmt.Errorf("tcp: the connection that was passed on: %w", err)
	}
	c := newConn(accepted, p.Limits)
	c.passed, c.remote = true, p.Remote.addr()
	return none, h.serve(ctx, c)
}

// address is a remote address on its way to a process, where the system would not tell that of
// a client that has gone.
type address struct {
	Network string
	IP      []byte
	Port    int
	Name    string // or zone
}

func addressOf(a net.Addr) address {
	switch a := a.(type) {
	case *net.TCPAddr:
		return address{a.Network(), a.IP, a.Port, a.Zone}
	case *net.UnixAddr:
		return address{Network: a.Net, Name: a.Name}
	}
	return address{Network: a.Network()}
}

func (a address) addr() net.Addr {
	switch a.Network {
	case "tcp":
		return &net.TCPAddr{IP: a.IP, Port: a.Port, Zone: a.Name}
	case "unix", "unixpacket":
		return &net.UnixAddr{Net: a.Network, Name: a.Name}
	}
	return anyone{a.Network}
}
