package share

import (
	"fmt"
	"strings"

	"github.com/brood-go/brood/internal/cell"
)

// depot describes a queue by its facts, which are the slots: what is derived from them may be
// wrong after a death. Nothing holds them still, so that each word is read once, and what comes
// of several of them need not have been true at one time.
func (l *look) depot(info *ObjectInfo, w []cell.Word, r rules) {
	var counts [slotCode + 1]int
	var reason uint64
	hands := map[cell.ID]int{}
	var holders []cell.ID // in the order of the slots
	status := w[3].Load()
	damaged := false
	if index := w[4].Load(); index != 0 { // otherwise nobody has used it yet
		desk, ok := l.view.Extent(index)
		if !ok {
			info.State = "its words make no sense"
			return
		}
		reason = desk.At(2).Load()
		damaged = !l.eachSlot(desk.At(0).Load(), r.maxSlots(), func(state uint64) {
			id := owner(state)
			switch code := state & slotCode; code {
			case slotFilling:
				if _, lives := l.parties[id]; lives { // of a dead one nothing will come
					counts[code]++
				}
			case slotReading, slotTaken:
				if hands[id]++; hands[id] == 1 {
					holders = append(holders, id)
				}
				counts[slotTaken]++
			default:
				counts[code]++
			}
		})
	}
	for _, id := range holders {
		info.Holders = append(info.Holders, l.party(id, 0, hands[id]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d items wait", counts[slotReady], r.capacity)
	for _, c := range []struct {
		n    int
		what string
	}{{counts[slotTaken], "in hand"}, {counts[slotFilling], "on its way"}, {counts[slotFailed], "failed"}} {
		if c.n > 0 {
			fmt.Fprintf(&b, ", %d %s", c.n, c.what)
		}
	}
	switch {
	case status&isAborted != 0:
		b.WriteString(", aborted: " + printable(textAt(l.view.Extent, reason)))
	case status&isClosed != 0:
		b.WriteString(", closed")
	}
	if damaged {
		b.WriteString(", and words that make no sense")
	}
	info.State = b.String()
}

// eachSlot calls f with the state of each slot of a queue, from the first one on. It reports whether
// it came to the end. A slot is looked at once, whatever the words say, and however many queues:
// so a look takes no longer than the space is large.
func (l *look) eachSlot(index, most uint64, f func(state uint64)) (whole bool) {
	for ; index != 0 && most > 0; most-- {
		x, ok := l.view.Extent(index)
		if !ok || l.slots[index] {
			return false
		}
		l.slots[index] = true
		s := newSlot(x)
		f(s.state.Load())
		index = s.sibling.Load()
	}
	return index == 0
}

// printable is a peer's text in one line.
func printable(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unprintable(r) {
			return ' '
		}
		return r
	}, text))
}
