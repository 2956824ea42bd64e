package brood

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	parent identity

	mu       sync.Mutex
	queue    fifo[*Task]
	queued   int // in queue and not cancelled
	hosts    []*host
	want     int // serving workers, by Workers or Resize
	made     int // processes ever started
	nextID   uint64
	draining atomic.Bool // set under mu
	closing  bool
	broken   error
	failures int       // of starts, since the last worker that got ready
	retryAt  time.Time // no start before
	wakeAt   time.Time // when the supervisor is due; zero: never
	timer    *time.Timer
	finished chan struct{} // closed once closing and every process is gone

	tally  tally
	deaths map[string]int
}

// prefetch is how many calls are put into the ring of one worker, with the one
// that it runs. It is what keeps a worker busy while its parent is not looking.
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
	p, err := newPool(o)
	if err != nil {
		return nil, err
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

// payload is an encoded argument.
type payload struct {
	kind   wire.Kind
	inline []byte
	held   *link.Held // in memory of its own; nil for inline
}

func (y *payload) release() {
	if y != nil && y.held != nil {
		y.held.Release()
		y.held = nil
	}
}

// prepare encodes the argument. The bytes no longer depend on the caller's.
func (p *pool) prepare(t *Task) error {
	y := &t.pool.payload
	k, b, err := t.body.encode()
	if err != nil {
		return encodingError(t.body.fn(), "argument", err)
	}
	if int64(len(b)) > p.o.MaxPayload {
		return fmt.Errorf("%w: the argument of %s has %d bytes, PoolOptions.MaxPayload is %d", ErrTooLarge, t.Func(), len(b), p.o.MaxPayload)
	}
	y.kind, y.inline = k, b
	if p.outbox != nil && len(b) >= link.Large {
		if y.held, err = p.outbox.Hold(b); err != nil {
			return fmt.Errorf("brood: the argument of %s has %d bytes: %w", t.Func(), len(b), err)
		}
		y.inline = nil
		t.whenSettled(y.release)
	} else if k == wire.Bytes {
		y.inline = slices.Clone(b)
	}
	return nil
}

func (p *pool) Execute(ctx context.Context, t *Task) error {
	if err := p.gate.pass(ctx, t); err != nil {
		return err
	}
	return p.take(t)
}

func (p *pool) TryExecute(t *Task) error {
	if err := p.gate.tryPass(t); err != nil {
		return err
	}
	return p.take(t)
}

// take prepares a task and gives it to a worker or queues it.
func (p *pool) take(t *Task) error {
	if err := p.prepare(t); err != nil {
		t.fail(err)
		return nil
	}
	p.mu.Lock()
	if err := p.refuse(); err != nil {
		p.mu.Unlock()
		return err
	}
	h := p.assign(t)
	kick := h != nil && h.claimReader(readerLoop)
	p.mu.Unlock()
	t.enter(p)
	if h != nil {
		h.ring()
		if kick {
			h.kick <- struct{}{}
		}
	}
	return nil
}

// callDirect implements direct: if there is an idle worker, the caller reads its
// outcomes until its own is there.
func (p *pool) callDirect(ctx context.Context, t *Task) {
	if err := p.gate.pass(ctx, t); err != nil {
		t.fail(err)
		return
	}
	if err := p.prepare(t); err != nil {
		t.fail(err)
		return
	}
	p.mu.Lock()
	if err := p.refuse(); err != nil {
		p.mu.Unlock()
		t.fail(err)
		return
	}
	h := p.assign(t)
	mine := h != nil && h.claimReader(readerCall)
	p.mu.Unlock()
	t.enter(p)
	if h == nil {
		return // the caller waits for the future
	}
	h.ring()
	if mine {
		h.readFor(ctx, t)
	}
}

// refuse says why no more tasks are taken. Called with mu held.
func (p *pool) refuse() error {
	if p.closing || p.draining.Load() {
		return ErrClosed
	}
	return p.broken
}

// assign puts a task into a worker's ring and returns the worker, whose ways the
// caller releases, or queues it and returns nil. Called with mu held.
func (p *pool) assign(t *Task) *host {
	t.tally = &p.tally
	if p.queued == 0 {
		if h := p.leastBusy(); h != nil && p.put(h, t) {
			if h.state != hostServing { // that was its last one
				p.reconcile(time.Now())
			}
			h.ways.Retain()
			return h
		}
	}
	p.queue.push(t)
	p.queued++
	if p.o.IdleTimeout > 0 || p.once {
		p.reconcile(time.Now())
	}
	return nil
}

// leastBusy is the serving worker with the fewest calls, nil if all are full. Called
// with mu held.
func (p *pool) leastBusy() *host {
	var best *host
	for _, h := range p.hosts {
		if h.hasRoom() && (best == nil || len(h.flights) < len(best.flights)) {
			if len(h.flights) == 0 {
				return h
			}
			best = h
		}
	}
	return best
}

// put puts a call into the ring of h, without waking it; false if it is full. Called
// with mu held.
func (p *pool) put(h *host, t *Task) bool {
	y := &t.pool.payload
	p.nextID++
	req := wire.Request{ID: p.nextID, Func: t.body.fn().index, Kind: y.kind}
	if d, ok := t.ctx.parent.Deadline(); ok {
		req.Deadline = d.UnixNano()
	}
	body := y.inline
	if y.held != nil {
		req.Where = wire.Apart
		body = h.ways.Introduce(y.held)
	}
	at, ok := h.tx.Append2(req.Append(h.head[:0]), body)
	if !ok {
		return false
	}
	h.flights = append(h.flights, flight{task: t, id: req.ID, at: at})
	h.assigned++
	if len(h.flights) == 1 {
		p.becameHead(h, time.Now)
	}
	if p.o.MaxTasks > 0 && h.assigned >= p.o.MaxTasks {
		h.state = hostRetiring
	}
	return true
}

// becameHead notes since when the first call of h can run. Called with mu held.
func (p *pool) becameHead(h *host, now func() time.Time) {
	if p.o.TaskTimeout > 0 {
		h.flights[0].since = now()
		p.wakeBy(h.flights[0].since.Add(p.o.TaskTimeout))
	}
}

// next is the oldest task that waits and was not cancelled, nil without one. Called
// with mu held.
func (p *pool) next() *Task {
	for p.queue.len() > 0 {
		if t := p.queue.pop(); t.pool.phase.Load() != phaseGone {
			p.queued--
			return t
		}
	}
	return nil
}

// feed gives h what it has room for, from the queue, or if that is empty and h is
// idle from the worker that has most. It reports whether h is to be woken. Called
// with mu held.
func (p *pool) feed(h *host) (fed bool) {
	for h.hasRoom() {
		t := p.next()
		if t == nil {
			break
		}
		if !p.put(h, t) {
			p.queue.pushFront(t)
			p.queued++
			break
		}
		fed = true
	}
	if len(h.flights) == 0 && h.hasRoom() {
		fed = p.steal(h) || fed
	}
	return fed
}

// steal moves half of the calls that wait in the fullest ring to h, the latest
// first, so that none waits behind a long one while a worker is idle.
func (p *pool) steal(h *host) (stolen bool) {
	var from *host
	for _, v := range p.hosts {
		if len(v.flights) > 1 && (from == nil || len(v.flights) > len(from.flights)) {
			from = v
		}
	}
	if from == nil {
		return false
	}
	var taken []*Task
	for n := len(from.flights) / 2; n > 0; n-- {
		last := len(from.flights) - 1
		f := from.flights[last]
		if f.cause != nil || !from.tx.Revoke(f.at) {
			break
		}
		from.flights = from.flights[:last]
		from.assigned--
		taken = append(taken, f.task)
	}
	for i, t := range slices.Backward(taken) {
		if !h.hasRoom() || !p.put(h, t) {
			for _, t := range taken[:i+1] { // the latest first: each goes before it
				p.queue.pushFront(t)
				p.queued++
			}
			break
		}
		stolen = true
	}
	return stolen
}

// cancelTask implements place.
func (p *pool) cancelTask(t *Task, cause error) {
	p.mu.Lock()
	for _, h := range p.hosts {
		i := slices.IndexFunc(h.flights, func(f flight) bool { return f.task == t })
		if i < 0 {
			continue
		}
		if h.tx.Revoke(h.flights[i].at) {
			h.flights = slices.Delete(h.flights, i, i+1)
			h.assigned--
			t.pool.phase.Store(phaseGone)
			if len(h.flights) == 0 {
				p.becameIdle(h)
			}
			break
		}
		p.cancelFlight(h, i, cause)
		h.ways.Retain()
		p.mu.Unlock()
		h.rx.Wake() // a Call that reads for itself has to look at its context
		h.ways.Release()
		return
	}
	if t.pool.phase.CompareAndSwap(phaseQueued, phaseGone) {
		p.queued--
	}
	if p.once {
		p.beginClose() // the process has nothing to do
	}
	p.mu.Unlock()
	t.fail(cause)
	p.checkDrained()
}

// cancelFlight ends the context of a call that a worker has taken, and has the
// worker killed after the grace. Called with mu held.
func (p *pool) cancelFlight(h *host, i int, cause error) {
	f := &h.flights[i]
	f.cause = cause
	f.killAt = time.Now().Add(p.o.Grace)
	h.cancelRemote(f.id)
	if p.o.Grace <= 0 {
		h.kill()
		return
	}
	p.wakeBy(f.killAt)
}

// taskRuns implements place.
func (p *pool) taskRuns(t *Task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.hosts {
		for _, f := range h.flights {
			if f.task == t {
				return h.tx.Taken(f.at)
			}
		}
	}
	return false
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
	var all []*Task
	for t := p.next(); t != nil; t = p.next() {
		t.pool.phase.Store(phaseGone)
		all = append(all, t)
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
	if p.closing || p.queued > 0 {
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
