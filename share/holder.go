package share

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/brood-go/brood/internal/strand"
)

// holder says which strand and goroutine of this process has a lock. It is written by who
// has just acquired it, and never cleared: it is true only if it is of the turn that the
// lock's state says.
type holder struct {
	strand atomic.Pointer[strand.Strand]
	who    atomic.Uint64 // the goroutine, and the low bits of the token
}

const (
	tokenBits = 24
	tokenMask = 1<<tokenBits - 1
)

// set notes the holder. Its space is told of a strand that it has not seen here last.
func (h *holder) set(s *strand.Strand, token uint64, k strand.Keeper) {
	if s != nil || h.strand.Load() != nil {
		h.setStrand(s, k)
	}
	h.who.Store(strand.Goroutine()<<tokenBits | token&tokenMask)
}

func (h *holder) setStrand(s *strand.Strand, k strand.Keeper) {
	if h.strand.Load() != s {
		h.strand.Store(s)
		if s != nil {
			strand.Holds(s, k)
		}
	} else if s != nil {
		strand.StillHolds(s)
	}
}

// recheck is called when the holder was noted. If the task of ctx has returned meanwhile, its
// strand may be another task's, and who acquired is nobody's.
func (h *holder) recheck(ctx context.Context) {
	if s := h.strand.Load(); s != nil && strand.From(ctx) != s {
		h.strand.Store(nil)
	}
}

// get is the goroutine and the strand that have the lock with a token, if that is known
// already.
func (h *holder) get(token uint64) (goroutine uint64, s *strand.Strand, ok bool) {
	w := h.who.Load()
	if w == 0 || w&tokenMask != token&tokenMask {
		return 0, nil, false
	}
	s = h.strand.Load()
	return w >> tokenBits, s, h.who.Load() == w
}

// hold is what one Acquire of something that can be held several times stands for.
type hold struct {
	of        holdable
	n         int64 // permits
	strand    *strand.Strand
	goroutine uint64
	lost      atomic.Bool // it was taken back from an ended strand
	item      *catch      // of a queue

	// Guarded by the keeper's mutex.
	prev, next *hold
	listed     bool
	released   bool
	ending     bool
}

// holdable is what can be held several times.
type holdable interface {
	thing
	releaseHold(h *hold, token uint64)
	detachHold(h *hold, token uint64)
}

// release implements releaser.
func (h *hold) release(token uint64) { h.of.releaseHold(h, token) }

// detach implements releaser.
func (h *hold) detach(token uint64) { h.of.detachHold(h, token) }

// keeper lists what is held of something that many can hold.
type keeper struct {
	mu    sync.Mutex
	first *hold
}

// add notes a hold of ctx's strand.
func (k *keeper) add(ctx context.Context, of holdable, n int64) *hold {
	h := newHold(ctx, of, n)
	k.note(ctx, h)
	return h
}

// note lists a hold of ctx's strand.
func (k *keeper) note(ctx context.Context, h *hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list(h)
	if strand.From(ctx) != h.strand { // as in holder.recheck
		h.strand = nil
	}
}

func newHold(ctx context.Context, of holdable, n int64) *hold {
	h := &hold{of: of, n: n, strand: strand.From(ctx), goroutine: strand.Goroutine()}
	if h.strand != nil {
		strand.Holds(h.strand, of.base().space)
	}
	return h
}

// list puts a hold into the list. The mutex is held.
func (k *keeper) list(h *hold) {
	h.listed = true
	if h.next = k.first; h.next != nil {
		h.next.prev = h
	}
	k.first = h
}

// unlist takes a hold out of the list, if it is there. The mutex is held.
func (k *keeper) unlist(h *hold) {
	if !h.listed {
		return
	}
	h.listed = false
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		k.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.prev, h.next = nil, nil
}

// remove takes a hold out for good, and reports false if it was already.
func (k *keeper) remove(h *hold) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.drop(h)
}

// drop is remove with the mutex held.
func (k *keeper) drop(h *hold) bool {
	if h.released {
		return false
	}
	h.released = true
	k.unlist(h)
	return true
}

// refuse panics, as a guard was released before, unless there is a reason.
func (h *hold) refuse(what string) {
	if o := h.of.base(); !h.lost.Load() && !o.space.closed.Load() {
		panic(fmt.Sprintf("share: %s of %v by a guard that was released before", what, o))
	}
}

// beginEnd says that somebody ends a hold, and reports false if it was ended, or somebody does so. It stays
// listed, so that it is taken back if its strand ends meanwhile.
func (k *keeper) beginEnd(h *hold) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.released || h.ending {
		return false
	}
	h.ending = true
	return true
}

// finishEnd says what came of it: the hold is ended, or as it was.
func (k *keeper) finishEnd(h *hold, ended bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h.ending = false
	if ended {
		k.drop(h)
	}
}

// anyOf reports whether a goroutine has a hold of a certain kind.
func (k *keeper) anyOf(goroutine uint64, is func(h *hold) bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := k.first; h != nil; h = h.next {
		if h.goroutine == goroutine && is(h) {
			return true
		}
	}
	return false
}

// takeBack takes a hold out because its strand has ended.
func (k *keeper) takeBack(h *hold) bool {
	h.lost.Store(true)
	return k.remove(h)
}

// of is what a strand holds.
func (k *keeper) of(s *strand.Strand) (all []*hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := k.first; h != nil; h = h.next {
		if h.strand == s {
			all = append(all, h)
		}
	}
	return all
}

// detach makes a hold nobody's.
func (k *keeper) detach(h *hold) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unlist(h)
}

// goroutines is who holds something, and how many permits they hold together.
func (k *keeper) goroutines() (all []uint64, permits int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := k.first; h != nil; h = h.next {
		all = append(all, h.goroutine)
		permits += h.n
	}
	slices.Sort(all)
	return slices.Compact(all), permits
}

// permits is how many permits a goroutine holds.
func (k *keeper) permits(goroutine uint64) (n int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := k.first; h != nil; h = h.next {
		if h.goroutine == goroutine {
			n += h.n
		}
	}
	return n
}
