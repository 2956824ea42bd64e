package brood

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/brood-go/brood/internal/child"
	"github.com/brood-go/brood/internal/waits"
	"github.com/brood-go/brood/sched"
)

// PoolOptions configures a pool. The zero value works. What is marked with
// ProcessPool means nothing to goroutines, and NewThreadPool refuses it.
type PoolOptions struct {
	// Name is in the names of the workers; empty: "threads" or "processes".
	Name string
	// Workers is how many tasks run at once; 0: a ProcessPool has one for each CPU
	// (of the CPU quota), a ThreadPool four more, as its tasks often wait.
	Workers int
	// MaxPending bounds the tasks that wait or run: Submit waits for room, TrySubmit
	// returns ErrFull. 0: no bound.
	MaxPending int
	// TaskTimeout bounds the run of each task, without its time in the queue. It ends
	// with a *TimeoutError. 0: no bound.
	TaskTimeout time.Duration
	// Grace is how long a task that was cancelled or ran out of time may go on: then
	// its worker is killed, and a goroutine is abandoned. 0: 2 s; negative: none.
	Grace time.Duration
	// Encode makes a ThreadPool pass arguments and results through the codec, as a
	// ProcessPool does. Default: they are passed as they are, and may be shared.
	Encode bool

	// Memory bounds the memory of each worker of a ProcessPool with what it starts,
	// in bytes: one that needs more is killed. 0: no bound.
	Memory int64
	// MaxTasks is after how many tasks a worker of a ProcessPool is replaced, against
	// what leaks. 0: never.
	MaxTasks int
	// Initializer runs in each worker of a ProcessPool before its first task. An
	// error of it is a *StartError. nil: none.
	Initializer *Bound
	// StartTimeout bounds the start of a worker of a ProcessPool, with its
	// initializer. 0: 30 s.
	StartTimeout time.Duration
	// CrashRetries and ErrorRetries are how often a ProcessPool runs a task of an
	// Idempotent function again when its worker died, and when it returned an error.
	// 0: never.
	CrashRetries int
	// ErrorRetries: see CrashRetries.
	ErrorRetries int
	// IdleTimeout is after how long without work a worker of a ProcessPool ends; such
	// a pool starts workers as they are needed. 0: all are started at once and stay.
	IdleTimeout time.Duration
	// MinWorkers is how many stay in spite of IdleTimeout. 0: none.
	MinWorkers int
	// Spares is how many ready workers of a ProcessPool wait to take the place of one
	// that dies. 0: one; negative: none.
	Spares int
	// Policy is the order in which the tasks of a ProcessPool run that wait for a worker:
	// sched.FCFS, Priority (see WithPriority), SJF and LPT, or one of your own. Nothing is
	// ever paused, as a worker may hold locks: RR and MLFQ are FCFS here, and Preempt has no
	// effect. How long a task will run is told from those of the same Func that
	// succeeded in this pool: the mean of their times, by the clock, the last ones counting most.
	//
	// A worker then gets each task when the one before has ended, which takes some microseconds.
	// A policy serves one pool. It is called under a lock: it must not block, use the pool
	// or end the goroutine. One that panics, or runs nothing when nothing runs, breaks the pool:
	// tasks that wait or are submitted later end with an error that names it.
	// nil: in the order of submission.
	Policy sched.Policy
	// MaxPayload bounds the encoded argument and result of a task of a ProcessPool, in
	// bytes. 0: 4 GiB.
	MaxPayload int64
	// Output says what becomes of what the workers of a ProcessPool write to their
	// standard output and error. Default: OutputInherit.
	Output Output
	// LogHandler gets the records that workers of a ProcessPool log with slog's default
	// logger, with the worker's name and pid added: those of one worker one after another,
	// those of several at the same time. It may be slow: Close and Shutdown wait for it, but
	// no longer than the grace, and when more than 16 MiB wait for it, records are dropped,
	// and one says how many. nil: they log for themselves.
	LogHandler slog.Handler

	sockets  bool // use the way of transport of other platforms
	portable bool // and their way to start a process
}

// Output says what becomes of what worker processes write.
type Output int

// The ways.
const (
	// OutputInherit: it goes where this process's goes.
	OutputInherit Output = iota
	// OutputPrefix: the same, each line with the worker's name in front. A worker whose
	// lines nobody reads waits as soon as 64 KiB of them do.
	OutputPrefix
	// OutputCapture: its tail, 8 KiB, is kept for WorkerDied.Output and StartError.Output.
	OutputCapture
)

const (
	defaultGrace        = 2 * time.Second
	defaultStartTimeout = 30 * time.Second
	defaultMaxPayload   = 4 << 30
	extraThreads        = 4 // as CPython's ThreadPoolExecutor
)

// withDefaults fills in what the zero value stands for.
func (o PoolOptions) withDefaults() PoolOptions {
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Grace == 0:
		o.Grace = defaultGrace
	case o.Grace < 0:
		o.Grace = 0
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = defaultStartTimeout
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = defaultMaxPayload
	}
	switch {
	case o.Spares == 0:
		o.Spares = 1
	case o.Spares < 0:
		o.Spares = 0
	}
	if child.PortableOnly {
		o.sockets, o.portable = true, true
	}
	return o
}

// validate says what can't be meant.
func (o *PoolOptions) validate() error {
	switch {
	case o.Workers < 0:
		return fmt.Errorf("brood: PoolOptions: %d workers: use at least 1, or 0 for one per CPU", o.Workers)
	case o.MaxPending < 0 || o.MaxTasks < 0 || o.CrashRetries < 0 || o.ErrorRetries < 0 || o.MinWorkers < 0:
		return errors.New("brood: PoolOptions: MaxPending, MaxTasks, CrashRetries, ErrorRetries and MinWorkers can't be negative")
	case o.TaskTimeout < 0 || o.StartTimeout < 0 || o.IdleTimeout < 0:
		return errors.New("brood: PoolOptions: TaskTimeout, StartTimeout and IdleTimeout can't be negative: use 0 for the default")
	case o.Memory < 0 || o.MaxPayload < 0:
		return errors.New("brood: PoolOptions: Memory and MaxPayload can't be negative: use 0 for the default")
	case o.Memory > 0 && o.Memory < 4<<20:
		return fmt.Errorf("brood: PoolOptions.Memory: no Go program runs in %d bytes: the number is in bytes", o.Memory)
	case o.Output < OutputInherit || o.Output > OutputCapture:
		return fmt.Errorf("brood: PoolOptions.Output: there is no way %d", o.Output)
	}
	return nil
}

// gate lets tasks into a pool: as many as MaxPending, and none once it is closed.
type gate struct {
	room   *semaphore.Weighted // nil: no bound
	max    int64
	inside atomic.Int64 // tasks that passed; at most too small for a moment
	closed chan struct{}
	once   sync.Once
}

func newGate(maxPending int) *gate {
	g := &gate{closed: make(chan struct{})}
	if maxPending > 0 {
		g.room, g.max = semaphore.NewWeighted(int64(maxPending)), int64(maxPending)
	}
	return g
}

// shut refuses what has not passed. It returns false if it was shut before.
func (g *gate) shut() (first bool) {
	g.once.Do(func() { close(g.closed); first = true })
	return first
}

// pass waits for room. Who has passed calls took. Whoever makes room is in makers, if it is
// known who does.
func (g *gate) pass(ctx context.Context, makers ...waits.Target) error {
	if g.room == nil {
		return nil
	}
	if !g.room.TryAcquire(1) {
		if err := g.wait(ctx, makers); err != nil {
			return err
		}
	}
	g.inside.Add(1) // when nobody is said to wait any more
	return nil
}

// wait waits for room, or until the gate is shut.
func (g *gate) wait(ctx context.Context, makers []waits.Target) error {
	w, err := begin(ctx, makers)
	if err != nil {
		return err
	}
	defer w.End()
	ctx = w.Context(ctx)
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-g.closed:
			stop(ErrClosed)
		case <-waiting.Done():
		}
	}()
	if g.room.Acquire(waiting, 1) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return sleepError(ctx)
	}
	return ErrClosed
}

// hasRoom reports whether one could pass.
func (g *gate) hasRoom() bool { return g.room == nil || g.inside.Load() < g.max }

// tryPass is pass without waiting.
func (g *gate) tryPass() error {
	select {
	case <-g.closed:
		return ErrClosed
	default:
	}
	if g.room == nil {
		return nil
	}
	if !g.room.TryAcquire(1) {
		return ErrFull
	}
	g.inside.Add(1)
	return nil
}

// took gives the room back: when t is settled or, with an error, now, as the pool has not
// taken it.
func (g *gate) took(t *Task, err error) {
	switch {
	case g.room == nil:
	case err != nil:
		g.leave()
	default:
		t.whenSettled(g.leave)
	}
}

func (g *gate) leave() {
	g.inside.Add(-1) // before anybody can be let in
	g.room.Release(1)
}
