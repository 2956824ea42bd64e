package brood

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/waits"
)

// ThreadOptions configures a thread. The zero value works.
type ThreadOptions struct {
	// Name is the thread's name, for Current and messages; empty: "thread-1" and so on.
	Name string
	// Daemon makes the thread end with the program: Main does not wait for it, but ends its
	// context.
	Daemon bool
}

// Thread is a goroutine with a name and an identity, whose end can be waited for. Make it with
// Go. Its methods may be called by any goroutine.
//
// # Ownership
//
// What does not change is written before the goroutine starts. err belongs to the
// goroutine until over is set, and changes no more after that.
type Thread struct {
	strand strand.Room
	ctx    taskContext
	fn     func(ctx context.Context) error
	daemon bool
	group  *Group
	told   atomic.Bool // somebody has got the error, or it was logged

	counted bool // in threads.untold; under its lock

	watched watched       // by whom, for the context of Go
	who     atomic.Uint64 // the goroutine; 0 before it runs
	in      [2]neighbours // its places in threads and in its group, under the lock of each

	err     error // the outcome
	over    atomic.Bool
	awaited atomic.Int32 // how many wait in Join

	mu   sync.Mutex
	done chan struct{} // made when first asked for
}

// threads are the threads that have not ended, in the order of their start, and what is to be
// said of others.
var threads = struct {
	sync.Mutex
	list    threadList
	untold  int                  // how many have failed, and nobody knows
	names   map[*Thread]struct{} // some of them
	reports []<-chan struct{}    // panics that are being logged

	watch  atomic.Pointer[watch]
	named  atomic.Uint64
	ending atomic.Bool // the program ends: contexts begin ended
	failed atomic.Bool // a panic was logged, or a thread is stuck
}{names: make(map[*Thread]struct{})}

// maxNames bounds what is kept of threads for whose end nobody ever waits.
const maxNames = 100

// threadList is threads in the order in which they were added. Each can be in one list of a kind.
type threadList struct {
	of          int
	first, last *Thread
}

// The kinds.
const (
	inAll = iota
	inGroup
)

// neighbours is a place in a list.
type neighbours struct {
	next, prev *Thread
	there      bool
}

func (l *threadList) add(t *Thread) {
	n := &t.in[l.of]
	if n.there, n.prev = true, l.last; n.prev != nil {
		n.prev.in[l.of].next = t
	} else {
		l.first = t
	}
	l.last = t
}

// remove takes a thread out, if it is there.
func (l *threadList) remove(t *Thread) {
	n := &t.in[l.of]
	if !n.there {
		return
	}
	if n.next != nil {
		n.next.in[l.of].prev = n.prev
	} else {
		l.last = n.prev
	}
	if n.prev != nil {
		n.prev.in[l.of].next = n.next
	} else {
		l.first = n.next
	}
	*n = neighbours{}
}

// Go starts a goroutine that calls fn, and returns the thread that it is: Python's
// Thread(target=fn).start(). A type with a method Run(ctx) error is started by
// Go(ctx, o, x.Run).
//
// The context of fn carries the thread as a strand, and ends with ctx, by Cancel, and when fn has
// returned. An error of fn, or its panic as a *PanicError, is what Join returns; a panic for
// which nobody waits at that moment is logged, too, and an error that nobody asks for Main
// reports at the end. Locks of package share that fn still holds when it returns are taken
// back, and the error is a *HeldError.
//
// One context, the last that Go was called with, is held until Go is called with another one, or
// it ends.
//
// What must not run in as many goroutines as there is work belongs in a ThreadPool.
func Go(ctx context.Context, o ThreadOptions, fn func(ctx context.Context) error) *Thread {
	return startThread(ctx, o, fn, nil)
}

func startThread(ctx context.Context, o ThreadOptions, fn func(ctx context.Context) error, g *Group) *Thread {
	if fn == nil {
		panic("brood: Go: the function is nil")
	}
	t := &Thread{fn: fn, daemon: o.Daemon, group: g}
	if o.Name == "" {
		o.Name = "thread-" + strconv.FormatUint(threads.named.Add(1), 10)
	}
	t.ctx.parent, t.ctx.strand = ctx, t.strand.New(strand.Thread, o.Name)
	if g != nil {
		g.entered(t)
	}
	if ctx.Err() != nil {
		t.contextEnded() // before it begins, and not a moment later
	} else {
		t.watched.what = t
		watchContext(ctx, &threads.watch, true, &t.watched)
	}
	threads.Lock()
	threads.list.add(t)
	threads.Unlock()
	if threads.ending.Load() { // if it begins just now, it is in the list of those that are told
		t.Cancel()
	}
	go t.run()
	return t
}

// run is the goroutine. What is deferred happens also after runtime.Goexit.
func (t *Thread) run() {
	t.who.Store(strand.Goroutine())
	t.err = ErrGoexit
	defer t.end()
	defer func() {
		if p := recover(); p != nil {
			t.err = newPanicError(t.Name(), p)
		}
	}()
	t.err = t.fn(&t.ctx)
}

// end publishes the outcome, also if a method of the function's error ends the goroutine.
func (t *Thread) end() {
	defer t.publish()
	t.err = takeBack(&t.ctx, t.Name(), t.err)
	t.fn = nil
	if t.err != nil {
		t.fails()
	}
}

// publish lets everybody know of the end. The thread is in the list of all until then.
func (t *Thread) publish() {
	t.watched.leave()
	t.ctx.cancel(context.Canceled) // what the function left running in it ends
	t.mu.Lock()
	t.over.Store(true)
	if t.done != nil {
		close(t.done)
	}
	t.mu.Unlock()
	if t.group != nil {
		t.group.left(t)
	}
	threads.Lock()
	threads.list.remove(t)
	threads.Unlock()
}

// fails sees to it that the error is not lost. A panic that nobody waits for is logged; what else
// nobody asks for is for the end of Main, unless the function has done no more than to obey
// its context. Of a group the first error counts, and panics.
func (t *Thread) fails() {
	p, obeyed := panicIn(t.err), t.obeyed()
	first := t.group == nil || t.group.failed(t, obeyed)
	if p != nil && (!first || t.group == nil && t.awaited.Load() == 0) {
		t.told.Store(true)
		threads.failed.Store(true)
		reportLater(p)
		return
	}
	if !first || obeyed {
		return
	}
	threads.Lock()
	defer threads.Unlock()
	if t.told.Load() { // by Wait of its group
		return
	}
	t.counted = true
	threads.untold++
	if len(threads.names) < maxNames {
		threads.names[t] = struct{}{}
	}
}

// panicIn is the panic that an error of a thread says, nil if there was none.
func panicIn(err error) *PanicError {
	if held, ok := err.(*HeldError); ok {
		err = held.Err
	}
	p, _ := err.(*PanicError)
	return p
}

// obeyed reports whether the function has returned because its context has ended, and for nothing else.
// It may have looked at the one that Go was called with, which ends a moment earlier.
func (t *Thread) obeyed() bool {
	why := t.ctx.Err()
	if parent := t.ctx.parent.Err(); why == nil && parent != nil {
		why = unwrapContext(parent)
	}
	switch t.err.(type) {
	case *PanicError, *HeldError:
		return false
	}
	return why != nil && (sameError(t.err, why) || sameError(t.err, context.Cause(&t.ctx)))
}

// outcome is the error, for somebody who then knows it.
func (t *Thread) outcome() error {
	if t.err != nil && !t.told.Swap(true) {
		threads.Lock()
		if t.counted {
			threads.untold--
			delete(threads.names, t)
		}
		threads.Unlock()
	}
	return t.err
}

// contextEnded is called when the context of Go ends.
func (t *Thread) contextEnded() { t.ctx.cancel(unwrapContext(t.ctx.parent.Err())) }

// Cancel ends the context of the thread's function. It does not wait, and a goroutine can't be
// made to return: one that does not look at its context goes on.
func (t *Thread) Cancel() { t.ctx.cancel(context.Canceled) }

// Join waits until the thread has ended, and returns its error, or the context's if ctx ends
// first. It may be called again, and returns the same. Who is waited for by the thread, or is
// the thread, gets a *DeadlockError.
func (t *Thread) Join(ctx context.Context) error {
	if err := t.await(ctx); err != nil {
		return err
	}
	return t.outcome()
}

// await waits for the end; the error is why it does no longer.
func (t *Thread) await(ctx context.Context) error {
	if t.over.Load() {
		return nil
	}
	t.awaited.Add(1)
	defer t.awaited.Add(-1)
	runtime.Gosched() // one that was just started, and has little to do, then ends without a channel
	if t.over.Load() {
		return nil
	}
	w, err := begin(ctx, []waits.Target{joined{t}})
	if err != nil {
		return err
	}
	defer w.End()
	sleep := w.Context(ctx)
	select {
	case <-t.Done():
	case <-sleep.Done():
		if !t.over.Load() {
			return sleepError(sleep)
		}
	}
	return nil
}

// Done is closed once the thread has ended.
func (t *Thread) Done() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.over.Load() {
			close(t.done)
		}
	}
	return t.done
}

// Alive reports whether the thread has not ended. After Join it is false.
func (t *Thread) Alive() bool { return !t.over.Load() }

// Name is the thread's name.
func (t *Thread) Name() string { return t.ctx.strand.Name }

// Strand is the thread's identity, as Current returns it in the thread.
func (t *Thread) Strand() *Strand { return t.ctx.strand }

// Daemon reports whether the thread ends with the program.
func (t *Thread) Daemon() bool { return t.daemon }

// joined is a thread as somebody waits for it.
type joined struct{ *Thread }

// Holders implements waits.Target.
func (j joined) Holders() (goroutines []uint64, known bool) {
	g := j.who.Load()
	if g == 0 || j.over.Load() {
		return nil, false
	}
	return []uint64{g}, true
}

// String implements waits.Target.
func (j joined) String() string { return "the end of thread " + strconv.Quote(j.Name()) }

// ActiveThreads lists the threads started in this process that have not ended, in the order of
// their start: Python's threading.enumerate, without the main thread.
func ActiveThreads() (all []*Thread) {
	threads.Lock()
	defer threads.Unlock()
	for t := threads.list.first; t != nil; t = t.in[inAll].next {
		if t.Alive() {
			all = append(all, t)
		}
	}
	return all
}

// daemonGrace is how long the daemon threads have, when the program ends, to return once
// their contexts have ended.
const daemonGrace = 100 * time.Millisecond

// joinThreads waits, at the end of a program, for the threads that are no daemons. When ctx
// ends, the contexts of all threads do.
func joinThreads(ctx context.Context) {
	defer context.AfterFunc(ctx, cancelThreads)()
	stuck := make(map[*Thread]bool)
	for {
		all := ActiveThreads()
		i := slices.IndexFunc(all, func(t *Thread) bool { return !t.daemon && !stuck[t] })
		if i < 0 {
			return
		}
		if err := all[i].await(strand.With(background, mainStrand())); err != nil { // it waits for what main will never give
			fmt.Fprintln(os.Stderr, err)
			threads.failed.Store(true)
			stuck[all[i]] = true
			all[i].Cancel()
			waitFor(all[i:i+1], daemonGrace)
		}
	}
}

// threadsFailed is asked last: it tells standard error what went wrong in threads and nobody
// knows, and reports whether anything did.
func threadsFailed() bool {
	threads.Lock()
	n, reports := threads.untold, threads.reports
	names := slices.SortedFunc(maps.Keys(threads.names), func(a, b *Thread) int { return cmp.Compare(a.Strand().ID, b.Strand().ID) })
	threads.Unlock()
	for _, t := range names { // whose methods are the user's
		fmt.Fprintf(os.Stderr, "brood: thread %q: %v\n", t.Name(), t.err)
		if p := panicIn(t.err); p != nil {
			fmt.Fprintf(os.Stderr, "%s\n", p.Stack)
		}
	}
	if n > len(names) {
		fmt.Fprintf(os.Stderr, "brood: %d threads failed that are not named\n", n-len(names))
	}
	patience := time.After(time.Second)
	for _, logged := range reports {
		select {
		case <-logged:
		case <-patience:
			return true
		}
	}
	return threads.failed.Load() || n > 0
}

// reportLater logs a panic on a goroutine of its own, as the handler is the user's.
func reportLater(p *PanicError) {
	logged := make(chan struct{})
	threads.Lock()
	threads.reports = append(slices.DeleteFunc(threads.reports, isClosed), logged)
	threads.Unlock()
	go func() {
		defer close(logged)
		reportPanic(p)
	}()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// endThreads ends the contexts of the threads that are left, and gives them a moment to
// return.
func endThreads() {
	cancelThreads()
	waitFor(ActiveThreads(), daemonGrace)
}

// waitFor waits for the ends of some threads, but no longer than d.
func waitFor(some []*Thread, d time.Duration) {
	grace, stop := context.WithTimeout(background, d)
	defer stop()
	for _, t := range some {
		select {
		case <-t.Done():
		case <-grace.Done():
		}
	}
}

// cancelThreads ends the contexts of all threads, and of those to come.
func cancelThreads() {
	threads.ending.Store(true)
	for _, t := range ActiveThreads() {
		t.Cancel()
	}
}
