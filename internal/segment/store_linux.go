package segment

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/brood-go/brood/internal/shm"
)

// minClass is the smallest payload that a segment is made for.
const minClass = 128 << 10

// Store makes the segments that one side sends. Its methods are for any goroutine.
type Store struct {
	// OnDrop, when not nil, is told which segments are gone, so that the peers that were
	// passed one can unmap it. Set it before the first Alloc. It is called without locks.
	OnDrop func(id uint32)

	keep int64

	mu     sync.Mutex
	closed bool
	lastID uint32
	idle   []*block   // the longest idle first
	held   int64      // bytes in idle
	handed []*Segment // to receivers that have not said done, as far as we know
}

// block is a segment's memory, over all its uses.
type block struct {
	id  uint32
	gen uint32 // of the current or last use
	mem *shm.Memory
}

func (b *block) size() int64 { return int64(b.mem.Len()) }

// NewStore makes a Store that keeps up to so many bytes of idle segments for later.
func NewStore(keep int64) *Store { return &Store{keep: keep} }

// class is the capacity of the segments for a payload. There are four classes from one
// power of two to the next, so that at most a fifth is wasted and sizes that differ little
// share segments.
func class(n int64) int64 {
	if n <= minClass {
		return minClass
	}
	step := int64(1) << (bits.Len64(uint64(n-1)) - 3)
	return (n + step - 1) &^ (step - 1)
}

// fits reports whether a segment of that capacity may serve a class: it may be a
// larger one, but not so large that most of it would be kept from its own kind.
func fits(capacity, class int64) bool { return capacity >= class && capacity <= 2*class }

// Alloc begins a use of a segment with n bytes, whose contents are whatever was there
// before. The caller owns it until Release or Handover. The error matches ENOMEM when the
// memory can't be had.
func (s *Store) Alloc(n int64) (*Segment, error) {
	if n < 0 || n > math.MaxInt/2 {
		return nil, fmt.Errorf("segment: invalid size %d", n)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	dropped := s.collect()
	b := s.reuse(class(n))
	if b == nil {
		s.lastID++
		b = &block{id: s.lastID}
	}
	s.mu.Unlock()
	s.drop(dropped)

	if b.mem == nil {
		mem, err := shm.Create("segment", int(class(n)+HeaderSize))
		if err != nil {
			return nil, fmt.Errorf("segment: %w", err)
		}
		b.mem = mem
	}
	if b.gen++; b.gen == 0 { // what a new header says
		b.gen = 1
	}
	b.mem.Uint32(generationAt).Store(b.gen) // the commit
	return &Segment{store: s, block: b, n: int(n), gen: b.gen, state: inUse, count: 1}, nil
}

// reuse takes the smallest idle segment that fits, of equals the latest used: its
// pages are the likeliest in a cache. Under mu.
func (s *Store) reuse(class int64) *block {
	best := -1
	for i, b := range s.idle {
		if fits(b.size()-HeaderSize, class) && (best < 0 || b.size() <= s.idle[best].size()) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	b := s.idle[best]
	s.idle = slices.Delete(s.idle, best, best+1)
	s.held -= b.size()
	return b
}

// collect makes idle what receivers are done with, and returns what is too much. Under mu.
func (s *Store) collect() (dropped []*block) {
	s.handed = slices.DeleteFunc(s.handed, func(g *Segment) bool {
		if g.block.mem.Uint32(doneAt).Load() != g.gen {
			return false
		}
		g.state = over
		dropped = append(dropped, s.park(g.block)...)
		return true
	})
	return dropped
}

// park makes a segment idle, and returns what is too much, the longest idle first. Under mu.
func (s *Store) park(b *block) (dropped []*block) {
	s.idle = append(s.idle, b)
	s.held += b.size()
	for len(s.idle) > 0 && (s.closed || s.held > s.keep) {
		s.held -= s.idle[0].size()
		dropped = append(dropped, s.idle[0])
		s.idle = slices.Delete(s.idle, 0, 1)
	}
	return dropped
}

// drop gives memory back. Not under mu.
func (s *Store) drop(blocks []*block) {
	for _, b := range blocks {
		_ = b.mem.Close() // of memory: there is nothing that could be lost
		if s.OnDrop != nil {
			s.OnDrop(b.id)
		}
	}
}

// Collect makes idle what receivers are done with, and drops what is too much.
// Alloc does the same; this is for a Store that is not used for a while.
func (s *Store) Collect() {
	s.mu.Lock()
	dropped := s.collect()
	s.mu.Unlock()
	s.drop(dropped)
}

// Close drops all segments: the idle and the handed over ones now, those that are
// retained with their last Release. OnDrop is called for each. A second Close does nothing.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	var dropped []*block
	for _, g := range s.handed {
		g.state = over
		dropped = append(dropped, g.block)
	}
	s.handed = nil
	dropped = append(dropped, s.idle...)
	s.idle, s.held = nil, 0
	s.mu.Unlock()
	s.drop(dropped)
}

// Stats says how much a Store keeps.
type Stats struct {
	Idle      int   // segments
	IdleBytes int64 // of memory
	Handed    int   // segments that receivers have not said done with
}

// Stats counts.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{len(s.idle), s.held, len(s.handed)}
}
