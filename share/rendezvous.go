package share

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// rendezvous is the algorithm of Barrier: a number of parties wait for each other, again
// and again.
//
// # Layout
//
//	0–2  latch
//	3    state  high half: the participant that runs the action, 0 if none
//	            bit 0      broken
//	            bits 1–31  the generation: how often they have met, or were reset
//	4    ends: bit i of the low half is 1 if the last generation g with g mod 32 = i broke;
//	     high half: 1 + the last one that may have broken, 0 if none
//	5    roster's head
//	6–   roster; an entry's low half is
//	     bits 0–15   how many goroutines of the participant have arrived
//	     bits 16–31  in which generation (its low bits): if not in this one, none has
//
// # Invariants
//
// Who has arrived is what the entries of this generation say. A generation never comes
// back. A barrier that is broken stays in its generation until it is reset.
//
// # Ownership
//
// A participant writes its own entry, under the latch. State and ends are written
// under the latch, too. Words of the dead count: it is their death that breaks the barrier.
// Their entries are taken over only when they don't.
//
// # Commits
//
// Arriving is one store of the entry. What ends a generation is the store of state with the
// next one; the bit in ends that says how it ended is written before. Breaking is one
// store of state. When the last one has arrived and there is an action, its participant
// is first noted in state.
//
// # Wake argument
//
// Waiters sleep on state, whose low half changes when the generation ends or breaks; when
// the latch was given up after that all are woken, or, if who did it was killed before, by
// that death. A waiter looks for dead parties under the latch before it first sleeps and after every death: one
// that finds one breaks the barrier. So somebody does, unless nobody waits.
//
// # Deaths
//
//	killed                            the others find
//	having arrived                    an entry of the dead in this generation: they break the barrier
//	running the action                the same
//	with ends written, not state      the same generation; whoever ends it writes the bit again
//	having ended it, before waking    the next generation, and all are awake
//	having broken it, before waking   the same
//
// # Fairness and cost
//
// The generations that come next may fill while the last one still wakes up: who is late
// by 32 of them is told that it broke, if any did since. Arriving costs a latch and
// one load for each participant that ever arrived.
//
// # Trust
//
// A made-up arrival lets a generation end early. Nothing waits for a number to be reached
// that another can't still change.
type rendezvous struct {
	latch       mutex
	state, ends cell.Word
	roster      roster
	mem         cell.Extender
	me          cell.ID
	parties     int
	patience    time.Duration // see lockAnyway; 0 is no bound
	buried      atomic.Uint64 // 1 + the count of deaths when the dead were last looked for
}

const (
	isBroken   = 1 << 0
	generation = 1<<32 - 2
	oneMeeting = 1 << 1
	history    = 32
)

// errBroken is an error of arriving that Barrier gives its public face.
var errBroken = errors.New("broken")

func newRendezvous(parties int, mem cell.Extender, words []cell.Word, local cell.Memory, gateWord cell.Word) *rendezvous {
	r := &rendezvous{
		latch: newMutex(mem, words, local, gateWord), state: words[3], ends: words[4],
		mem: mem, me: mem.Self(), parties: parties,
	}
	r.roster.init(mem, words[5], words[6:])
	r.roster.keeps = func(e uint64) bool { return arrivals(e, number(r.state.Load())) > 0 }
	return r
}

// before reports whether a generation, as a number, comes before another one. They must
// not be half a round apart.
func before(a, b uint64) bool { return (a-b)&(generation>>1) > generation>>2 }

// latched is the latch, held.
type latched struct {
	token uint64
	state uint64 // as it was found
}

func (r *rendezvous) lock(ctx context.Context) (latched, error) {
	g, err := r.latch.lock(ctx)
	return latched{g.token, r.state.Load()}, err
}

// afterwards does under the latch what lockAnyway's caller had to do, which got an error instead: as
// soon as whoever has the latch goes on. Others rely on its being done.
func (r *rendezvous) afterwards(ctx context.Context, err error, do func()) {
	if errors.Is(err, cell.ErrClosed) {
		return
	}
	go func() {
		if l, err := r.lock(context.WithoutCancel(ctx)); err == nil {
			do()
			r.unlock(l)
		}
	}()
}

// lockAnyway is lock for who may not wait as long as he likes.
func (r *rendezvous) lockAnyway(ctx context.Context) (latched, error) {
	ctx = context.WithoutCancel(ctx)
	if r.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.patience)
		defer cancel()
	}
	return r.lock(ctx)
}

// unlock gives up the latch, and then wakes all who wait if their generation has ended or broken
// meanwhile: not before, as the first thing that they do may be to arrive again.
func (r *rendezvous) unlock(l latched) {
	ended := uint32(r.state.Load()) != uint32(l.state)
	r.latch.unlock(l.token, false)
	if ended {
		r.mem.Wake(r.state, cell.All)
	}
}

// number is a state's generation as a number, of 31 bits.
func number(state uint64) uint64 { return state & generation >> 1 }

// arrivals is how many of an entry have arrived in a generation.
func arrivals(entry, gen uint64) int {
	if low(entry)>>16 != gen&0xffff {
		return 0
	}
	return int(entry & 0xffff)
}

// arrived is how many have arrived in a generation.
func (r *rendezvous) arrived(gen uint64) (n int) {
	for _, w := range r.roster.entries() {
		n += arrivals(w.Load(), gen)
	}
	runtime.KeepAlive(r) // its words are not Go's
	return n
}

// wait arrives, and returns when all have. The last one runs the action. Who comes with a
// context that ends breaks the barrier, as the others would wait in vain.
func (r *rendezvous) wait(ctx context.Context, action func(context.Context) error) (index int, err error) {
	index, state, err := r.arrive(ctx, action != nil)
	if err != nil && ctx.Err() != nil {
		r.stayAway(ctx)
	}
	if err != nil {
		return index, err
	}
	switch {
	case index < r.parties-1:
		err = r.await(ctx, number(state))
	case action != nil:
		err = r.conclude(ctx, number(state), action)
	}
	return index, err
}

// conclude runs the action and ends the generation.
func (r *rendezvous) conclude(ctx context.Context, gen uint64, action func(context.Context) error) error {
	err := r.act(ctx, action)
	l, lerr := r.lock(context.WithoutCancel(ctx))
	if lerr != nil {
		return lerr
	}
	defer r.unlock(l)
	if s := r.state.Load(); number(s) != gen || s&isBroken != 0 {
		return errors.Join(errBroken, err)
	}
	if err != nil {
		r.breakUp()
		return err
	}
	r.end(gen, false)
	return nil
}

// act runs the action. If it does not return, the barrier breaks.
func (r *rendezvous) act(ctx context.Context, action func(context.Context) error) error {
	returned := false
	defer func() {
		if !returned {
			if l, err := r.lock(context.WithoutCancel(ctx)); err == nil {
				r.breakUp()
				r.unlock(l)
			}
		}
	}()
	err := action(ctx)
	returned = true
	return err
}

// arrive counts this goroutine in and says as which. If it is the last and there is no action,
// it ends the generation.
func (r *rendezvous) arrive(ctx context.Context, action bool) (index int, state uint64, err error) {
	for {
		if ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
		deaths := r.mem.Watch()
		l, err := r.lock(ctx)
		if err != nil {
			return 0, 0, err
		}
		index, state, err = r.arriveLatched(action)
		r.unlock(l)
		if err != nil || owner(state) == 0 || index >= 0 {
			return index, state, err
		}
		// Those before are in their action.
		if err := r.mem.Wait(ctx, r.state, uint32(state), deaths); err != nil {
			return 0, 0, err
		}
	}
}

// arriveLatched returns an index of -1 if a participant runs the action, so that nobody can
// arrive.
func (r *rendezvous) arriveLatched(action bool) (index int, state uint64, err error) {
	s := r.state.Load()
	if s&isBroken != 0 {
		return 0, s, errBroken
	}
	if id := owner(s); id != 0 {
		if r.mem.Alive(id) {
			return -1, s, nil
		}
		r.breakUp()
		return 0, s, errBroken
	}
	gen := number(s)
	if index = r.arrived(gen); index >= r.parties {
		return 0, s, errBroken // a peer has overwritten something
	}
	if index == r.parties-1 && !action {
		r.end(gen, false)
		return index, s, nil
	}
	e, err := r.roster.mine()
	if err != nil {
		return 0, s, err
	}
	e.Store(owned(r.me) | gen&0xffff<<16 | uint64(arrivals(e.Load(), gen)+1))
	if index == r.parties-1 {
		r.state.Store(owned(r.me) | s&generation)
	}
	return index, s, nil
}

// await waits for the end of a generation in which this goroutine has arrived.
func (r *rendezvous) await(ctx context.Context, gen uint64) error {
	for looked := false; ; {
		deaths := r.mem.Watch()
		if r.buried.Load() != deaths+1 {
			if err := r.bury(ctx, deaths); err != nil {
				return r.giveUp(ctx, gen, err)
			}
		}
		s := r.state.Load()
		if over, err := r.outcome(s, gen); over {
			return err
		}
		if !looked {
			looked = true
			if r.mem.Spin(r.state, uint32(s)) {
				continue
			}
		}
		if err := r.mem.Wait(ctx, r.state, uint32(s), deaths); err != nil {
			return r.giveUp(ctx, gen, err)
		}
	}
}

// outcome says how a generation ended, if it has.
func (r *rendezvous) outcome(state, gen uint64) (over bool, err error) {
	if number(state) == gen {
		if state&isBroken == 0 {
			return false, nil
		}
		return true, errBroken
	}
	ends := r.ends.Load()
	if last := ends >> 32; last == 0 || before(last-1, gen) {
		return true, nil
	}
	now := number(r.state.Load()) // when the bit was read it was this one's
	if (now-gen)&(generation>>1) >= history || ends>>(gen%history)&1 != 0 {
		return true, errBroken
	}
	return true, nil
}

// giveUp breaks the barrier, unless it was too late for that.
func (r *rendezvous) giveUp(ctx context.Context, gen uint64, cause error) error {
	l, err := r.lockAnyway(ctx)
	if err != nil {
		r.afterwards(ctx, err, func() { _ = r.withdraw(gen, cause) })
		return cause
	}
	defer r.unlock(l)
	return r.withdraw(gen, cause)
}

// withdraw breaks the barrier, unless the generation is over. The latch is held.
func (r *rendezvous) withdraw(gen uint64, cause error) error {
	over, err := r.outcome(r.state.Load(), gen)
	if over {
		return err
	}
	r.breakUp()
	return cause
}

// bury breaks the barrier if a party that has arrived is dead.
func (r *rendezvous) bury(ctx context.Context, deaths uint64) error {
	l, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer r.unlock(l)
	s := r.state.Load()
	if s&isBroken == 0 && r.partyDied(s) {
		r.breakUp()
	}
	r.buried.Store(deaths + 1)
	return nil
}

// partyDied clears the entries of the dead and reports whether one of them had arrived.
func (r *rendezvous) partyDied(state uint64) (died bool) {
	if id := owner(state); id != 0 && !r.mem.Alive(id) {
		died = true
	}
	for _, w := range r.roster.entries() {
		e := w.Load()
		if e == 0 || r.mem.Alive(owner(e)) {
			continue
		}
		if arrivals(e, number(state)) > 0 {
			died = true // and stays there until the generation ends
		} else {
			w.CompareAndSwap(e, 0)
		}
	}
	return died
}

// end ends a generation. The latch is held. What entries still say of it is taken out
// long before its number could come back.
func (r *rendezvous) end(gen uint64, failed bool) {
	r.ends.Store(ending(r.ends.Load(), gen, failed))
	r.state.Store((gen + 1) << 1 & generation)
	for _, w := range r.roster.entries() {
		if e := w.Load(); low(e) != 0 {
			w.Store(e - low(e))
		}
	}
}

// ending is what ends becomes when a generation ends. It may have been written for the
// same generation before, by one that was killed.
func ending(ends, gen uint64, failed bool) uint64 {
	bits, last := ends&(1<<history-1)&^(1<<(gen%history)), ends>>32
	switch {
	case failed:
		bits |= 1 << (gen % history)
		last = gen + 1
	case last == gen+1:
		last = max(gen, 1) // the one before may have
	case last != 0 && (gen-last)&(generation>>1) > generation>>3:
		last = 0 // nobody is that late
	}
	return last<<32 | bits
}

// breakUp breaks the barrier. The latch is held.
func (r *rendezvous) breakUp() {
	r.state.Store(r.state.Load()&generation | isBroken)
}

// stayAway breaks the barrier for one who will not arrive, unless all have come without it.
func (r *rendezvous) stayAway(ctx context.Context) {
	gen := number(r.state.Load())
	breakUp := func() {
		s := r.state.Load()
		if id := owner(s); number(s) == gen && (id == 0 || !r.mem.Alive(id)) {
			r.breakUp()
		}
	}
	l, err := r.lockAnyway(ctx)
	if err != nil {
		r.afterwards(ctx, err, breakUp)
		return
	}
	defer r.unlock(l)
	breakUp()
}

// abort breaks the barrier.
func (r *rendezvous) abort(ctx context.Context) error {
	l, err := r.lockAnyway(ctx)
	if err != nil {
		return err
	}
	defer r.unlock(l)
	r.breakUp()
	return nil
}

// reset begins a new generation. Who waits in this one is told that it was broken.
func (r *rendezvous) reset(ctx context.Context) error {
	l, err := r.lockAnyway(ctx)
	if err != nil {
		return err
	}
	defer r.unlock(l)
	r.end(number(r.state.Load()), true)
	return nil
}

// waiting is how many have arrived.
func (r *rendezvous) waiting() int {
	s := r.state.Load()
	if s&isBroken != 0 || owner(s) != 0 {
		return 0
	}
	return r.arrived(number(s))
}
