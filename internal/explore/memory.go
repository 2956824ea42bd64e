package explore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/cell"
)

// word is a word of the simulated memory. It simulates itself.
type word struct {
	v        atomic.Uint64
	w        *World
	base     string
	i        int          // in an array, or -1
	owner    *Participant // nil if all share it
	bit      uint64       // stands for the value in footprints
	queueBit uint64
	queue    []*strand // who sleeps, the longest asleep first
}

func (w *World) newWord(name string, i int, owner *Participant) *word {
	if w.used == len(w.pool) {
		x := &word{w: w, bit: objectBit(2 * w.used), queueBit: objectBit(2*w.used + 1)}
		w.pool = append(w.pool, x)
		w.words[&x.v] = x
	}
	x := w.pool[w.used]
	w.used++
	x.v.Store(0)
	x.base, x.i, x.owner, x.queue = name, i, owner, x.queue[:0]
	return x
}

func (x *word) cell() cell.Word { return cell.Simulated(&x.v, x) }

func (x *word) name() string {
	if x.i < 0 {
		return x.base
	}
	return x.base + "[" + strconv.Itoa(x.i) + "]"
}

// dequeue takes s out of the queue.
func (x *word) dequeue(s *strand) {
	for i, t := range x.queue {
		if t == s {
			x.queue = append(x.queue[:i], x.queue[i+1:]...)
			break
		}
	}
	s.queued = false
}

// value shows a word's value: small ones are numbers, others are made of bits.
func value(v uint64) string {
	if v < 1024 {
		return strconv.FormatUint(v, 10)
	}
	return fmt.Sprintf("%#x", v)
}

// touch is the point in front of an operation on the word.
func (x *word) touch() {
	x.w.point()
	if x.owner != nil && x.w.cur != nil && x.w.cur.p != x.owner {
		panic("explore: " + x.name() + " is a word of " + x.owner.name + "'s own")
	}
	x.w.step.reads |= x.bit
}

// Load implements cell.Simulator.
func (x *word) Load(*atomic.Uint64) uint64 {
	x.touch()
	v := x.v.Load()
	if x.w.tracing {
		x.w.note("load %s: %s", x.name(), value(v))
	}
	return v
}

// Store implements cell.Simulator.
func (x *word) Store(_ *atomic.Uint64, v uint64) {
	x.touch()
	before := x.v.Swap(v)
	if before != v {
		x.w.progress++
	}
	x.w.step.writes |= x.bit
	if x.w.tracing {
		x.w.note("store %s: %s → %s", x.name(), value(before), value(v))
	}
}

// CompareAndSwap implements cell.Simulator.
func (x *word) CompareAndSwap(_ *atomic.Uint64, old, new uint64) bool {
	x.touch()
	if x.v.CompareAndSwap(old, new) {
		if old != new {
			x.w.progress++
		}
		x.w.step.writes |= x.bit
		if x.w.tracing {
			x.w.note("cas %s: %s → %s", x.name(), value(old), value(new))
		}
		return true
	}
	if x.w.tracing {
		x.w.note("cas %s: %s → %s failed, it is %s", x.name(), value(old), value(new), value(x.v.Load()))
	}
	return false
}

// arena is where extents are.
type arena struct{ extents [][]*word }

// memory is a participant's view of the memory that all share, or its own memory.
type memory struct {
	p     *Participant
	arena *arena
	local bool
}

// enter is the point in front of an operation of the memory.
func (m *memory) enter() *World {
	w := m.p.w
	w.point()
	if w.cur != nil && w.cur.p != m.p {
		panic("explore: " + w.cur.label() + " uses the memory of " + m.p.name)
	}
	return w
}

// find is the word behind a cell.
func (m *memory) find(c cell.Word) *word {
	x := m.p.w.words[c.Pointer()]
	if x == nil {
		panic("explore: not a word of this world")
	}
	if m.local != (x.owner != nil) || m.local && x.owner != m.p {
		panic("explore: " + x.name() + " is not a word of this memory")
	}
	return x
}

// Self implements cell.Memory. It is no operation: nobody else changes it.
func (m *memory) Self() cell.ID { return m.p.id }

// Alive implements cell.Memory.
func (m *memory) Alive(id cell.ID) bool {
	w := m.enter()
	alive := false
	if m.local {
		alive = id == m.p.id
	} else {
		w.observed = true
		w.step.reads |= deathsBit
		for _, p := range w.participants {
			alive = alive || p.id == id && !p.dead
		}
	}
	if w.tracing {
		w.note("alive %#x: %v", uint32(id), alive)
	}
	return alive
}

// Watch implements cell.Memory.
func (m *memory) Watch() uint64 {
	w := m.enter()
	if m.local {
		return 0
	}
	w.observed = true
	w.step.reads |= deathsBit
	if w.tracing {
		w.note("watch: %d", w.deaths)
	}
	return w.deaths
}

// Wait implements cell.Memory.
func (m *memory) Wait(ctx context.Context, c cell.Word, old uint32, deaths uint64) error {
	w, x := m.enter(), m.find(c)
	w.step.reads |= x.bit
	if !m.local {
		w.observed = true
		w.step.reads |= deathsBit
	}
	if ctx.Err() != nil {
		if w.tracing {
			w.note("wait %s: %v", x.name(), context.Cause(ctx))
		}
		return context.Cause(ctx)
	}
	if uint32(x.v.Load()) != old || !m.local && deaths != w.deaths {
		if w.tracing {
			w.note("wait %s ≠ %s: it is %s, %d died", x.name(), value(uint64(old)), value(x.v.Load()), w.deaths)
		}
		return nil
	}
	if w.cur == nil {
		panic(wouldSleep{x.name()})
	}
	w.step.writes |= x.queueBit
	w.progress++
	if w.tracing {
		w.note("wait %s ≠ %s: sleeps", x.name(), value(uint64(old)))
	}
	return w.sleep(ctx, x)
}

// Wake implements cell.Memory. A sleeper whose context was cancelled but which did not
// run since can be woken, and then may not know of it.
func (m *memory) Wake(c cell.Word, n int) {
	w, x := m.enter(), m.find(c)
	w.step.reads |= deathsBit
	w.step.writes |= x.queueBit
	all := n >= len(x.queue)
	if w.tracing {
		w.note("wake %s: %d of %d", x.name(), min(n, len(x.queue)), len(x.queue))
	}
	for ; n > 0 && len(x.queue) > 0; n-- {
		i := 0
		if w.opts.AnyWake && !all && len(x.queue) > 1 {
			i = w.outcome(len(x.queue))
		}
		s := x.queue[i]
		x.dequeue(s)
		s.woken = true
		w.progress++
		if w.tracing {
			w.note("wakes %s", s.label())
		}
	}
}

// Spin implements cell.Memory: one look. It is polite: in vain, it lets others run.
func (m *memory) Spin(c cell.Word, old uint32) bool {
	w, x := m.enter(), m.find(c)
	w.step.reads |= x.bit
	changed := uint32(x.v.Load()) != old
	if w.tracing {
		w.note("spin %s ≠ %s: %v", x.name(), value(uint64(old)), changed)
	}
	if s := w.cur; s != nil && !changed {
		if s.spinsAt != w.progress {
			s.spins, s.spinsAt = 0, w.progress
		}
		s.spins++
		s.polite = true
	}
	return changed
}

// Now implements cell.Memory: it is as late as before, or 2 ms later.
func (m *memory) Now() time.Duration {
	w := m.enter()
	w.step.reads |= clockBit
	w.step.writes |= clockBit
	if w.cur != nil && w.jumps < w.opts.Jumps && w.outcome(2) == 1 {
		w.jumps++
		w.progress++
		w.clock += jump
	}
	if w.tracing {
		w.note("now: %v", w.clock)
	}
	return w.clock
}

// Extend implements cell.Extender.
func (m *memory) Extend() (cell.Extent, error) {
	w := m.enter()
	w.step.reads |= extentsBit
	w.step.writes |= extentsBit
	if max := w.maxExtents; max > 0 && len(m.arena.extents) >= max {
		return cell.Extent{}, ErrFull
	}
	name := "extent" + strconv.Itoa(len(m.arena.extents)+1)
	var owner *Participant
	if m.local {
		owner = m.p
		name = m.p.name + "'s " + name
	}
	words := make([]*word, cell.ExtentWords)
	for i := range words {
		words[i] = w.newWord(name, i, owner)
	}
	m.arena.extents = append(m.arena.extents, words)
	if w.tracing {
		w.note("extend: %d", len(m.arena.extents))
	}
	return m.extent(uint64(len(m.arena.extents))), nil
}

// ErrFull is what Extend returns when LimitExtents allows no more.
var ErrFull = errors.New("no more extents")

// LimitExtents lets each memory give n extents and no more.
func (w *World) LimitExtents(n int) { w.maxExtents = n }

// Extent implements cell.Extender.
func (m *memory) Extent(index uint64) (cell.Extent, bool) {
	w := m.enter()
	w.step.reads |= extentsBit
	ok := index > 0 && index <= uint64(len(m.arena.extents))
	if w.tracing {
		w.note("extent %d: %v", index, ok)
	}
	if !ok {
		return cell.Extent{}, false
	}
	return m.extent(index), true
}

func (m *memory) extent(index uint64) cell.Extent {
	words := m.arena.extents[index-1]
	return cell.Extent{Index: index, At: func(i int) cell.Word { return words[i].cell() }}
}
