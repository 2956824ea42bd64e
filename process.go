package brood

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/brood-go/brood/internal/child"
	"github.com/brood-go/brood/internal/strand"
)

// ProcessOptions configures a process. The zero value works.
type ProcessOptions struct {
	// Name is the process's name, for Current and messages; empty: that of the Func.
	Name string
	// Daemon makes the process end with the program: Main does not wait for it.
	Daemon bool
	// Pool has what processes have in common with workers: Memory, Grace, Output,
	// LogHandler, StartTimeout, MaxPayload, TaskTimeout. What else is set is refused.
	Pool PoolOptions
}

// Process is one function that runs, or ran, in a process of its own. Make it with
// Func.Start. Its methods may be called by any goroutine.
type Process[R any] struct {
	*Child
	future *Future[R]
}

// Child is a process without the type of its result. See Process.
type Child struct {
	name   string
	daemon bool
	pool   *pool
	host   *host
	done   <-chan struct{} // of the future
	task   *Task
}

// children are the processes started here that have not ended.
var children struct {
	sync.Mutex
	list []*Child
}

// Start runs the function with arg in a process of its own, and returns once the
// process runs; an error says why it could not be started. ctx bounds its life as
// that of a task: when it ends, the context of the function ends, and after the grace
// the process is killed.
//
// The process ends with exit code 0, or 1 if the function failed; whatever else it
// started ends with it.
func (f *Func[A, R]) Start(ctx context.Context, arg A, o ProcessOptions) (*Process[R], error) {
	c := f.call(ctx, arg)
	p, err := f.start(ctx, c, o)
	if err != nil {
		c.t.fail(err) // what the argument carries is closed
	}
	return p, err
}

func (f *Func[A, R]) start(ctx context.Context, c *call[A, R], o ProcessOptions) (*Process[R], error) {
	if err := mayStart(); err != nil {
		return nil, err
	}
	po := o.Pool
	if po.Workers != 0 || po.MaxPending != 0 || po.MaxTasks != 0 || po.Initializer != nil || po.CrashRetries != 0 || po.ErrorRetries != 0 || po.IdleTimeout != 0 || po.MinWorkers != 0 || po.Spares != 0 || po.Policy != nil || po.Encode || po.Name != "" {
		return nil, fmt.Errorf("brood: start %s: ProcessOptions.Pool has an option that makes no sense for one process: see there", f.Name())
	}
	if err := po.validate(); err != nil {
		return nil, err
	}
	po.Workers, po.Spares, po.sockets = 1, -1, true
	if po.Name = o.Name; po.Name == "" {
		po.Name = f.Name()
	}
	p, err := newPool(po.withDefaults())
	if err != nil {
		return nil, err
	}
	p.once = true
	p.parent = identityOf(Current(ctx))
	if err := p.Execute(ctx, &c.t); err != nil {
		c.t.fail(err)
	}
	h, err := p.firstHost(&c.t)
	if err != nil {
		p.Close()
		return nil, err
	}
	child := &Child{name: po.Name, daemon: o.Daemon, pool: p, host: h, done: c.t.doneChan(), task: &c.t}
	children.Lock()
	children.list = append(children.list, child)
	children.Unlock()
	go child.follow(ctx)
	return &Process[R]{child, &c.Future}, nil
}

// firstHost waits until the process of a pool with one runs, or can't.
func (p *pool) firstHost(t *Task) (*host, error) {
	p.mu.Lock()
	h := p.only
	p.mu.Unlock()
	if h == nil {
		return nil, t.outcome(background) // the argument could not be encoded
	}
	<-h.launched
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.pid == 0 {
		return nil, &StartError{Stage: "start", Err: h.startErr}
	}
	return h, nil
}

// follow ends the books when the process is gone. When its function has returned the process
// may live on, as it waits for its threads: until the grace after the end of its context.
func (c *Child) follow(ctx context.Context) {
	select {
	case <-c.host.over:
	case <-ctx.Done():
		grace := time.NewTimer(c.pool.o.Grace)
		defer grace.Stop()
		select {
		case <-c.host.over:
		case <-grace.C:
			<-c.done // its pool ends what runs
			c.Kill()
			<-c.host.over
		}
	}
	c.pool.Close()
	children.Lock()
	defer children.Unlock()
	children.list = slices.DeleteFunc(children.list, func(x *Child) bool { return x == c })
}

// Result waits for the function's outcome, which is there when the function has
// returned or the process has died: *WorkerDied if it died before. ctx bounds the
// wait.
func (p *Process[R]) Result(ctx context.Context) (R, error) { return p.future.Result(ctx) }

// Future is the outcome as a future.
func (p *Process[R]) Future() *Future[R] { return p.future }

// Name is the process's name.
func (c *Child) Name() string { return c.name }

// PID is the process's id.
func (c *Child) PID() int { return c.host.pid }

// PPID is the id of its parent: this process.
func (c *Child) PPID() int { return c.pool.parent.PID }

// Daemon reports whether it ends with the program.
func (c *Child) Daemon() bool { return c.daemon }

// Alive reports whether the process has not ended. After Join it is false.
func (c *Child) Alive() bool {
	select {
	case <-c.host.over:
		return false
	default:
		return true
	}
}

// Join waits until the process has ended, or until ctx ends: then its error is
// returned. Who holds what the process waits for gets a *DeadlockError. What became of it say ExitCode and Result.
func (c *Child) Join(ctx context.Context) error {
	select {
	case <-c.host.over:
		return nil
	default:
	}
	w, err := awaits(ctx, c.task)
	if err != nil {
		return err
	}
	defer w.End()
	sleep := w.Context(ctx)
	select {
	case <-c.host.over:
		return nil
	case <-sleep.Done():
		return sleepError(sleep)
	}
}

// Terminate asks the process to end, by SIGTERM: that ends it, unless its function
// handles the signal. It does not wait.
func (c *Child) Terminate() { c.signal(syscall.SIGTERM) }

// Kill ends the process with all that it started. It does not wait.
func (c *Child) Kill() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if c.host.proc != nil {
		c.host.proc.Kill(child.Signaled)
	}
}

// signal sends a signal to the process and what it started.
func (c *Child) signal(s syscall.Signal) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if c.host.proc != nil {
		c.host.proc.Signal(s)
	}
}

// ExitCode is how the process ended: its exit code or, as in Python, minus the number
// of the signal that killed it. ok is false as long as it has not ended.
func (c *Child) ExitCode() (code int, ok bool) {
	if c.Alive() {
		return 0, false
	}
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if s := c.host.ended.Signal; s != 0 {
		return -int(s), true
	}
	return c.host.ended.Code, true
}

// ActiveChildren lists the processes started by Func.Start in this process that have
// not ended, in the order of their start.
func ActiveChildren() []*Child {
	children.Lock()
	defer children.Unlock()
	return slices.DeleteFunc(slices.Clone(children.list), func(c *Child) bool { return !c.Alive() })
}

// joinChildren is the end of Main: it waits for those that are no daemons, unless
// ctx has ended, and ends the others.
func joinChildren(ctx context.Context) {
	stuck := make(map[*Child]bool)
	for ctx.Err() == nil {
		all := ActiveChildren()
		i := slices.IndexFunc(all, func(c *Child) bool { return !c.daemon && !stuck[c] })
		if i < 0 {
			break
		}
		if err := all[i].Join(strand.With(ctx, mainStrand())); err != nil && ctx.Err() == nil { // it waits for what main will never give
			fmt.Fprintln(os.Stderr, err)
			threads.failed.Store(true)
			stuck[all[i]] = true
		}
	}
	for _, c := range ActiveChildren() {
		c.Kill()
		c.Join(background)
	}
	endSlots()
}
