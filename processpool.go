package brood

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/link"
	"github.com/brood-go/brood/internal/wire"
)

// ProcessPool runs tasks in worker processes, which are copies of this program: a
// task that crashes, leaks or hangs takes its worker with it and nothing else. Make
// it with NewProcessPool and end it with Close or Shutdown; a pool that is dropped
// without is shut down when the garbage collector finds it: the tasks that it has
// still end. Its methods may be called by any goroutine.
//
// A worker costs its parent one OS thread, which starts it and waits for its end.
type ProcessPool struct{ p *pool }

// pool is a ProcessPool without the handle whose loss shuts it down. The handle's
// methods keep it alive until they return.
//
// # How a task travels
//
// The parent assigns every task. Execute encodes the argument and puts the call into
// the ring of the worker with the fewest calls, at most prefetch of them, or queues
// it. Whoever reads that worker's outcomes puts the next calls in. A call that waits
// in a ring is still the parent's: it is taken back (one compare-and-swap against the
// worker's taking it) when it is cancelled, when another worker has nothing to do, or
// when its worker dies. What a worker has taken is its running task, and that alone
// shares its fate.
//
// With a policy (order.go) a worker has one call at a time: one in a ring has had its
// turn, so that none may be there ahead of it. Every task goes through the order; what comes
// back from a ring without having run waits in the queue, which is served before.
//
// # Who reads a worker's outcomes
//
// One reader for each worker at a time; host.reader, guarded by mu, says which. A
// synchronous Call to an idle worker reads itself: no goroutine has to be woken.
// Otherwise it is the worker's own goroutine, kicked by who puts the first call in. A
// reader leaves under mu and only when no call is in flight, or hands over to the
// goroutine; who puts a call in under mu sees a reader, or becomes or kicks one. So
// while there is a call in flight, somebody reads. After a death the reader drains
// what was committed and buries the worker; without a reader, who noticed the death
// becomes it.
//
// # The table of workers
//
// reconcile compares what is wanted with what is there, whenever anything has
// changed, and starts, promotes and retires workers. It counts no events, so that it
// can neither miss one nor act on one twice.
type pool struct {
	o      PoolOptions
	gate   *gate
	outbox *link.Outbox // large arguments; nil without rings
	once   bool         // one task in one process, for Func.Start
	only   *host        // that one, once it is to be started; under mu
	parent identity

	initKind wire.Kind // the encoded argument of the initializer
	initArg  []byte

	mu        sync.Mutex
	queue     taskQueue
	order     *order       // of what waits; nil without a policy: that of submission
	queued    int          // in queue or order, and not cancelled
	settling  atomic.Int64 // tasks that left queue and rings under mu, and have no outcome yet
	hosts     []*host
	want      int // serving workers, by Workers or Resize
	made      int // processes ever started
	nextID    uint64
	draining  atomic.Bool // set under mu
	closing   bool
	broken    error
	failures  int       // of starts, weighted, since a worker's first outcome
	failedAt  time.Time // the last of them
	shortages int       // how many of the last starts failed because the system was out of something
	retryAt   time.Time // no start before
	wakeAt    time.Time // when the supervisor is due; zero: never
	timer     *time.Timer
	finished  chan struct{} // closed once closing and every process is gone

	tally  tally
	deaths map[string]int
}

// prefetch is how many calls are put into the ring of one worker, with the one
// that it runs. It is what keeps a worker busy while its parent is not looking. Over a
// socket, and with a policy, it is one.
const prefetch = 64

// NewProcessPool makes a pool of worker processes. The program must have called
// Main or Init. It does not wait for the workers: what is wrong with them shows in
// the tasks, as *StartError.
func NewProcessPool(o PoolOptions) (*ProcessPool, error) {
	if err := mayStart(); err != nil {
		return nil, err
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Encode {
		return nil, errors.New("brood: NewProcessPool: PoolOptions.Encode is for a ThreadPool: between processes everything is encoded")
	}
	o = o.withDefaults()
	if o.Name == "" {
		o.Name = "processes"
	}
	if o.MinWorkers > o.Workers {
		return nil, fmt.Errorf("brood: PoolOptions: MinWorkers (%d) is more than Workers (%d)", o.MinWorkers, o.Workers)
	}
	var turns *order
	if o.Policy != nil {
		var err error
		if turns, err = newOrder(o.Policy); err != nil {
			return nil, err
		}
	}
	p, err := newPool(o)
	if err != nil {
		return nil, err
	}
	if turns != nil {
		p.order, turns.broke = turns, p.policyFailed
	}
	if init := o.Initializer; init != nil {
		var b []byte
		if p.initKind, b, err = init.encode(); err != nil {
			return nil, encodingError(init.entry, "argument", err)
		}
		p.initArg = slices.Clone(b)
	}
	p.mu.Lock()
	p.reconcile(time.Now())
	p.mu.Unlock()
	handle := &ProcessPool{p}
	runtime.AddCleanup(handle, func(p *pool) { go p.drain() }, p)
	return handle, nil
}

// Execute implements Executor.
func (h *ProcessPool) Execute(ctx context.Context, t *Task) error {
	defer runtime.KeepAlive(h)
	return h.p.Execute(ctx, t)
}

// TryExecute implements Executor.
func (h *ProcessPool) TryExecute(t *Task) error {
	defer runtime.KeepAlive(h)
	return h.p.TryExecute(t)
}

func (h *ProcessPool) callDirect(ctx context.Context, t *Task) {
	defer runtime.KeepAlive(h)
	h.p.callDirect(ctx, t)
}

// window is how many calls of a Map keep the pool busy.
func (h *ProcessPool) window() int {
	defer runtime.KeepAlive(h)
	return h.p.window()
}

// Resize changes the number of workers. Those that are too many end once they run
// nothing; calls that wait in their rings go to the others.
func (h *ProcessPool) Resize(workers int) error {
	defer runtime.KeepAlive(h)
	return h.p.Resize(workers)
}

// Shutdown takes no more tasks, waits until those it has have ended, and ends the
// workers. When ctx ends first its error is returned, and the tasks go on: Close
// then ends them.
func (h *ProcessPool) Shutdown(ctx context.Context) error {
	defer runtime.KeepAlive(h)
	return h.p.Shutdown(ctx)
}

// Close takes no more tasks, ends those that wait with ErrClosed, cancels those that
// run and kills their workers after the grace. It returns when every worker process
// is gone.
func (h *ProcessPool) Close() error {
	defer runtime.KeepAlive(h)
	return h.p.Close()
}

// Stats says how the pool is doing.
func (h *ProcessPool) Stats() Stats {
	defer runtime.KeepAlive(h)
	return h.p.Stats()
}

// newPool makes a pool without workers.
func newPool(o PoolOptions) (*pool, error) {
	buildID() // now, and not when there may be no descriptor to read it with
	p := &pool{o: o, gate: newGate(o.MaxPending), want: o.Workers, finished: make(chan struct{}), deaths: make(map[string]int)}
	if !o.sockets {
		p.outbox = link.NewOutbox()
	}
	p.parent = identityOf(mainStrand())
	return p, nil
}

func identityOf(s *Strand) identity {
	return identity{ID: s.ID, Name: s.Name, Kind: uint8(s.Kind), PID: s.PID}
}

func (p *pool) Execute(ctx context.Context, t *Task) error {
	if err := p.gate.pass(ctx); err != nil {
		return err
	}
	err := p.take(t)
	p.gate.took(t, err)
	return err
}

func (p *pool) TryExecute(t *Task) error {
	if err := p.gate.tryPass(); err != nil {
		return err
	}
	err := p.take(t)
	p.gate.took(t, err)
	return err
}

func (p *pool) window() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(2*prefetch, 2*p.want)
}

func (p *pool) Resize(workers int) error {
	if workers < 1 {
		return fmt.Errorf("brood: Resize(%d): use at least 1", workers)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.refuse(); err != nil {
		return err
	}
	p.want = workers
	p.o.MinWorkers = min(p.o.MinWorkers, workers)
	p.reconcile(time.Now())
	return nil
}

// drain takes no more tasks, and closes the pool when those it has have ended.
func (p *pool) drain() {
	p.gate.shut()
	p.mu.Lock()
	p.draining.Store(true)
	p.mu.Unlock()
	p.checkDrained()
}

func (p *pool) Shutdown(ctx context.Context) error {
	p.drain()
	select {
	case <-p.finished:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

func (p *pool) Close() error {
	p.gate.shut()
	p.mu.Lock()
	p.beginClose()
	all := slices.Clone(p.queue.items[p.queue.head:])
	if p.order != nil {
		all = slices.AppendSeq(all, maps.Values(p.order.waiting))
	}
	for _, h := range p.hosts {
		for _, f := range h.flights {
			all = append(all, f.task)
		}
	}
	p.mu.Unlock()
	for _, t := range all {
		t.cancel(ErrClosed)
	}
	<-p.finished
	return nil
}

// beginClose is the point from which no worker is started. Called with mu held.
func (p *pool) beginClose() {
	if !p.closing {
		p.closing = true
		p.reconcile(time.Now())
	}
}

// checkDrained closes a pool that is shut down and has no task left.
func (p *pool) checkDrained() {
	if !p.draining.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || p.queued > 0 || p.settling.Load() > 0 {
		return
	}
	for _, h := range p.hosts {
		if len(h.flights) > 0 {
			return
		}
	}
	p.beginClose()
}

func (p *pool) Stats() Stats {
	p.mu.Lock()
	s := Stats{Workers: p.want, Queued: p.queued, Done: p.tally.done.Load(), Failed: p.tally.failed.Load(), Deaths: make(map[string]int)}
	for why, n := range p.deaths {
		s.Deaths[why] = n
	}
	for _, h := range p.hosts {
		if h.pid == 0 {
			continue
		}
		w := WorkerStats{PID: h.pid, Name: h.name, State: h.describe(), Tasks: h.served}
		if len(h.flights) > 0 && h.tx.Taken(h.flights[0].at) {
			s.Running++
			s.Queued += len(h.flights) - 1
			w.Running = h.flights[0].task.Func()
		} else {
			s.Queued += len(h.flights)
		}
		s.Processes = append(s.Processes, w)
	}
	p.mu.Unlock()
	for i := range s.Processes {
		s.Processes[i].measure()
	}
	slices.SortFunc(s.Processes, func(a, b WorkerStats) int { return cmp.Compare(a.PID, b.PID) })
	return s
}
