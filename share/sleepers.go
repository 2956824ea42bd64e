package share

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/strand"
)

// sleepers is where the processes of a space say what their goroutines wait for, for people
// who look at the space from outside. Nothing depends on it.
//
// # Layout
//
//	0–2  latch
//	3    roster's head
//	4–   roster; an entry's low half is the index of the participant's extent
//
// A word of the extent is 0, or has the object that a goroutine waits for in its high half and
// the low bits of the goroutine's number in its low half.
//
// # Ownership and commits
//
// Only the participant writes its extent, one store for each change. What does not fit
// is not told. The words of the dead are not looked at. Who joins takes over the
// entry and the extent of a dead one if there is one, so that joining costs nothing in the
// long run: it clears the extent, and then one compare-and-swap makes it its own.
//
// # Trust
//
// An index that was made up makes two tell in one place, or in what belongs to
// another object, which whoever made it up could have overwritten itself.
type sleepers struct {
	latch  mutex
	roster roster
	extent cell.Extent
	taken  atomic.Uint32 // a bit for each word of extent
}

// sleepersPatience bounds how long somebody who opens a space waits for the table: its latch is
// held for microseconds, but its holder may be stopped.
const sleepersPatience = 50 * time.Millisecond

// openSleepers joins the table, if that is possible: the space is full, or the table's latch is
// held by one that is stopped. Without it the space works as well, and tells less.
func (s *space) openSleepers() {
	words, _, err := s.store.words(kindSleepers, reserved+"sleepers", none)
	if err != nil {
		return
	}
	t := &sleepers{latch: newMutex(s.mem, words, &s.gates, s.gateWord())}
	t.roster.init(s.mem, words[3], words[4:])
	ctx, cancel := context.WithTimeout(context.Background(), sleepersPatience)
	defer cancel()
	g, err := t.latch.lock(ctx)
	if err != nil {
		return
	}
	defer t.latch.unlock(g.token, false)
	if t.inherit() || t.begin() {
		s.sleepers = t
	}
}

// inherit takes over what a dead participant has left, if there is one. The latch is held.
func (t *sleepers) inherit() bool {
	mem := t.roster.mem
	for _, w := range t.roster.entries() {
		e := w.Load()
		if e == 0 || mem.Alive(owner(e)) {
			continue
		}
		x, ok := mem.Extent(low(e))
		if !ok {
			continue
		}
		for i := range cell.ExtentWords {
			x.At(i).Store(0)
		}
		if w.CompareAndSwap(e, owned(t.latch.me)|low(e)) {
			t.extent = x
			return true
		}
	}
	return false
}

// begin claims an entry and makes an extent. The latch is held.
func (t *sleepers) begin() bool {
	w, err := t.roster.mine()
	if err != nil {
		return false
	}
	if t.extent, err = t.roster.mem.Extend(); err != nil {
		return false
	}
	w.Store(owned(t.latch.me) | t.extent.Index&(1<<32-1))
	return true
}

// sleeping says that the caller waits for an object, until the bit it returns is given to awake.
func (s *space) sleeping(o *object) (bit int) {
	t := s.sleepers
	if t == nil {
		return -1
	}
	for {
		taken := t.taken.Load()
		bit = bits.TrailingZeros32(^taken)
		if bit == cell.ExtentWords {
			return -1
		}
		if t.taken.CompareAndSwap(taken, taken|1<<bit) {
			t.extent.At(bit).Store(o.index<<32 | strand.Goroutine()&(1<<32-1))
			return bit
		}
	}
}

// awake ends sleeping.
func (s *space) awake(bit int) {
	if bit < 0 {
		return
	}
	t := s.sleepers
	t.extent.At(bit).Store(0)
	t.taken.And(^(uint32(1) << bit))
}
