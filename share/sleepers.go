package share

import (
	"context"
	"math/bits"
	"sync/atomic"

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
// is not told. The words of the dead are not looked at.
type sleepers struct {
	latch  mutex
	roster roster
	extent cell.Extent
	taken  atomic.Uint32 // a bit for each word of extent
}

// openSleepers joins the table. Without it the space works as well, and tells less.
func (s *space) openSleepers() error {
	words, _, err := s.store.words(kindSleepers, reserved+"sleepers", none)
	if err != nil {
		return err
	}
	t := &sleepers{latch: newMutex(s.mem, words, &s.gates, s.gateWord())}
	t.roster.init(s.mem, words[3], words[4:])
	if t.extent, err = s.mem.Extend(); err != nil {
		return err
	}
	g, err := t.latch.lock(context.Background())
	if err != nil {
		return err
	}
	defer t.latch.unlock(g.token, false)
	for _, w := range t.roster.entries() {
		if e := w.Load(); e != 0 && !s.mem.Alive(owner(e)) {
			w.Store(0)
		}
	}
	w, err := t.roster.mine()
	if err != nil {
		return err
	}
	w.Store(owned(t.latch.me) | t.extent.Index&(1<<32-1))
	s.sleepers = t
	return nil
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
