// Package coro switches between functions that keep their state, in one thread.
//
// A Coroutine is a function that yields and is resumed: what Python calls a generator with
// send and close, and Lua a coroutine. A Loop runs many of them cooperatively, as tasks that
// sleep and await each other: what Python calls asyncio. One task runs at a time, and only
// where it waits another one goes on; between two waits it has the loop's data to itself, so
// there are no locks.
//
//	| Python | here |
//	|---|---|
//	| x = yield y | x := co.Yield(y) |
//	| g.send(x), next(g), return | c.Resume(x), and State tells a yield from the return |
//	| StopIteration of a generator that has ended | ErrDone |
//	| g.close(), GeneratorExit | c.Close(): Yield does not return |
//	| for y in g | for y, err := range c.All(x); Generate for what only yields |
//	| g.throw(e) | nothing: give In a field for it |
//	| asyncio.run(main()) | loop.Run(ctx) |
//	| TaskGroup.create_task | loop.Go |
//	| create_task, await task | Start, Await |
//	| gather in a TaskGroup | Gather |
//	| sleep(d), sleep(0), timeout(d) | Sleep, Pass, WithTimeout |
//	| wrap_future, run_in_executor | Await of a *brood.Future |
//	| asyncio.Queue | Queue |
//
// # Coroutines
//
// They stand on iter.Pull, the one door to the runtime's switch of goroutines: each coroutine
// has a goroutine, which runs only while somebody who resumed it stands still. So a coroutine
// may do whatever a goroutine may, also wait for a channel; then its resumer waits, too.
// iter.Pull goes one way. What goes into the coroutine, and its end, travel beside it in a
// Co, which belongs to whoever has made its state Running by a compare-and-swap; so a second
// Resume at the same time is an error and never two goroutines in one.
//
// The function's handle is a Co and the resumer's a Coroutine: neither can call what is the
// other's, and the goroutine does not keep the Coroutine alive, so that one which is
// dropped can be found and closed.
//
// A coroutine that is closed unwinds by runtime.Goexit and not, as in Python, by an exception
// that it could swallow: every deferred call runs, recover finds nothing, and the end can't be
// refused. Panics and Goexit of its own become errors of Resume; how they are kept from
// the resumer is at Co.run.
//
// What the runtime does not allow: a coroutine that is begun while its resumer is locked to a
// thread (runtime.LockOSThread, a call from C, or a program that is still being initialised) must be
// resumed and closed on that thread, and one must not yield while it has locked itself. The
// runtime ends the program otherwise. That is seen, and an error or a panic, at the
// first Yield, the second Resume, at Close and at every wait of a task; one that ends
// is unlocked. To look at each switch would cost a twentieth of its time.
//
// # The loop
//
// What it knows is the queue of tasks that are ready, the heap of timers, and of each task what
// it waits for. It belongs to the goroutine in Run and, while that has switched to it, to the
// task that runs; these are never two at once. Other goroutines ask it for something through the
// inbox (Loop.do), or read what is atomic or under its mu.
//
// A task is in one place: it runs, or is in the queue of those that are ready, or waits. Who wakes
// it moves it from the last to the second, once, and says what its wait returns; what
// else would have woken it finds that it does not wait any more. When it goes on it takes itself
// out of whatever it waited in. So nothing has to be looked for when something happens, and a
// queue hands no item to somebody who has given up.
//
// Wake argument: the loop sleeps only when no task is ready, in one select on its bell, the first
// timer and the context of Run. All that other goroutines want is in the inbox before the bell is
// rung; the bell holds one ring, and the inbox is emptied after each sleep, and before each
// round.
//
// A task's context ends in the loop as well: contexts of WithTimeout and WithCancel are nodes of
// a tree, and the end of one wakes the task that waits there at once. One that is derived by
// package context is right, too, but its end comes by another goroutine, as something outside.
//
// # What blocks
//
// A task that computes for long, or waits otherwise than by this package, holds up the whole loop.
// Its context ends all the same when that of Run does, when another goroutine cancels it, or when
// a timeout passes by the real clock: Err and Done say so while nobody runs the loop, and so
// whatever the task has called with its context, such as share.Lock.Acquire or a dialer,
// returns. (Virtual time does not pass meanwhile, and is told to nobody: a context's Deadline
// is by the real clock, or that of Run's context.)
//
// Never hold a lock, of package share or any other, over a wait of the loop: a task that
// blocks because it wants that lock keeps the loop from ever coming to the one that has it, and
// nothing but the end of a context ends that. For what shall hold beyond a wait there is Queue.
// Nor does the table in which package brood and package share find circles know of tasks
// that Await: one that has such a lock, and awaits a future of whoever wants it, waits until
// its context ends.
//
// # Errors
//
// A loop is a task group, after asyncio.TaskGroup and errgroup: the first task of Go that fails
// ends the contexts of all, and Run returns its error when all have ended. Start is for tasks
// whose outcome somebody awaits, and who gets the error decides. An error that nobody has
// asked for is not lost: Run returns it. A task that is cancelled has its deferred calls run by
// returning; that it does so is up to it.
//
// Since it is known of each task what it waits for, the loop sees when nothing can happen any
// more: no task ready, no timer, no future outside, no context of package context. That is a
// *DeadlockError, which names all of them, and not a hang. It does not see what other
// goroutines may intend: whoever is to bring something from outside gives the task
// a future to await.
//
// # Order
//
// With a virtual clock nothing comes from outside (as long as nothing outside is awaited), so the
// order of all events is that of the ready queue: first in, first out, with seed 0; with any
// other seed each turn is given by chance, by the numbers of math/rand/v2's PCG, which are the same in
// every version of Go, and nothing else of that package. Timers of one time fire in the order in which they were set. What a
// task then sees depends on the seed and the program alone, if that does not itself draw on
// chance, on time.Now or on the order of a map. The clock jumps as that of Python's trio does
// (MockClock with autojump), and the seeds are the idea of its unpredictable scheduling,
// made repeatable, as in FoundationDB's simulation.
//
// # Cost
//
// On amd64: a Resume with the Yield that answers it takes 1.3 times as long as iter.Pull's
// next, 80 ns, a third of a hand-over by channels there and back; a turn in a loop 95 ns,
// for asyncio 1.9 µs. A task that sleeps takes 3.4 KB: 2 KB of stack, the least
// that a goroutine has, 0.5 KB of the runtime's record of it, and the rest for the
// task, its switch and its timer. A goroutine in time.Sleep takes 2.8 KB, a task of asyncio
// 1.5 KB. A New with its first Resume takes 1.2 µs, four times as long as iter.Pull with the
// first next, because of the cleanup; a task of a loop 0.8 µs. The program in bench measures all
// of this beside its peers.
//
// Where the runtime's record of a goroutine is not understood (internal/strand: neither amd64 nor
// arm64) each Yield, each wait and each New takes some 2 µs more, for the check who calls.
package coro
