package share

import (
	"context"
	"sync/atomic"

	"github.com/brood-go/brood/internal/cell"
)

// fault is something that is broken below the algorithms, or in what they write. The search
// must find what comes of it: a search that finds no planted fault would find no other.
type fault struct {
	memory    func(m *brokenMemory)
	local     func(m *brokenMemory)
	word      map[int]func(w *spoilt) // by the index in the object; -1 is every word
	localWord func(w *spoilt)
	extent    func(index uint64, i int) func(w *spoilt) // word i of an extent; nil is sound
}

// planted is the fault in the processes that are made now.
var planted fault

func (f *fault) inMemory(m cell.Extender) cell.Extender {
	if f.extent != nil {
		m = &spoiltExtents{m, f.extent}
	}
	return breaking(m, f.memory)
}

// spoiltExtents is a memory of whose extents some words are broken.
type spoiltExtents struct {
	cell.Extender
	how func(index uint64, i int) func(w *spoilt)
}

func (m *spoiltExtents) spoil(x cell.Extent) cell.Extent {
	return cell.Extent{Index: x.Index, At: func(i int) cell.Word {
		w := x.At(i)
		if how := m.how(x.Index, i); how != nil {
			w = spoil(w, how)
		}
		return w
	}}
}

func (m *spoiltExtents) Extend() (cell.Extent, error) {
	x, err := m.Extender.Extend()
	if err != nil {
		return x, err
	}
	return m.spoil(x), nil
}

func (m *spoiltExtents) Extent(index uint64) (cell.Extent, bool) {
	x, ok := m.Extender.Extent(index)
	if !ok {
		return x, false
	}
	return m.spoil(x), true
}
func (f *fault) inLocal(m cell.Extender) cell.Extender { return breaking(m, f.local) }

func breaking(m cell.Extender, how func(*brokenMemory)) cell.Extender {
	if how == nil {
		return m
	}
	b := &brokenMemory{Extender: m}
	how(b)
	return b
}

func (f *fault) inLocalWord(w cell.Word) cell.Word {
	if f.localWord == nil {
		return w
	}
	return spoil(w, f.localWord)
}

func (f *fault) words(words []cell.Word) []cell.Word {
	if f.word == nil {
		return words
	}
	all := make([]cell.Word, len(words))
	for i, w := range words {
		all[i] = w
		for _, k := range []int{i, -1} {
			if how := f.word[k]; how != nil {
				all[i] = spoil(w, how)
			}
		}
	}
	return all
}

// brokenMemory is a memory of which something is broken.
type brokenMemory struct {
	cell.Extender
	wake  func(m cell.Extender, w cell.Word, n int)
	alive func(m cell.Extender, id cell.ID) bool
	watch func(m cell.Extender) uint64
	wait  func(m cell.Extender, ctx context.Context, w cell.Word, old uint32, deaths uint64) error
}

func (b *brokenMemory) Wake(w cell.Word, n int) {
	if b.wake != nil {
		b.wake(b.Extender, w, n)
	} else {
		b.Extender.Wake(w, n)
	}
}

func (b *brokenMemory) Alive(id cell.ID) bool {
	if b.alive != nil {
		return b.alive(b.Extender, id)
	}
	return b.Extender.Alive(id)
}

func (b *brokenMemory) Watch() uint64 {
	if b.watch != nil {
		return b.watch(b.Extender)
	}
	return b.Extender.Watch()
}

func (b *brokenMemory) Wait(ctx context.Context, w cell.Word, old uint32, deaths uint64) error {
	if b.wait != nil {
		return b.wait(b.Extender, ctx, w, old, deaths)
	}
	return b.Extender.Wait(ctx, w, old, deaths)
}

// What can be broken of a memory.

func wakesNobody(b *brokenMemory) { b.wake = func(cell.Extender, cell.Word, int) {} }

func wakesOne(b *brokenMemory) {
	b.wake = func(m cell.Extender, w cell.Word, _ int) { m.Wake(w, 1) }
}

func allLive(b *brokenMemory) { b.alive = func(cell.Extender, cell.ID) bool { return true } }

func othersDead(b *brokenMemory) {
	b.alive = func(m cell.Extender, id cell.ID) bool { return id == m.Self() }
}

// deafToDeaths counts deaths when it goes to sleep, and not when it was asked to watch.
func deafToDeaths(b *brokenMemory) {
	b.wait = func(m cell.Extender, ctx context.Context, w cell.Word, old uint32, _ uint64) error {
		return m.Wait(ctx, w, old, m.Watch())
	}
}

// comparesNothing sleeps on whatever the word is now.
func comparesNothing(b *brokenMemory) {
	b.wait = func(m cell.Extender, ctx context.Context, w cell.Word, _ uint32, deaths uint64) error {
		return m.Wait(ctx, w, uint32(w.Load()), deaths)
	}
}

// spoilt is a word of which something is broken.
type spoilt struct {
	cell.Word
	store func(w cell.Word, v uint64)
	cas   func(w cell.Word, old, new uint64) bool
}

func spoil(w cell.Word, how func(*spoilt)) cell.Word {
	s := &spoilt{Word: w}
	how(s)
	return cell.Simulated(w.Pointer(), s)
}

func (s *spoilt) Load(*atomic.Uint64) uint64 { return s.Word.Load() }

func (s *spoilt) Store(_ *atomic.Uint64, v uint64) {
	if s.store != nil {
		s.store(s.Word, v)
	} else {
		s.Word.Store(v)
	}
}

func (s *spoilt) CompareAndSwap(_ *atomic.Uint64, old, new uint64) bool {
	if s.cas != nil {
		return s.cas(s.Word, old, new)
	}
	return s.Word.CompareAndSwap(old, new)
}

// What can be broken of a word.

// notAtomic compares, and then swaps.
func notAtomic(s *spoilt) {
	s.cas = func(w cell.Word, old, new uint64) bool {
		if w.Load() != old {
			return false
		}
		w.Store(new)
		return true
	}
}

// losesStores never writes what is stored.
func losesStores(s *spoilt) { s.store = func(cell.Word, uint64) {} }

// writes changes what a compare-and-swap writes.
func writes(change func(old, new uint64) uint64) func(*spoilt) {
	return func(s *spoilt) {
		s.cas = func(w cell.Word, old, new uint64) bool { return w.CompareAndSwap(old, change(old, new)) }
	}
}

// changes changes what is written, in whatever way.
func changes(change func(old, new uint64) uint64) func(*spoilt) {
	return func(s *spoilt) {
		writes(change)(s)
		s.store = func(w cell.Word, v uint64) { w.Store(change(w.Load(), v)) }
	}
}

// forgets pretends to do some of the changes, in whatever way.
func forgets(which func(old, new uint64) bool) func(*spoilt) {
	return changes(func(old, new uint64) uint64 {
		if which(old, new) {
			return old
		}
		return new
	})
}

// without never lets some bits be set.
func without(bits uint64) func(*spoilt) {
	return writes(func(_, new uint64) uint64 { return new &^ bits })
}

// loses pretends to do some of the changes.
func loses(which func(old, new uint64) bool) func(*spoilt) {
	return writes(func(old, new uint64) uint64 {
		if which(old, new) {
			return old
		}
		return new
	})
}
