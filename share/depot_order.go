package share

import (
	"slices"

	"github.com/brood-go/brood/internal/cell"
)

// The order of what is ready is a list, first to last, or a leftist heap (Crane 1972; Knuth, The
// Art of Computer Programming, vol. 3, 5.2.3): a binary tree in which no child is before its
// parent, and the way to the right is never longer than that to the left, so that merging two
// costs as many steps as their right spines have nodes: at most log₂(n + 1) each. Both are
// derived from the facts, so a holder of the latch that is killed in the middle of a
// merge does no harm.

// firstIn, lastIn and byPriority say which one of two slots comes before the other.
func firstIn(a, b *slot) bool { return a.seq.Load() < b.seq.Load() }

func lastIn(a, b *slot) bool { return a.seq.Load() > b.seq.Load() }

func byPriority(a, b *slot) bool {
	if p, q := int64(a.prio.Load()), int64(b.prio.Load()); p != q {
		return p < q
	}
	return firstIn(a, b)
}

// insert puts a slot among those that are ready, in its place. The caller commits it.
func (d *depot) insert(n uint64, s *slot) {
	tally(d.desk.stock, 1)
	if d.rules.heap {
		s.next.Set(0)
		s.child.Set(1 << 32)
		d.desk.first.Set(d.merge(d.desk.first.Load(), n, maxRank))
		return
	}
	if t := d.at(d.desk.last.Load()); t != nil && d.rules.order(t, s) {
		s.next.Set(0)
		t.next.Set(n)
		d.desk.last.Set(n)
		return
	}
	// It goes somewhere before the last one: at once in a stack, and where it was before if
	// it is given back.
	before := (*slot)(nil)
	at := d.desk.first.Load()
	for range d.maxSlots() {
		t := d.at(at)
		if t == nil || d.rules.order(s, t) {
			break
		}
		before, at = t, t.next.Load()
	}
	s.next.Set(at)
	if before == nil {
		d.desk.first.Set(n)
	} else {
		before.next.Set(n)
	}
	if at == 0 {
		d.desk.last.Set(n)
	}
}

// insertNewest is insert for what has just been put, into a list.
func (d *depot) insertNewest(n uint64, s *slot) {
	d.desk.stock.Set(d.desk.stock.Load() + 1)
	last := d.desk.last.Load()
	var t *slot
	if last-1 < uint64(len(d.view)) {
		t = d.view[last-1]
	} else {
		t = d.at(last)
	}
	if t == nil {
		s.next.Set(0)
		d.desk.first.Set(n)
		d.desk.last.Set(n)
	} else if d.rules.stack {
		s.next.Set(d.desk.first.Load())
		d.desk.first.Set(n)
	} else {
		s.next.Set(0)
		t.next.Set(n)
		d.desk.last.Set(n)
	}
}

// remove takes the first slot out of the order.
func (d *depot) remove(s *slot) {
	d.desk.stock.Set(d.desk.stock.Load() - 1)
	d.desk.takes.Set(d.desk.takes.Load() + 1)
	one(&d.due.putters)
	if d.rules.heap {
		d.desk.first.Set(d.merge(low(s.child.Load()), s.next.Load(), maxRank))
		return
	}
	next := s.next.Load()
	d.desk.first.Set(next)
	if next == 0 {
		d.desk.last.Set(0)
	}
}

// maxRank bounds the way down a heap that a peer has overwritten.
const maxRank = 64

// merge merges two heaps and returns the root. A node's rank, the length of its right spine, is
// in the high half of child.
func (d *depot) merge(a, b uint64, depth int) uint64 {
	s, t := d.at(a), d.at(b)
	switch {
	case s == nil:
		return b
	case t == nil || depth == 0:
		return a
	case d.rules.order(t, s):
		a, b, s = b, a, t
	}
	left, right := low(s.child.Load()), d.merge(s.next.Load(), b, depth-1)
	if d.rank(left) < d.rank(right) {
		left, right = right, left
	}
	s.child.Set((d.rank(right)+1)<<32 | left)
	s.next.Set(right)
	return a
}

func (d *depot) rank(n uint64) uint64 {
	if s := d.at(n); s != nil {
		return s.child.Load() >> 32
	}
	return 0
}

// rebuild derives everything from the facts.
func (d *depot) rebuild() {
	var ready, failed, free []uint64
	var drop []numbered
	var counts [slotCode + 1]int
	var heldFailed uint64
	aborted := d.status.Load()&isAborted != 0
	puts, kept := d.desk.puts.Load(), uint64(0)
	for n := uint64(1); ; n++ {
		s := d.at(n)
		if s == nil {
			break
		}
		v := s.state.Load()
		if code := v & slotCode; aborted && (code == slotReady || code == slotFailed) {
			drop = append(drop, numbered{n, s}) // whoever aborted it did not come to that
			if d.bulk != nil {
				kept += d.idle(s)
			}
			continue
		}
		code := v & slotCode
		counts[code]++
		if d.bulk != nil {
			kept += d.idle(s)
		}
		if code == slotTaken && v&slotWasFailed != 0 {
			heldFailed++
		}
		switch code {
		case slotFree:
			free = append(free, n)
			continue
		case slotReady:
			ready = append(ready, n)
		case slotFailed:
			failed = append(failed, n)
		}
		puts = max(puts, s.seq.Load())
	}
	d.desk.puts.Set(puts)
	d.desk.kept.Set(kept)
	d.desk.stock.Set(uint64(counts[slotFilling])<<32 | uint64(counts[slotReady]))
	d.desk.held.Set(uint64(counts[slotReading]+counts[slotTaken]) - heldFailed)
	d.desk.heldFailed.Set(heldFailed)
	d.desk.failed.Set(uint64(counts[slotFailed]))
	d.sort(ready, d.rules.order)
	d.sort(failed, firstIn)
	d.chain(free, d.desk.free, d.desk.lastFree, false)
	d.chain(failed, d.desk.firstFailed, d.desk.lastFailed, false)
	d.chain(ready, d.desk.first, d.desk.last, d.rules.heap)
	for _, x := range drop {
		d.release(x.n, x.slot)
	}
}

func (d *depot) sort(all []uint64, order func(a, b *slot) bool) {
	slices.SortFunc(all, func(a, b uint64) int {
		switch s, t := d.at(a), d.at(b); {
		case order(s, t):
			return -1
		case order(t, s):
			return 1
		}
		return 0
	})
}

// chain links slots in their order. As a heap, a chain is one of left children.
func (d *depot) chain(all []uint64, first, last cell.Word, heap bool) {
	head := uint64(0)
	for i := len(all) - 1; i >= 0; i-- {
		s := d.at(all[i])
		if heap {
			s.next.Set(0)
			s.child.Set(1<<32 | head)
		} else {
			s.next.Set(head)
		}
		head = all[i]
	}
	first.Set(head)
	if last != (cell.Word{}) && len(all) > 0 {
		last.Set(all[len(all)-1])
	} else if last != (cell.Word{}) {
		last.Set(0)
	}
}
