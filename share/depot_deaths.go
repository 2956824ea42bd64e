package share

import "context"

// manyDead is how many slots of the dead are dealt with one by one: to find the old place of each takes
// as long as there are others before it.
var manyDead = 64 // less in tests

// bury undoes what the dead were about to do.
func (d *depot) bury() {
	all := d.slotsOfTheDead()
	if len(all) > manyDead {
		for _, x := range all {
			d.commit(x.slot, d.without(x.slot.state.Load()))
		}
		d.rebuild()
		d.due = due{everybody, everybody, 1, 1}
		return
	}
	for _, x := range all {
		switch v := x.slot.state.Load(); v & slotCode {
		case slotFilling:
			tally(d.desk.stock, -oneReserved)
			one(&d.due.putters)
			d.release(x.n, x.slot)
		case slotReading, slotTaken:
			d.giveBack(x.n, x.slot, v, 0)
		case slotClearing:
			d.release(x.n, x.slot)
		}
	}
}

// slotsOfTheDead are those that a dead participant has.
func (d *depot) slotsOfTheDead() (all []numbered) {
	dead, lives := d.me, d.me // whom the kernel was asked about last
	for n := uint64(1); ; n++ {
		s := d.at(n)
		if s == nil {
			return all
		}
		switch id := owner(s.state.Load()); {
		case id == 0 || id == lives || id == d.me:
		case id == dead:
			all = append(all, numbered{n, s})
		case d.mem.Alive(id):
			lives = id
		default:
			dead = id
			all = append(all, numbered{n, s})
		}
	}
}

// without is what a slot's state becomes by its owner's death.
func (d *depot) without(state uint64) uint64 {
	code := state & slotCode
	aborted := d.status.Load()&isAborted != 0
	switch {
	case code != slotReading && code != slotTaken || aborted:
		return slotFree
	case d.fails(state, 0):
		return low(state)&^(slotCode|slotWasFailed) | slotFailed
	}
	return low(state)&^(slotCode|slotWasFailed) | slotReady
}

// clear gives back the bulk of a slot that this process is clearing.
func (d *depot) clear(n uint64, s *slot) {
	trimmed := d.bulk.TrimBulk(s.index) == nil
	d.afterwards(func() {
		if s.state.Load() != owned(d.me)|slotClearing {
			return
		}
		if trimmed {
			s.pages.Set(0)
		}
		d.reuse(n, s)
	})
}

// afterwards does something under the latch: as soon as that is to be had.
func (d *depot) afterwards(do func()) {
	if d.later != nil {
		d.later(do)
		return
	}
	if token, err := d.enter(context.Background()); err == nil {
		do()
		d.leave(token)
	}
}
