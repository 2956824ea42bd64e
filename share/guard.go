package share

// Guard is the permission to release what was acquired. It may be copied and handed to
// another goroutine, but releases once. The zero Guard is none.
type Guard struct {
	of    releaser
	token uint64 // with hasRecovered
}

// releaser is what guards are of: a lock, or a hold of something that can be held
// several times.
type releaser interface {
	release(token uint64)
	detach(token uint64)
}

// hasRecovered is a token's bit that says so.
const hasRecovered = 1 << 63

// Release gives up what was acquired. It panics if the guard was released before. If what
// it guards was taken back, because the strand that acquired it has ended, or its space is
// closed, it does nothing.
func (g Guard) Release() {
	if g.of == nil {
		panic("share: Release of a Guard of nothing")
	}
	g.of.release(g.token &^ hasRecovered)
}

// Detach makes the guard nobody's: it is not taken back when the strand that acquired it
// ends, and in the search for deadlocks that strand and its goroutine do not count as holding it.
// Call it before the guard goes to another goroutine that will release it.
func (g Guard) Detach() Guard {
	if g.of == nil {
		panic("share: Detach of a Guard of nothing")
	}
	g.of.detach(g.token &^ hasRecovered)
	return g
}

// Recovered reports that whoever had the lock before died, or ended without releasing
// it. What it protects may be half changed; nobody else will be told.
func (g Guard) Recovered() bool { return g.token&hasRecovered != 0 }

// Token is a number that is greater for each guard of a lock than for those before it,
// in all processes, also if they died, for as long as the space exists: a fencing token.
// When the last process has closed a space and another one opens it, tokens begin anew. A store that refuses smaller
// tokens than it has seen can't be changed by a process that believes it still has the
// lock. Guards of semaphores have 0.
func (g Guard) Token() uint64 { return g.token &^ hasRecovered }
