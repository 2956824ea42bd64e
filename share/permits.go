package share

import (
	"context"
	"errors"
	"math"
	"runtime"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// permits is the algorithm of Semaphore and BoundedSemaphore: a number of permits, of
// which participants hold some.
//
// # Layout
//
//	0–2  latch
//	3    posted: how many there are beyond those it was made with, signed
//	4–5  line of those who wait for permits
//	6–   roster; an entry's low half is the number of permits that the participant holds
//
// # Invariants
//
// The number of permits that are available is nowhere: it is what there are (made with
// and posted) minus what those in the roster hold who live.
//
// # Ownership
//
// A participant adds to its own entry under the latch, and takes from it any time.
// Entries of the dead are cleared, or taken over, under the latch. Posted grows any time, and
// shrinks under the latch.
//
// # Commits
//
// Acquire, release: one change of the entry. Post: one of posted. Consume takes from
// posted and then from its entry, under the latch: the first is what counts, because who
// is killed between holds nothing any more.
//
// # Wake argument
//
// See line. Release and post change the facts and then wake everybody, as one may want more
// permits than another.
//
// # Deaths
//
//	killed while                      the others find
//	holding permits                   them available: whoever needs them clears the entry
//	holding the latch                 a latch to take over, and facts that are true
//	having released, before waking    all are awake by that death
//	consuming                         the permits gone, if posted was changed
//
// # Fairness and cost
//
// A take that is bounded (below) asks in addition that fewer than so many are held, which is
// another condition over the same sum: it changes with releases and deaths alone, and these wake
// all. Who waits for it may have to wait when others need not, so it waits at no gate and
// never becomes the heir: nobody else stands behind it.
//
// Who finds enough permits takes them, also when others wait for more: but a head that
// has waited for patience becomes the heir, and then nobody else gets any until it has
// its own. (One that is stopped then holds the others up, as one that is stopped with permits.)
// Adding up is one load for each participant that ever held a permit, less those whose entries
// others have taken over; the kernel is asked whether they live only if there seem to be too
// few permits, or when somebody's first permit finds no entry free.
//
// # Trust
//
// Sums are made in 64 bits from 32, and made-up entries belong to the dead.
type permits struct {
	latch  mutex
	posted cell.Word
	line   line
	roster roster
	mem    cell.Extender
	me     cell.ID
	made   int64 // with how many
}

var errTooManyHeld = errors.New("this process would hold more than 4294967295 permits")

// newPermits is the semaphore in the words of an object, with two words for gates.
func newPermits(made int, mem cell.Extender, words []cell.Word, local cell.Memory, gates [2]cell.Word) *permits {
	p := &permits{
		latch: newMutex(mem, words, local, gates[0]), posted: words[3],
		line: line{change: words[4], heir: words[5], mem: mem, me: mem.Self(), gate: gate{gates[1], local}},
		mem:  mem, me: mem.Self(), made: int64(made),
	}
	p.roster.init(mem, words[6], words[7:])
	return p
}

// limit is how many permits there are.
func (p *permits) limit() int64 { return p.made + int64(p.posted.Load()) }

// sum is how many permits are held according to the roster.
func (p *permits) sum() (n int64) {
	for _, w := range p.roster.entries() {
		n += int64(low(w.Load()))
	}
	runtime.KeepAlive(p) // its words are not Go's
	return n
}

// available is how many permits can be had.
func (p *permits) available() int64 {
	n := p.limit()
	for _, w := range p.roster.entries() {
		if e := w.Load(); low(e) != 0 && p.mem.Alive(owner(e)) {
			n -= int64(low(e))
		}
	}
	runtime.KeepAlive(p)
	return n
}

// bury clears the entries of the dead. The latch is held.
func (p *permits) bury() {
	for _, w := range p.roster.entries() {
		if e := w.Load(); e != 0 && !p.mem.Alive(owner(e)) {
			w.CompareAndSwap(e, 0)
		}
	}
}

// unbounded is how many permits may be held if nobody says fewer.
const unbounded = math.MaxInt64

// can reports whether n permits may be taken.
func (p *permits) can(n, below int64) bool {
	sum := p.sum()
	return p.limit()-sum >= n && sum < below
}

// take takes n permits if they are there, fewer than below are held, and it is this
// participant's turn. The latch is held.
func (p *permits) take(n, below int64, head bool) (bool, error) {
	if !p.line.turn(head) {
		return false, nil
	}
	if !p.can(n, below) {
		p.bury()
		if !p.can(n, below) {
			return false, nil
		}
	}
	e, err := p.roster.mine()
	if err != nil {
		return false, err
	}
	if low(e.Load())+uint64(n) >= 1<<32 {
		return false, errTooManyHeld
	}
	add(e, p.me, uint64(n))
	return true, nil
}

// try takes n permits if it can without waiting for one.
func (p *permits) try(ctx context.Context, n, below int64) (bool, error) {
	g, err := p.latch.lock(ctx)
	if err != nil {
		return false, err
	}
	defer p.latch.unlock(g.token, false)
	return p.take(n, below, false)
}

// tryPatience bounds how long tryNow waits for a latch whose holder may be stopped.
const tryPatience = 10 * time.Millisecond

// tryNow is try for one who does not wait.
func (p *permits) tryNow(n, below int64) bool {
	g, ok := p.latch.try()
	if !ok {
		ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
		defer cancel()
		var err error
		if g, err = p.latch.lock(ctx); err != nil {
			return false
		}
	}
	defer p.latch.unlock(g.token, false)
	took, err := p.take(n, below, false)
	return took && err == nil
}

// wait takes n permits when it can.
func (p *permits) wait(ctx context.Context, n int64) error {
	return p.line.wait(ctx, func(long bool) (bool, error) {
		g, err := p.latch.lock(ctx)
		if err != nil {
			return false, err
		}
		defer p.latch.unlock(g.token, false)
		ok, err := p.take(n, unbounded, true)
		if !ok && err == nil && long {
			p.line.claim()
		}
		return ok, err
	})
}

// waitBelow takes a permit when fewer than below are held.
func (p *permits) waitBelow(ctx context.Context, below int64) error {
	l := p.line
	l.gate = gate{}
	return l.wait(ctx, func(bool) (bool, error) { return p.try(ctx, 1, below) })
}

// release gives back n permits that this participant holds.
func (p *permits) release(n int64) {
	if e, ok := p.roster.hasMine(); ok {
		add(e, p.me, -uint64(n))
	}
	p.line.signal(cell.All)
}

// post makes n permits more.
func (p *permits) post(n int64) {
	for {
		v := p.posted.Load()
		if p.posted.CompareAndSwap(v, v+uint64(n)) {
			break
		}
	}
	p.line.signal(cell.All)
}

// consume makes n permits of those that this participant holds go for ever.
func (p *permits) consume(ctx context.Context, n int64) error {
	g, err := p.latch.lock(ctx)
	if err != nil {
		return err
	}
	defer p.latch.unlock(g.token, false)
	e, ok := p.roster.hasMine()
	if !ok {
		return nil
	}
	for {
		v := p.posted.Load()
		if p.posted.CompareAndSwap(v, v-uint64(n)) {
			break
		}
	}
	add(e, p.me, -uint64(n))
	return nil
}
