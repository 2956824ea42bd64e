// Package explore runs algorithms that are written over package cell on a simulated
// machine, through interleavings of their operations, and kills participants between any
// two of them. It is for tests.
//
// # Cases
//
// A case is a function that makes words and participants, starts strands, and says what
// must be true in the end:
//
//	res := explore.Exhaust(explore.Options{Preemptions: 2, Kills: 1}, func(w *explore.World) {
//		word := w.Word("mutex")
//		for _, name := range []string{"p", "q"} {
//			p := w.Participant(name)
//			p.Go("a", func() {
//				l := NewMutex(p.Memory(), word)
//				if l.Lock(p.Context()) == nil {
//					w.Inside("section", 1)()
//					l.Unlock()
//				}
//			})
//		}
//		w.Finally(func() error { … })
//	})
//	if err := res.Err(); err != nil {
//		t.Fatal(err)
//	}
//
// It is called for each run, and must do the same each time: no real clock, no chance, no
// order of a map, nothing that an earlier run left behind. Outside of strands, in the
// case itself and in Finally, operations are direct and no part of the schedule.
//
// # Steps
//
// Strands are coroutines, and one runs at a time. Each comes to an operation and stops; then
// what happens next is chosen: a strand does its operation and runs on to its next one, or
// a participant is killed, or a context is cancelled. What a strand does between two
// operations belongs to the first of them. Operations are those of words (Load, Store,
// CompareAndSwap), those of memories (all but Self), Step, and leaving a section. Wait is
// two: it looks and falls asleep in one step, and comes back in another, when it was woken
// or its context has ended.
//
// Some operations have several outcomes, which are chosen too: Now may be later than
// before (Options.Jumps), Wake may take any sleeper (Options.AnyWake), and who was both
// woken and cancelled learns of the one or the other.
//
// A killed participant's strands do nothing any more. At the end of the run they are unwound
// by a panic that no recover stops for longer than until the next operation: their deferred
// functions do run, but operations in them have no effect. Memory stays as it was, Alive
// says no, the count of deaths goes up, and all sleepers of the shared memory wake. What the
// participant had of its own (Local) is seen by nobody any more.
//
// # Failures
//
//   - Live strands sleep and nobody can go on: a wake-up was lost. Strands started by
//     Serve may sleep.
//   - A run has more than Options.MaxSteps steps: a livelock.
//   - A strand panics, Fail is called, too many strands are inside a section, or a check
//     of Finally fails.
//
// A failure carries its schedule, which Replay repeats, and a trace. The schedule was made
// simpler, as far as the case still fails in the same way.
//
// # Searches
//
// Exhaust is a depth-first search over the choices that starts every run from the
// beginning. Options.Preemptions bounds how often a run switches away from a strand that
// could go on; it is raised from 0, so that what fails with few is found with few. To leave
// a strand that sleeps, ended, or has just spun in vain, costs nothing. Without a bound
// (-1), Options.Reduce skips runs that differ from others in the order of independent
// steps only (sleep sets). Random chooses by chance, a run for each seed.
//
// Deaths are not offered where they make no difference: a death is the same to all
// after an operation of another participant that does not look at deaths as before it;
// and nobody dies when all strands have ended. A test compares all ways in which small
// programs can end, with and without this and Reduce.
//
// A strand that spins in vain several times while nothing changes is passed over as long
// as another can do something else; when all spin, the clock goes ahead. So loops around
// Spin come to an end. A loop that waits for a change with Load or Now alone is a livelock
// to Exhaust, as it can be on a real machine.
//
// # Limits
//
//   - Memory is sequentially consistent, as Go's atomics are. What strands do with
//     other variables is not looked at; one strand runs at a time, so there are no data races.
//   - Exhausted means: within the options, for this case. Bugs that need more strands, kills
//     or preemptions are not seen.
//   - A strand must not block on anything but Wait. Its context may be one derived from
//     Participant.Context or ended by another strand, but not one with a real deadline.
//     With Reduce, none but the explorer may end a context that strands sleep with.
//   - With Reduce, which loops around Spin are passed over depends on the runs that are seen;
//     such loops are better explored with a bound, or by Random.
//   - ctx.Err is no operation: a cancellation becomes visible between two operations.
//   - Wait returns for no reason only after the death of somebody unconcerned.
//   - There is no closing of a memory, and no slot gets a second generation. Participants
//     may be made in the middle of a run.
package explore
