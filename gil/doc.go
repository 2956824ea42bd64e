// Package gil is a global interpreter lock for goroutines, as CPython has one for its threads:
// of those that take part one runs at a time, and they take turns.
//
// # What it is for
//
// A library that can't bear two callers at once, and keeps state from one call to the next: one in C
// with global variables, or an embedded interpreter. Every goroutine that calls it is a
// [Thread] of one [GIL]. It calls the library with the GIL, comes to a safe point now and then
// ([Thread.Check]), and gives the GIL up around what takes long and does not concern the
// library ([Thread.Unlocked]):
//
//	var lock gil.GIL
//
//	err := lock.Do(ctx, "worker", func(ctx context.Context, t *gil.Thread) error {
//		for request := range requests {
//			if err := t.Unlocked(ctx, func() { page = download(request) }); err != nil {
//				return err // and the GIL is lost: nothing may be touched any more
//			}
//			interpreter.Run(page)
//			if err := t.Check(ctx); err != nil {
//				return err
//			}
//		}
//		return nil
//	})
//
// For a critical section alone a sync.Mutex is simpler and cheaper. What a GIL adds: whoever
// computes for long gives way in time, those who wait are served in their order, a wait ends with its
// context, and deadlocks are errors.
//
// # The protocol
//
// It is CPython's. A thread that wants the GIL while another one has it waits. When it has waited
// for the switch interval (5 ms, [Options]), the one that has the GIL is to give way at its next safe
// point. There it hands the GIL to whoever has waited longest, and stands behind all who wait: it can't
// take it back at once (CPython: FORCE_SWITCHING). A thread that computes without safe points
// is not interrupted.
//
// A thread that gives the GIL up by itself, by Release or Unlocked, wakes the one that has waited
// longest. Until that one runs anybody may take the GIL, but not after it has waited for
// the interval: then it is handed the GIL, here as well. So nobody is overtaken for more than
// one interval once he is the first of the queue.
//
// Go may run any goroutine, so that who was woken may have to wait for a processor: to the GIL
// that is time for which the thread has it.
//
// # What it protects
//
// Between two safe points nobody else runs who has, or wants, the GIL. That is all. What
// was read before a Check or an Unlocked may have changed after it:
//
//	n := counter
//	if err := t.Unlocked(ctx, wait); err != nil { // or t.Check(ctx)
//		return err // without the GIL
//	}
//	counter = n + 1 // the update of another thread may be lost
//
// Goroutines that are no threads of the GIL are not kept out. The chapter lost_update of the
// course shows 180 threads that lose 179 updates.
//
// A thread that ends with the GIL leaves it locked, unless it is in [GIL.Do], or the goroutine of a
// task or of a thread of package brood: then the GIL is taken back, and the next thread knows
// ([Thread.Recovered]).
//
// # Deadlocks
//
// Who waits for a lock with the GIL, while the lock's owner waits for the GIL, waits for ever: it is
// the classic mistake, in C extensions as well. The last one to wait gets a [*DeadlockError] instead,
// if the lock is one of package share, or a future: from Acquire, Check, Unlocked or Do, or from
// the other one's wait. Better wait for locks within Unlocked.
//
// # The convoy effect
//
// A thread that does I/O beside one that computes has to wait for the GIL after each I/O, for a
// whole interval, since the other one has it nearly always. The shorter its I/O, the more it
// loses. Round trips of a byte over a socket, and the same in CPython 3.11, in one second, on
// 2 CPUs:
//
//	                                   gil     CPython
//	alone                              114,000 28,000
//	beside one that computes, 5 ms     151     181
//	the same, interval 0.5 ms          1,230   1,610
//	the same, interval 0.1 ms          3,070   5,130
//
// (Below 1 ms the network poller of Go's runtime takes its part: it may hear of an answer up to 1 ms
// later when another processor computes. The wait for the GIL itself was 5.002, 0.519 and
// 0.120 ms.) The interval is what one pays with: beside a thread that reads, one that computes
// loses 12 % at 5 ms, 22 % at 0.5 ms and 35 % at 0.1 ms.
//
// An I/O that does not block need not cost an interval, because the thread that gives up the
// GIL is still running when it wants it back, and the other one is not yet. Reading a byte of a
// cached file, beside a thread that computes, the mean of each read:
//
//	                                   gil      the same, handed over   CPython
//	alone                              0.6 µs   0.6 µs                  0.9 µs
//	interval 5 ms                      11 µs    5.04 ms                 407 µs
//	interval 0.5 ms                    6 µs     0.53 ms                 45 µs
//	interval 0.1 ms                    4 µs     0.12 ms                 15 µs
//
// The column in the middle is how this package did it first: with a hand-over to the longest
// waiter at every release. It is why it no longer does; the thread that computes loses 12 %
// to it at 5 ms, and did not lose 1 %. The first column and the last vary with what else the machine
// does, because it decides how soon the other thread runs: on a busy one the first was 4 to 25 µs, and
// CPython's 2 to 90 µs. To measure: cd bench && go run . -only '^gil'.
//
// # Costs
//
//	acquire and release, nobody waits    1.2 × sync.Mutex         5 ns
//	safe point, nobody waits             3 × a load and a branch  1 ns
//	safe point, somebody waits           and, at each 16th, a clock
//	Unlocked around nothing              11 ns                    CPython: 600 ns
//	hand-over from thread to thread      1.3–1.8 µs               CPython: 0.7–1.7 µs
//	the same, NoDeadlockDetection        0.5 µs
//	memory                               a GIL 300 bytes, a Thread 120
//
// A GIL starts no goroutine; while threads wait it has one timer.
package gil
