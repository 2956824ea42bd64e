package share

import (
	"errors"
	"sync/atomic"

	"github.com/brood-go/brood/internal/cell"
)

// roster is what participants have to do with an object: one word for each, with its ID
// in the high half and 32 bits of the object's own in the low half. A fact about a participant
// is in its entry alone, so that one store changes it, and it dies with the participant.
//
// # Layout
//
// The entries are some words of the object, then the extents that head names: in each
// the first word names the next extent, the others are entries. An entry is 0 when
// nobody has it. It never moves.
//
// # Ownership
//
// Entries are claimed and cleared under the object's latch. Who may write the low half
// is the object's affair.
//
// Who needs an entry and finds none free takes over one of the dead before the roster
// grows, so that the number of those who live at a time bounds it, and not of those who
// ever did. Taking over is clearing and claiming at once. What a dead one's entry says
// and the object still needs is kept.
//
// # Commits
//
// An extent becomes part of the roster when it is linked, an entry is claimed when the ID is
// in it: one compare-and-swap each. Who is killed between making an extent and linking
// it has lost 256 bytes until the space ends.
//
// # Trust
//
// An extent that was made up ends the roster, and so does one too many.
type roster struct {
	head   cell.Word
	inline []cell.Word
	mem    cell.Extender
	me     cell.ID
	max    int                     // extents
	keeps  func(entry uint64) bool // what the dead leave in an entry is needed; nil: it never is
	seen   atomic.Pointer[rosterView]
	own    atomic.Pointer[cell.Word]
}

// rosterView is the roster as far as it has been looked at. It can only grow.
type rosterView struct {
	entries []cell.Word
	tail    cell.Word // where the next extent will be linked
	extents int
}

// maxExtents bounds a roster of participants: enough for every slot.
const maxExtents = (1<<cell.SlotBits + cell.ExtentWords - 2) / (cell.ExtentWords - 1)

// init sets the roster up over its words.
func (r *roster) init(mem cell.Extender, head cell.Word, inline []cell.Word) {
	r.mem, r.me, r.head, r.inline, r.max = mem, mem.Self(), head, inline, maxExtents
}

var errRoster = errors.New("the list of participants is damaged or full")

// entries are the words of all participants, and of none.
func (r *roster) entries() []cell.Word { return r.view().entries }

func (r *roster) view() *rosterView {
	v := r.seen.Load()
	if v == nil {
		v = &rosterView{r.inline, r.head, 0}
		r.seen.Store(v)
	}
	for {
		index := v.tail.Load()
		if index == 0 || v.extents == r.max {
			return v
		}
		x, ok := r.mem.Extent(index)
		if !ok {
			return v
		}
		v = v.grown(x)
		r.seen.Store(v)
	}
}

// grown is the view with one extent more.
func (v *rosterView) grown(x cell.Extent) *rosterView {
	all := make([]cell.Word, len(v.entries), len(v.entries)+cell.ExtentWords-1)
	copy(all, v.entries)
	for i := 1; i < cell.ExtentWords; i++ {
		all = append(all, x.At(i))
	}
	return &rosterView{all, x.At(0), v.extents + 1}
}

// mine is the entry of this participant. It is claimed if need be, for which
// the caller must hold the object's latch; hasMine asks without.
func (r *roster) mine() (cell.Word, error) {
	if w, ok := r.hasMine(); ok {
		return w, nil
	}
	for {
		v := r.view()
		for _, ofDead := range []bool{false, true} {
			for _, w := range v.entries {
				if r.claim(w, ofDead) {
					r.own.Store(&w)
					return w, nil
				}
			}
		}
		if err := r.grow(); err != nil {
			return cell.Word{}, err
		}
	}
}

// claim makes an entry this participant's, if it is free, or else of a dead one and not needed.
// To know who is dead costs a question to the kernel.
func (r *roster) claim(w cell.Word, ofDead bool) bool {
	e := w.Load()
	switch {
	case owner(e) == r.me:
		return true
	case e == 0:
	case !ofDead || r.mem.Alive(owner(e)) || r.keeps != nil && r.keeps(e):
		return false
	}
	return w.CompareAndSwap(e, owned(r.me))
}

// grow links one extent more.
func (r *roster) grow() error {
	v := r.view()
	if v.tail.Load() != 0 {
		return errRoster
	}
	x, err := r.mem.Extend()
	if err == nil {
		v.tail.CompareAndSwap(0, x.Index)
	}
	return err
}

// hasMine is the entry of this participant, if it has one. The low half of the entry
// is 0 the first time.
func (r *roster) hasMine() (cell.Word, bool) {
	w := r.own.Load()
	if w == nil || owner(w.Load()) != r.me { // claimed never, or overwritten by a peer
		return cell.Word{}, false
	}
	return *w, true
}

// low is the part of an entry that is the object's own.
func low(e uint64) uint64 { return e & (1<<32 - 1) }

// add changes the low half of a participant's entry, if it still has it: who has left its
// space may find that another has.
func add(w cell.Word, id cell.ID, delta uint64) {
	for {
		e := w.Load()
		if owner(e) != id || w.CompareAndSwap(e, e&^(1<<32-1)|low(e+delta)) {
			return
		}
	}
}
