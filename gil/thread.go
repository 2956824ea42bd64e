package gil

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
)

// Thread is a goroutine as a GIL knows it: CPython's PyThreadState. It is for the goroutine
// that attached it. Any other one that calls its methods, but for Holds and Name, panics where
// that is seen: on amd64 and arm64 in every Release and Unlocked, and wherever it would wait;
// elsewhere, where a goroutine's number is dear, when two wait at once.
type Thread struct {
	state     *atomic.Uint64 // the lock's state, bare, so that what is fast can be inlined; unknown at first
	lock      *lock
	waiter    waiter
	goroutine uint64
	word      atomic.Uint64
	gil       *GIL
	name      string
}

// unknown is the state that a Thread sees until it has acquired with a context, whose strand is then
// told of the GIL: it is nobody's and not free, so that all that is fast fails.
var unknown = func() *atomic.Uint64 {
	word := new(atomic.Uint64)
	word.Store(flags)
	return word
}()

// checks says that a goroutine's number costs next to nothing.
const checks = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// Name is the thread's name.
func (t *Thread) Name() string { return t.name }

// Holds reports whether the thread has the GIL. Anybody may ask.
func (t *Thread) Holds() bool { return t.lock.holds(&t.waiter) }

// Acquire waits until the thread has the GIL. A free GIL is taken at once. Those who wait get it in
// the order in which they came. When one has waited for the switch interval, whoever has the GIL is
// asked to give way, and nobody overtakes any more.
//
// The error matches the cause of the end of ctx, or is a [*DeadlockError]; the thread does not
// have the GIL then. A free GIL is taken also if ctx has ended. A thread that has the GIL
// already panics.
func (t *Thread) Acquire(ctx context.Context) error {
	if t.state.CompareAndSwap(0, t.waiter.mine) { // lock.try
		return nil
	}
	return t.acquireSlow(ctx)
}

// TryAcquire takes the GIL if that is free, and reports whether it did. It does not overtake one
// who has waited for the switch interval. It has no context: see [Thread.Recovered]. A
// thread that has the GIL already panics.
func (t *Thread) TryAcquire() bool {
	if t.state.CompareAndSwap(0, t.waiter.mine) {
		return true
	}
	t.mayAcquire("TryAcquire")
	return t.lock.overtake(&t.waiter)
}

// Recovered reports whether the thread has the GIL from one that ended and had not released it, so
// that what the GIL protects may be half done. It is so until the thread gives it up.
//
// What is known to end is a strand: a task of a pool or of a coro.Loop, a thread of brood.Go. If it
// acquires the GIL by its context, in its own goroutine, and returns without a release, the GIL
// is taken back, and the outcome names it. A Thread is the strand's by whose context it
// acquires first. The end of any other goroutine is not seen: neither of one that a strand
// has started, nor of one that got the GIL by TryAcquire alone.
func (t *Thread) Recovered() bool { return t.Holds() && t.waiter.recovered }

// mayAcquire panics if the thread is another goroutine's, or has the GIL.
func (t *Thread) mayAcquire(what string) {
	if checks && strand.Goroutine() != t.goroutine {
		t.foreign(what)
	}
	if t.Holds() {
		panic(fmt.Sprintf("gil: %v acquires %v, which it has already", t, t.gil))
	}
}

func (t *Thread) acquireSlow(ctx context.Context) error {
	t.mayAcquire("Acquire")
	if t.state == unknown {
		t.state = t.lock.state.Pointer()
		if s := strand.From(ctx); s != nil && s.Kind != strand.Main { // whose end is the program's
			strand.Holds(s, keeper{t.gil})
		}
	}
	if t.lock.overtake(&t.waiter) || t.lock.join(&t.waiter) {
		return nil
	}
	return t.await(ctx)
}

// Release gives up the GIL. If others wait, the one that came first is woken, or handed the GIL if
// it has waited for the switch interval. A thread that does not have it panics.
func (t *Thread) Release() {
	if checks && strand.Goroutine() != t.goroutine {
		t.foreign("Release")
	}
	t.waiter.recovered = false
	if !t.state.CompareAndSwap(t.waiter.mine, 0) {
		t.releaseSlow()
	}
}

func (t *Thread) releaseSlow() {
	t.mustHold("Release")
	t.lock.release(&t.waiter)
}

// Check is a safe point: a place where the thread can do without the GIL for a while. Code that
// computes calls it often, between two steps of which each must not be interrupted. If
// nobody has waited for the switch interval it returns at once, for one load, or a few
// nanoseconds if somebody waits. Otherwise it gives the GIL to the thread that has waited longest,
// and waits behind all who wait until it has it back.
//
// An error is that of Acquire, and the thread does not have the GIL any more. Check does not
// look at ctx if it does not wait. A thread that does not have the GIL panics.
func (t *Thread) Check(ctx context.Context) error {
	if t.state.Load() == t.waiter.mine {
		return nil
	}
	return t.checkSlow(ctx)
}

func (t *Thread) checkSlow(ctx context.Context) error {
	s := t.lock.state.Load()
	if s == t.waiter.mine || owner(s) == t.goroutine && t.lock.patient(&t.waiter, s) {
		return nil
	}
	if checks && strand.Goroutine() != t.goroutine {
		t.foreign("Check")
	}
	t.mustHold("Check")
	if !t.lock.giveWay(&t.waiter) {
		return nil
	}
	return t.await(ctx)
}

// Unlocked calls f without the GIL, and waits until the thread has it back: for what blocks, or
// computes without touching what the GIL protects. It is CPython's
// Py_BEGIN_ALLOW_THREADS and Py_END_ALLOW_THREADS. The GIL is taken back also when f panics or
// calls runtime.Goexit.
//
// An error is that of Acquire: f was called, and the thread does not have the GIL any more, so it
// touches nothing that the GIL protects. It may return from GIL.Do like that, or Acquire it again
// with another context. (A thread that panics meanwhile has it or not, as Holds says.) A
// thread that does not have the GIL panics, before f is called.
func (t *Thread) Unlocked(ctx context.Context, f func()) (err error) {
	t.Release()
	defer func() { err = t.Acquire(ctx) }()
	f()
	return nil
}

// await waits for what the thread has joined the queue for.
func (t *Thread) await(ctx context.Context) error {
	wait, err := t.note(ctx)
	if err == nil {
		err = t.lock.wait(wait.Context(ctx), &t.waiter)
		wait.End() // before it accepts: see target.Holders
	}
	// Who was handed the GIL in a circle was in none.
	if err = t.lock.settle(&t.waiter, err, isDeadlock(err)); err != nil {
		return fmt.Errorf("gil: %v waits for %v: %w", t, t.gil, err)
	}
	return nil
}

// note says that the thread is about to wait.
func (t *Thread) note(ctx context.Context) (*waits.Wait, error) {
	if t.gil.options.NoDeadlockDetection {
		return nil, nil
	}
	s := strand.From(ctx)
	if t.name != "" {
		s = &strand.Strand{Name: t.name, Kind: strand.Thread}
	}
	return waits.Begin(ctx, waits.Agent{Goroutine: t.goroutine, Strand: s}, target{t.gil})
}

// String names the thread for a message.
func (t *Thread) String() string {
	if t.name == "" {
		return fmt.Sprintf("the thread of goroutine %d", t.goroutine)
	}
	return fmt.Sprintf("thread %q", t.name)
}

func (t *Thread) mustHold(what string) {
	if !t.Holds() {
		panic(fmt.Sprintf("gil: %s by %v, which does not have %v", what, t, t.gil))
	}
}

func (t *Thread) foreign(what string) {
	panic(fmt.Sprintf("gil: %s: %v of goroutine %d is used by goroutine %d: each one needs its own, by Attach or Do",
		what, t, t.goroutine, strand.Goroutine()))
}
