// Package cell is the ground that the algorithms of package share stand on: words,
// and a memory that lets strands sleep until a word changes. An algorithm is written
// once, over this package alone, and runs on three substrates: the heap of one process
// ([Heap], here), memory that processes share (internal/space), and the simulated
// memory of internal/explore, which runs it through interleavings and kills its
// participants between any two operations.
//
// # Words
//
// A Word is 64 bits, changed by single atomic operations, all in one total order.
// Sleepers look at the low half alone, because that is what the kernel can sleep on;
// a transition that somebody may sleep on therefore changes the low half.
//
// # Participants
//
// What lives and dies as one is a participant: a process that takes part in a space.
// Its ID is never used again, so that a word which names a dead participant names
// it for ever. On the heap there is one participant, and it lives as long as the words.
//
// # Sleeping
//
// The one correct way to sleep is
//
//	deaths := m.Watch()
//	v := w.Load()
//	… decide from v, and from Alive of whom v names, that there is nothing to do …
//	err := m.Wait(ctx, w, uint32(v), deaths)
//
// Wait does not sleep if w's low half differs from the value that was looked at, or if
// a participant has died since Watch. So neither a change nor a death between the
// look and the sleep is missed; every participant's death wakes every sleeper of the
// memory, which then looks at everything again. Who changed a word and was killed before
// it called Wake, or was woken and killed before it acted, therefore leaves nobody asleep.
package cell

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// ID names a participant: a slot in the low SlotBits, above it the slot's generation,
// which is never 0. The ID 0 is nobody.
type ID uint32

// SlotBits is the number of an ID's bits that say which slot it is.
const SlotBits = 10

// MakeID is the ID of a slot's generation.
func MakeID(slot int, generation uint32) ID {
	return ID(generation<<SlotBits | uint32(slot)&(1<<SlotBits-1))
}

// Slot is the participant's slot.
func (id ID) Slot() int { return int(id & (1<<SlotBits - 1)) }

// Generation is the slot's generation. A valid ID has one greater than 0.
func (id ID) Generation() uint32 { return uint32(id) >> SlotBits }

// ErrClosed is what Wait returns when its memory was closed.
var ErrClosed = errors.New("the space is closed")

// Memory is a substrate, as one participant sees it.
type Memory interface {
	// Self is the participant that calls.
	Self() ID

	// Alive reports whether a participant lives. It asks the kernel (about 1 µs).
	Alive(id ID) bool

	// Watch makes every death from now on wake the sleepers, and counts those so far.
	Watch() (deaths uint64)

	// Wait sleeps until the low half of w is not old, somebody wakes it, or the count of
	// deaths is not the one given; then it returns nil, and may do so for no reason. It
	// returns the cause of ctx's end, or ErrClosed when the memory is closed. Of several
	// goroutines that wait for one word at most one blocks a thread.
	Wait(ctx context.Context, w Word, old uint32, deaths uint64) error

	// Wake wakes up to n of those who sleep on w, the longest asleep first where the
	// substrate knows, and at least one if there is one.
	Wake(w Word, n int)

	// Spin looks for a short while whether the low half of w changes from old, and
	// reports whether it did. It may give up at once.
	Spin(w Word, old uint32) bool

	// Now is a monotonic time.
	Now() time.Duration
}

// All is the number of sleepers to wake when none may be left asleep.
const All = 1<<31 - 1

// Extent is a run of words by which an object grows.
type Extent struct {
	Index uint64 // names it in a word; never 0
	At    func(i int) Word
}

// ExtentWords is the number of words in an Extent. They are 0 at first.
const ExtentWords = 32

// Extender is a Memory that can give more words.
type Extender interface {
	Memory
	// Extend makes an extent. It belongs to nobody until a word names it; what its maker
	// does not link is lost until the space ends.
	Extend() (Extent, error)
	// Extent finds one by its index, which a peer may have made up: false if there is none.
	Extent(index uint64) (Extent, bool)
}

// Word is a word of a memory. The zero Word is none.
type Word struct {
	p   *atomic.Uint64
	sim Simulator
}

// Simulator stands between an algorithm and its words.
type Simulator interface {
	Load(p *atomic.Uint64) uint64
	Store(p *atomic.Uint64, v uint64)
	CompareAndSwap(p *atomic.Uint64, old, new uint64) bool
}

// At is the word at p.
func At(p *atomic.Uint64) Word { return Word{p: p} }

// Simulated is the word at p, whose operations go through sim.
func Simulated(p *atomic.Uint64, sim Simulator) Word { return Word{p, sim} }

// Pointer is the place of the word: its identity, and what a substrate sleeps on.
func (w Word) Pointer() *atomic.Uint64 { return w.p }

// Load reads the word.
func (w Word) Load() uint64 {
	if w.sim != nil {
		return w.sim.Load(w.p)
	}
	return w.p.Load()
}

// Store writes the word. It is a swap, because in memory that is not Go's own the
// race detector's Store is a release and no more.
func (w Word) Store(v uint64) {
	if w.sim != nil {
		w.sim.Store(w.p, v)
		return
	}
	w.p.Swap(v)
}

// CompareAndSwap writes new if the word is old.
func (w Word) CompareAndSwap(old, new uint64) bool {
	if w.sim == nil {
		return w.p.CompareAndSwap(old, new)
	}
	return w.simulated(old, new)
}

// simulated is apart to let CompareAndSwap be inlined.
//
//go:noinline
func (w Word) simulated(old, new uint64) bool { return w.sim.CompareAndSwap(w.p, old, new) }
