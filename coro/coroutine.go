package coro

import (
	"fmt"
	"iter"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/brood-go/brood/internal/strand"
)

// State is where a coroutine is in its life.
type State uint32

// The states.
const (
	// Suspended: it has not begun, or has yielded, and can be resumed.
	Suspended State = iota
	// Running: it runs, or waits for a coroutine that it has resumed.
	Running
	// Done: it has ended.
	Done
)

var stateNames = [...]string{"suspended", "running", "done"}

// String is the state in one lower-case word.
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", uint32(s))
	}
	return stateNames[s]
}

// Coroutine is a function whose call can be suspended and gone on with. Make it with New,
// NewFunc or FromSeq. It is resumed by one goroutine at a time, any; its methods may be
// called by all, and find it Running then.
//
// One that is not resumed to its end is to be closed. If it is dropped instead, and nothing
// refers to it any more, the garbage collector has it closed, sometime, by another
// goroutine, which then runs its deferred calls; nobody gets the error of that. A function
// that refers to its own Coroutine is never seen as dropped, nor is one begun on a locked thread.
type Coroutine[In, Out any] struct {
	co *Co[In, Out] // the goroutine of the coroutine refers to this, not to the Coroutine
}

// Co is a coroutine as its function sees it.
type Co[In, Out any] struct {
	state     atomic.Uint32 // a State. Who has made it Running owns the rest
	closing   bool          // Yield does not return any more
	exited    bool          // it ended otherwise than by returning
	looked    bool          // it was resumed twice, each time by who was locked to the same thread
	thread    uintptr       // that it is locked to, by who has begun it; 0: none
	mine      uint64        // its goroutine
	goroutine uint64        // the same, from the first Yield on and until it is closed

	f     func(co *Co[In, Out], first In) (Out, error)
	next  func() (struct{}, bool) // nil before the first Resume
	yield func(struct{}) bool
	in    In
	out   Out
	err   error
}

// New makes a coroutine of f, which begins with the first Resume and gets its argument. What
// f returns is delivered by the last Resume.
func New[In, Out any](f func(co *Co[In, Out], first In) Out) *Coroutine[In, Out] {
	return NewFunc(func(co *Co[In, Out], first In) (Out, error) { return f(co, first), nil })
}

// NewFunc is New for a function that may fail: its last Resume returns the error.
func NewFunc[In, Out any](f func(co *Co[In, Out], first In) (Out, error)) *Coroutine[In, Out] {
	return &Coroutine[In, Out]{&Co[In, Out]{f: f}}
}

// Resume lets the coroutine run on, with in for what its Yield returns (or for the function's
// argument), until it yields or ends, and returns what it yielded or returned; State tells
// which it was. An error is how it ended: what the function returned, a *PanicError with
// its stack, or ErrGoexit. For one that has ended before it is ErrDone, and for one that runs
// ErrRunning.
//
// Who resumes it has to be locked to the thread that the first to do so was locked to, as often
// (runtime.LockOSThread), or to none as that one: otherwise the runtime ends the program. The
// second Resume, and Close, see that and return ErrThread; it would cost all others too much.
func (c *Coroutine[In, Out]) Resume(in In) (out Out, err error) {
	co := c.co
	if !co.state.CompareAndSwap(uint32(Suspended), uint32(Running)) {
		return out, co.unfit()
	}
	if !co.looked {
		if err := c.look(); err != nil {
			return out, err
		}
	}
	co.in = in
	if _, more := co.next(); more && !co.exited {
		out = co.out
		co.state.Store(uint32(Suspended))
	} else {
		out, err = co.ended()
	}
	runtime.KeepAlive(c) // it is not dropped as long as somebody is in here
	return out, err
}

// look is the part of the first two calls of Resume that the others need not do: the first one begins,
// and the second one looks whether it is locked to the same thread.
func (c *Coroutine[In, Out]) look() error {
	co := c.co
	if co.next == nil {
		c.begin()
		return nil
	}
	if strand.Locked() != co.thread {
		co.state.Store(uint32(Suspended))
		return ErrThread
	}
	co.looked = true
	return nil
}

// begin makes the runtime's coroutine, which the next switch enters.
func (c *Coroutine[In, Out]) begin() {
	c.co.thread = strand.Locked()
	c.co.next, _ = iter.Pull(c.co.run)
	runtime.AddCleanup(c, abandon[In, Out], c.co)
}

// Close ends the coroutine: its Yield does not return, its deferred calls run, and it can't
// prevent that. Close returns when they have returned, with a *PanicError if one of them
// panicked. (A panic that had a deferred call which then yielded is given up.) One that has not
// begun never begins. For one that has ended Close does nothing, for one that runs it returns
// ErrRunning, and ErrThread to who is locked to another thread than who began it.
func (c *Coroutine[In, Out]) Close() error {
	err := c.co.unwind()
	runtime.KeepAlive(c)
	return err
}

// State says where the coroutine is.
func (c *Coroutine[In, Out]) State() State { return State(c.co.state.Load()) }

// Err is the error with which the coroutine has ended, also when it was closed; nil if it
// returned, was closed without a panic, or has not ended.
func (c *Coroutine[In, Out]) Err() error {
	if c.State() != Done {
		return nil
	}
	return c.co.err
}

// Yield suspends the coroutine, and has Resume return out. It returns what the next Resume is
// given. If the coroutine is closed it does not return: deferred calls run, as after
// runtime.Goexit. Only the function that was given co calls it, and what that calls, but no
// deferred call when the coroutine is closed: otherwise it panics. So does the first one of a
// coroutine that has locked itself to a thread; after that the runtime ends the program.
func (co *Co[In, Out]) Yield(out Out) In {
	if strand.Goroutine() != co.goroutine {
		co.mayYield()
	}
	co.out = out
	co.yield(struct{}{})
	if co.closing {
		co.leave()
	}
	in := co.in
	var none In
	co.in = none // not kept longer than the function wants
	return in
}

// mayYield is what the first Yield looks at, and one that is misused. It panics if Yield may not
// be called here.
func (co *Co[In, Out]) mayYield() {
	switch {
	case strand.Goroutine() != co.mine:
		panic("coro: Yield is called outside of its coroutine: only the function that got the Co may call it, in its own goroutine")
	case co.closing:
		panic("coro: Yield in a deferred call while the coroutine is closed: nobody resumes it any more")
	case strand.Locked() != co.thread:
		panic("coro: Yield by a coroutine that has locked itself to a thread, or let go of it: it has to yield as it was begun")
	}
	co.goroutine = co.mine
}

// left is no goroutine.
const left = 0

// leave ends the coroutine because it is closed.
func (co *Co[In, Out]) leave() {
	co.goroutine = left // so that Yield needs to look at one thing only
	runtime.Goexit()
}

// unfit is why it can't be resumed.
func (co *Co[In, Out]) unfit() error {
	if State(co.state.Load()) == Done {
		return ErrDone
	}
	return ErrRunning
}

// ended takes out what the coroutine has returned, or why it did not return.
func (co *Co[In, Out]) ended() (Out, error) {
	if co.exited {
		co.exit()
	}
	out, err := co.out, co.err
	var none Out
	co.out = none
	if err == errExhausted {
		co.err, err = nil, ErrDone
	}
	co.bury()
	return out, err
}

// bury lets go of what a coroutine that has ended needs no more, and says that it has.
func (co *Co[In, Out]) bury() {
	co.f, co.next, co.yield = nil, nil, nil
	co.state.Store(uint32(Done))
}

// exit lets a coroutine go that did not return.
func (co *Co[In, Out]) exit() {
	defer func() { _ = recover() }()
	co.next()
}

// run is the coroutine. When its function does not return, iter.Pull would have who resumes it
// do the same: panic, without the stack, or call Goexit, which would end a goroutine that had no
// part in it, and can't be caught. A panic can, and one that is raised in a deferred call
// takes the place of a Goexit. So run ends by a panic of its own then, and before that
// it switches once more, to say so: exit expects the panic, and a switch that nothing is wrong
// with needs no defer, which would take a twentieth of its time.
func (co *Co[In, Out]) run(yield func(struct{}) bool) {
	co.yield, co.mine = yield, strand.Goroutine()
	returned := false
	defer func() {
		letGo(co.thread)
		if returned {
			return
		}
		if v := recover(); v != nil {
			co.err = &PanicError{Value: v, Stack: debug.Stack()}
		} else if !co.closing {
			co.err = ErrGoexit
		}
		var none Out
		co.out, co.exited = none, true
		yield(struct{}{})
		panic(co)
	}()
	first := co.in
	var none In
	co.in = none
	co.out, co.err = co.f(co, first)
	returned = true
}

// letGo ends the locks to a thread of a coroutine that ends and was begun without: the runtime would
// end the program otherwise.
func letGo(begun uintptr) {
	for begun == 0 && strand.Locked() != 0 {
		runtime.UnlockOSThread()
	}
}

// unwind is Close.
func (co *Co[In, Out]) unwind() error {
	if !co.state.CompareAndSwap(uint32(Suspended), uint32(Running)) {
		if err := co.unfit(); err != ErrDone {
			return err
		}
		return nil
	}
	if co.next == nil {
		co.bury()
		return nil
	}
	if strand.Locked() != co.thread {
		co.state.Store(uint32(Suspended))
		return ErrThread
	}
	co.closing = true
	co.next()
	_, err := co.ended()
	return err
}

// abandon closes a coroutine that was dropped, on a goroutine that nobody else needs: its
// deferred calls may take their time. The runtime would end the program if one that was
// begun on a locked thread were resumed on another one, so such a one stays.
func abandon[In, Out any](co *Co[In, Out]) {
	if State(co.state.Load()) == Suspended && co.thread == 0 {
		go co.unwind()
	}
}
