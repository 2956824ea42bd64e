package brood

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/strand"
)

// ThreadPool runs tasks in goroutines of this process: a bounded number at once,
// with names, and a panic is an outcome. It is the executor for work that waits
// more than it computes, and for tests. Unlike a ProcessPool it can't end a function
// that does not return. Make it with NewThreadPool; its methods may be called by any
// goroutine.
//
// A goroutine takes tasks until there is none, and then ends: an idle pool costs
// nothing and need not be closed.
type ThreadPool struct {
	o    PoolOptions
	gate *gate

	mu      sync.Mutex
	queue   taskQueue
	workers []*threadWorker // those without a goroutine; the last is used first
	made    int             // workers in existence
	named   int             // and ever; none gets the name of one that is gone
	limit   int
	queued  int                        // tasks in queue that nobody has cancelled
	crew    map[*threadWorker]struct{} // workers with a goroutine
	closing bool
	drained chan struct{} // closed once closing and nothing is left; nil before

	tally tally
}

// threadWorker is a name for the goroutines that take it, one at a time.
type threadWorker struct {
	strand    *strand.Strand
	goroutine uint64               // that it is at present; only its own
	task      atomic.Pointer[Task] // that it runs; set under mu
}

// What a pool keeps in a task.
type poolTask struct {
	phase   atomic.Int32 // in a ThreadPool
	waiting bool         // in a ProcessPool's queue and not cancelled; under its mu
	untaken int8         // how many workers did not even take it
	crashes int32        // how often a worker died of it, or while it ran it
	errors  int32        // how often it returned an error

	// For those who wait for it: the goroutine that runs it, in a ThreadPool and once it
	// runs; in a ProcessPool its tag, once somebody asks.
	who atomic.Uint64

	parcel  *parcel   // the files that the argument carries
	host    *host     // in whose ring it is; under the pool's mu
	payload payload   // the encoded argument, in a ProcessPool
	raw     rawResult // the encoded result
	small   [16]byte  // room for it
}

// The phases of a task in a pool.
const (
	phaseQueued = iota
	phaseRunning
	phaseGone // cancelled while it was queued
)

// NewThreadPool makes a pool of goroutines.
func NewThreadPool(o PoolOptions) (*ThreadPool, error) {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0) + extraThreads
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Memory != 0 || o.MaxTasks != 0 || o.Initializer != nil || o.CrashRetries != 0 || o.ErrorRetries != 0 || o.IdleTimeout != 0 || o.MinWorkers != 0 || o.Spares != 0 || o.MaxPayload != 0 || o.Output != OutputInherit || o.LogHandler != nil || o.StartTimeout != 0 || o.Policy != nil {
		return nil, errors.New("brood: NewThreadPool: an option is set that only a ProcessPool has: see PoolOptions")
	}
	o = o.withDefaults()
	if o.Name == "" {
		o.Name = "threads"
	}
	return &ThreadPool{o: o, gate: newGate(o.MaxPending), limit: o.Workers, crew: make(map[*threadWorker]struct{})}, nil
}

// Execute implements Executor.
func (p *ThreadPool) Execute(ctx context.Context, t *Task) error {
	if err := p.gate.pass(ctx, awaitedRoom{p}); err != nil {
		return err
	}
	err := p.take(t)
	p.gate.took(t, err)
	return err
}

// TryExecute implements Executor.
func (p *ThreadPool) TryExecute(t *Task) error {
	if err := p.gate.tryPass(); err != nil {
		return err
	}
	err := p.take(t)
	p.gate.took(t, err)
	return err
}

// take queues a task, and starts a goroutine for it if one is free.
func (p *ThreadPool) take(t *Task) error {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		return ErrClosed
	}
	t.tally = &p.tally
	p.queue.push(t)
	p.queued++
	w := p.idleWorker()
	p.mu.Unlock()
	t.enter(p)
	if w != nil {
		go p.work(w)
	}
	return nil
}

// idleWorker takes a worker that has no goroutine, nil if all have one. Called with
// mu held.
func (p *ThreadPool) idleWorker() *threadWorker {
	if len(p.crew) >= p.limit {
		return nil
	}
	var w *threadWorker
	if n := len(p.workers); n > 0 {
		w = p.workers[n-1]
		p.workers = p.workers[:n-1]
	} else {
		p.made++
		p.named++
		w = &threadWorker{strand: strand.New(strand.Task, fmt.Sprintf("%s-%d", p.o.Name, p.named))}
	}
	p.crew[w] = struct{}{}
	return w
}

// work runs tasks until there is none. A task may end the goroutine by
// runtime.Goexit: then another goes on in its place.
func (p *ThreadPool) work(w *threadWorker) {
	whole := false
	w.goroutine = strand.Goroutine()
	defer func() {
		if !whole {
			go p.work(w)
		}
	}()
	for {
		t := p.next(w)
		if t == nil {
			whole = true
			return
		}
		p.run(w, t)
	}
}

// next takes a task that nobody has cancelled. Without one the worker is given
// back, and the goroutine must end.
func (p *ThreadPool) next(w *threadWorker) *Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.queue.len() > 0 && len(p.crew) <= p.limit {
		t := p.queue.pop()
		if t.pool.phase.CompareAndSwap(phaseQueued, phaseRunning) {
			p.queued--
			w.task.Store(t)
			return t
		}
		p.queue.dead--
	}
	delete(p.crew, w)
	if p.made > p.limit {
		p.made--
	} else {
		p.workers = append(p.workers, w)
	}
	p.checkDrained()
	return nil
}

// run runs one task. What is deferred happens also after runtime.Goexit.
func (p *ThreadPool) run(w *threadWorker, t *Task) {
	t.ctx.strand = w.strand
	t.pool.who.Store(w.goroutine)
	if t.ctx.parent.Err() != nil { // it ended while this goroutine was busy
		t.contextEnded()
	}
	if p.o.TaskTimeout > 0 {
		timer := time.AfterFunc(p.o.TaskTimeout, func() {
			t.cancel(&TimeoutError{Task: t.Func(), Timeout: p.o.TaskTimeout})
		})
		defer timer.Stop()
	}
	defer w.task.Store(nil)
	t.body.run(&t.ctx, p.o.Encode)
}

// cancelTask implements place.
func (p *ThreadPool) cancelTask(t *Task, cause error) {
	if t.pool.phase.CompareAndSwap(phaseQueued, phaseGone) {
		p.mu.Lock()
		p.queued--
		if !p.closing || p.queue.len() > 0 {
			p.queue.bury(func(t *Task) bool { return t.pool.phase.Load() == phaseQueued })
		}
		p.checkDrained()
		p.mu.Unlock()
		t.body.dropArg()
		t.fail(cause)
		return
	}
	t.ctx.cancel(unwrapContext(cause))
	abandon := time.AfterFunc(p.o.Grace, func() {
		if timeout, ok := cause.(*TimeoutError); ok {
			t.fail(&TimeoutError{Task: timeout.Task, Timeout: timeout.Timeout, Err: ErrAbandoned})
			return
		}
		t.fail(&joinedError{cause, ErrAbandoned})
	})
	t.whenSettled(func() { abandon.Stop() })
}

// taskRuns implements place.
func (p *ThreadPool) taskRuns(t *Task) bool { return t.pool.phase.Load() == phaseRunning }

// window is how many calls of a Map keep the pool busy.
func (p *ThreadPool) window() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return 2*p.limit + 16
}

// Resize changes how many tasks run at once. Those that run go on. Tasks that wait for others
// of the pool are not told that too few workers are left for those.
func (p *ThreadPool) Resize(workers int) error {
	if workers < 1 {
		return fmt.Errorf("brood: Resize(%d): use at least 1", workers)
	}
	p.mu.Lock()
	p.limit = workers
	var start []*threadWorker
	for range min(p.queued, workers) {
		if w := p.idleWorker(); w != nil {
			start = append(start, w)
		}
	}
	p.mu.Unlock()
	for _, w := range start {
		go p.work(w)
	}
	return nil
}

// Shutdown takes no more tasks and waits until those it has have ended, or until
// ctx ends: then its error is returned, and the tasks go on.
func (p *ThreadPool) Shutdown(ctx context.Context) error {
	p.gate.shut()
	p.mu.Lock()
	p.closing = true
	drained := p.whenDrained()
	p.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// Close takes no more tasks, ends those that wait with ErrClosed, cancels those that
// run, and waits until they have returned or, after the grace, are abandoned.
func (p *ThreadPool) Close() error {
	p.gate.shut()
	p.mu.Lock()
	p.closing = true
	var queued []*Task
	for p.queue.len() > 0 {
		queued = append(queued, p.queue.pop())
	}
	running := p.running()
	p.mu.Unlock()
	for _, t := range append(queued, running...) {
		t.cancel(ErrClosed)
	}
	for _, t := range running {
		<-t.doneChan()
	}
	return nil
}

// running lists the tasks that run. Called with mu held.
func (p *ThreadPool) running() (all []*Task) {
	for w := range p.crew {
		if t := w.task.Load(); t != nil {
			all = append(all, t)
		}
	}
	return all
}

// whenDrained is closed once nothing waits or runs. Called with mu held.
func (p *ThreadPool) whenDrained() <-chan struct{} {
	if p.drained == nil {
		p.drained = make(chan struct{})
		p.checkDrained()
	}
	return p.drained
}

// checkDrained closes drained if it is time. Called with mu held.
func (p *ThreadPool) checkDrained() {
	if p.drained == nil || p.queued > 0 || len(p.crew) > 0 {
		return
	}
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}

// Stats says how the pool is doing.
func (p *ThreadPool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Workers: p.limit, Queued: p.queued, Running: len(p.running()), Done: p.tally.done.Load(), Failed: p.tally.failed.Load()}
}
