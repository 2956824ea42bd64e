package segment

import (
	"os"
	"slices"
)

// The states of a use.
const (
	inUse  = iota // by this process: count says how often
	handed        // over to the receiver
	over
)

// Segment is one use of a segment's memory.
type Segment struct {
	store *Store
	block *block
	n     int
	gen   uint32

	// Under the store's mutex.
	state int
	count int
}

// Bytes is the payload, of the size that was asked for. Not after the last Release.
func (g *Segment) Bytes() []byte {
	return g.block.mem.Bytes()[HeaderSize : HeaderSize+g.n : HeaderSize+g.n]
}

// Ref names the whole payload.
func (g *Segment) Ref() Ref {
	return Ref{ID: g.block.id, Gen: g.gen, Offset: HeaderSize, Length: uint64(g.n)}
}

// ID is what a peer knows the memory by, also in later uses: it is passed File once.
func (g *Segment) ID() uint32 { return g.block.id }

// File is the memory's descriptor, for passing. The Store keeps it; whoever passes it
// retains the segment meanwhile.
func (g *Segment) File() *os.File { return g.block.mem.File() }

// Retain adds a user, who will call Release.
func (g *Segment) Retain() {
	g.store.mu.Lock()
	defer g.store.mu.Unlock()
	if g.state != inUse {
		panic("segment: Retain of a segment that is not in use")
	}
	g.count++
}

// Release ends a user's part. The last one makes the segment idle.
func (g *Segment) Release() {
	s := g.store
	s.mu.Lock()
	if g.state != inUse {
		s.mu.Unlock()
		panic("segment: Release of a segment that is not in use")
	}
	var dropped []*block
	if g.count--; g.count == 0 {
		g.state = over
		dropped = s.park(g.block)
	}
	s.mu.Unlock()
	s.drop(dropped)
}

// Handover leaves the segment to the one receiver that was or will be sent its Ref. It
// takes the place of the last Release. Not in use by us any more, the segment becomes
// idle when the receiver is done.
func (g *Segment) Handover() {
	s := g.store
	s.mu.Lock()
	if g.state != inUse || g.count != 1 {
		s.mu.Unlock()
		panic("segment: Handover of a segment that is not in use once")
	}
	g.state, g.count = handed, 0
	closed := s.closed
	if closed {
		g.state = over
	} else {
		s.handed = append(s.handed, g)
	}
	s.mu.Unlock()
	if closed {
		s.drop([]*block{g.block})
	}
}

// Reclaim takes back a segment whose receiver is dead. It does nothing if the receiver
// was done before, or the Store is closed.
func (g *Segment) Reclaim() {
	s := g.store
	s.mu.Lock()
	var dropped []*block
	if g.state == handed {
		g.state = over
		s.handed = slices.DeleteFunc(s.handed, func(h *Segment) bool { return h == g })
		dropped = s.park(g.block)
	}
	s.mu.Unlock()
	s.drop(dropped)
}
