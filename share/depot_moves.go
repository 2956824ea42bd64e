package share

import (
	"context"
	"errors"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/wire"
)

// parcel is an item as it lies in a slot: bytes, and meta, which says what they are.
//
//	bits 0–39   how many bytes
//	bits 40–55  the number of the type
//	bits 56–62  the kind of encoding
//	bit 63      they are in the bulk file
type parcel struct {
	meta uint64
	prio uint64
	data []byte
}

const (
	lengthBits = 40
	lengthMask = 1<<lengthBits - 1
	typeBits   = 16
	inBulk     = 1 << 63
)

func metaOf(kind wire.Kind, number uint64, length int) uint64 {
	return uint64(kind)<<(lengthBits+typeBits) | number<<lengthBits | uint64(length)
}

func (p *parcel) length() uint64     { return p.meta & lengthMask }
func (p *parcel) kind() wire.Kind    { return wire.Kind(p.meta &^ inBulk >> (lengthBits + typeBits)) }
func (p *parcel) typeNumber() uint64 { return p.meta >> lengthBits & (1<<typeBits - 1) }

// apart reports whether an item is in the bulk file.
func (p *parcel) apart() bool { return p.meta&inBulk != 0 }

// small reports whether an item may do without the bulk file.
func (r *rules) small(p *parcel) bool { return p.length() <= uint64(max(r.inline, r.medium)) }

// catch is an item that was taken out of the order.
type catch struct {
	parcel
	n     uint64 // the slot
	slot  *slot
	state uint64 // as it was left
	seq   uint64
	into  []byte // where a large item may be read to
}

func (c *catch) attempt() int { return int(low(c.state) / slotAttempt) }

// room is a slot to fill; none if there is no room, or if it is another one's turn. What is usual
// is looked at first, and at once.
func (d *depot) room(head bool) (n uint64, s *slot, err error) {
	if d.status.Load()&(isClosed|isAborted) == 0 && d.putters.heir.Load() == 0 && !d.widowed {
		if !d.hasRoom() {
			return 0, nil, nil
		}
		if n = d.desk.free.Load(); n-1 < uint64(len(d.view)) {
			if s = d.view[n-1]; !d.mortal {
				d.desk.free.Set(s.next.Load())
				return n, s, nil
			}
		}
		return d.obtain()
	}
	if err := d.ended(d.status.Load()); err != nil {
		return 0, nil, err
	}
	switch {
	case d.gone(hasReceived):
		return 0, nil, errGone
	case !d.hasRoom() || !d.putters.turn(head):
		return 0, nil, nil
	}
	return d.obtain()
}

// load writes a small item into a slot that room gave. It reports false, and the slot is free again,
// if there is no memory for an annex.
func (d *depot) load(n uint64, s *slot, p *parcel) bool {
	s.meta.Set(p.meta)
	if len(p.data) > d.rules.inline {
		b, ok := d.annexOf(s, len(p.data), true)
		if !ok {
			d.release(n, s)
			return false
		}
		copy(b, p.data)
		return true
	}
	for i := 0; i < len(p.data); i += 8 {
		s.words(i / 8).Set(word(p.data[i:]))
	}
	return true
}

// annexOf is the first bytes of a slot's annex, which is made if need be.
func (d *depot) annexOf(s *slot, n int, make bool) ([]byte, bool) {
	index := s.annex.Load()
	if index == 0 && make {
		var err error
		if index, err = d.bulk.Annex(d.rules.medium); err != nil {
			return nil, false
		}
		s.annex.Set(index)
	}
	return d.bulk.AnnexBytes(index, n)
}

// word is up to eight bytes as a word.
func word(b []byte) (v uint64) {
	if len(b) >= 8 {
		return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
	}
	for i, c := range b {
		v |= uint64(c) << (i * 8)
	}
	return v
}

// publish makes what is in a slot that room gave an item.
func (d *depot) publish(n uint64, s *slot, prio uint64) {
	seq := d.desk.puts.Load() + 1
	d.desk.puts.Set(seq)
	s.seq.Set(seq)
	if d.rules.heap {
		s.prio.Set(prio)
		d.insert(n, s)
	} else {
		d.insertNewest(n, s)
	}
	d.commit(s, slotReady)
	one(&d.due.getters)
}

// put puts a small item if there is room, and leaves. Long: or claims to be next.
func (d *depot) put(token uint64, p *parcel, head, long bool) (bool, error) {
	n, s, err := d.room(head)
	switch {
	case n != 0 && !d.load(n, s, p):
		n, err = 0, errNoAnnex
	case n != 0:
		d.publish(n, s, p.prio)
	case long && err == nil:
		d.putters.claim()
	}
	if !d.leave(token) {
		return false, cell.ErrClosed
	}
	return n != 0, err
}

// errNoAnnex says that an item has to go into the bulk file, as the space is full.
var errNoAnnex = errors.New("the space is full")

// reserve takes a slot for a large item, and leaves.
func (d *depot) reserve(token uint64, p *parcel, head, long bool) (n uint64, s *slot, err error) {
	n, s, err = d.room(head)
	if n != 0 {
		pages := s.pages.Load()
		d.desk.kept.Set(d.desk.kept.Load() - min(pages, p.length())) // it was idle, and is not
		s.meta.Set(p.meta | inBulk)
		tally(d.desk.stock, oneReserved)
		d.commit(s, owned(d.me)|slotFilling)
		s.pages.Set(max(pages, p.length())) // of a slot that is free it would be idle
	} else if long && err == nil {
		d.putters.claim()
	}
	if !d.leave(token) {
		return 0, nil, cell.ErrClosed
	}
	return n, s, err
}

// entering is how somebody gets the latch.
type entering func(context.Context) (token uint64, err error)

// deliver writes a large item into the slot that was reserved for it, and makes it an item.
func (d *depot) deliver(ctx context.Context, n uint64, s *slot, p *parcel, enter entering) error {
	mine := owned(d.me) | slotFilling
	withdraw := func() {
		if s.state.Load() == mine {
			tally(d.desk.stock, -oneReserved)
			one(&d.due.putters)
			d.release(n, s)
		}
	}
	err := d.bulk.WriteBulk(s.index, p.data)
	if err != nil {
		d.afterwards(withdraw)
		return err
	}
	token, err := enter(ctx)
	if err != nil {
		d.afterwards(withdraw)
		return err
	}
	switch {
	case s.state.Load() != mine:
		err = errDepot
	case d.status.Load()&(isClosed|isAborted) != 0:
		err = d.ended(d.status.Load())
		withdraw()
	default:
		tally(d.desk.stock, -oneReserved)
		d.publish(n, s, p.prio)
	}
	if !d.leave(token) {
		return cell.ErrClosed
	}
	return err
}

// next is the first item that is ready, and stays in its place; none if there is none, or if it
// is another one's turn. Own says that the caller has items in hand: it does not wait for
// those of others to come back.
func (d *depot) next(head, own bool) (n uint64, s *slot, err error) {
	status := d.status.Load()
	if d.getters.heir.Load() == 0 && status&isAborted == 0 && d.desk.held.Load() < d.rules.hands {
		if n = d.desk.first.Load(); n-1 < uint64(len(d.view)) {
			if s = d.view[n-1]; !d.mortal || s.state.Load()&(slotCode|^uint64(1<<32-1)) == slotReady {
				return n, s, nil
			}
		}
	}
	if status&isAborted != 0 {
		return 0, nil, d.ended(status)
	}
	for again := false; ; again = true {
		if n = d.desk.first.Load(); n == 0 {
			break
		}
		if s = d.at(n); s != nil && s.state.Load()&(slotCode|^uint64(1<<32-1)) == slotReady {
			if d.desk.held.Load() >= d.rules.hands || !d.getters.turn(head) {
				return 0, nil, nil
			}
			return n, s, nil
		}
		if again {
			return 0, nil, errDepot
		}
		d.rebuild()
	}
	switch {
	case status&isClosed != 0 && (d.desk.held.Load() == 0 || own):
		return 0, nil, errShut
	case d.gone(hasSent):
		return 0, nil, errGone
	}
	return 0, nil, nil
}

// unload copies a small item out of its slot, into p's data if it has the room.
func (d *depot) unload(s *slot, p *parcel) bool {
	if !d.rules.small(p) {
		return false
	}
	n := int(p.length())
	if cap(p.data) < n+8 {
		p.data = make([]byte, n+8)
	}
	b := p.data[:cap(p.data)]
	if n > d.rules.inline {
		from, ok := d.annexOf(s, n, false)
		p.data = b[:copy(b, from)]
		return ok
	}
	for i := 0; i < n; i += 8 {
		v := s.words(i / 8).Load()
		b[i], b[i+1], b[i+2], b[i+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
		b[i+4], b[i+5], b[i+6], b[i+7] = byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56)
	}
	p.data = b[:n]
	return true
}

// get takes the next item, if there is one, and leaves: a small one wholly, of a large one the slot,
// which fetch reads. Long: or claims to be next.
func (d *depot) get(token uint64, c *catch, head, long, own bool) (bool, error) {
	n, s, err := d.next(head, own)
	if n != 0 {
		err = d.take(n, s, c)
	} else if long && err == nil {
		d.getters.claim()
	}
	if !d.leave(token) {
		return false, cell.ErrClosed
	}
	return n != 0 && err == nil, err
}

// take takes an item that next gave out of the order.
func (d *depot) take(n uint64, s *slot, c *catch) error {
	c.n, c.slot = n, s
	apart := false
	if d.bulk != nil {
		c.meta = s.meta.Load()
		if apart = c.apart(); !apart && !d.unload(s, &c.parcel) {
			d.drop(n, s)
			return errDepot
		}
	}
	if d.rules.heap {
		c.prio = s.prio.Load()
	}
	d.remove(s)
	marks := s.state.Load() & slotMarks &^ slotWasFailed
	switch {
	case d.rules.attempts > 0:
		c.seq = s.seq.Load()
		c.state = owned(d.me) | (marks + slotAttempt) | slotTaken
	case apart:
		c.state = owned(d.me) | marks | slotReading
	default:
		c.state = slotFree
		d.release(n, s)
		return nil
	}
	tally(d.desk.held, 1)
	d.commit(s, c.state)
	return nil
}

// backAfterwards gives an item back that is being read. It has a copy of the catch, so that the
// caller's need not be on the heap.
func (d *depot) backAfterwards(c catch) {
	d.afterwards(func() {
		if c.slot.state.Load() == c.state {
			d.giveBack(c.n, c.slot, c.state, 0)
		}
	})
}

// drop takes an item out of the order whose words make no sense, so that nobody finds it again.
func (d *depot) drop(n uint64, s *slot) {
	d.remove(s)
	if d.rules.attempts == 0 {
		d.release(n, s)
		d.lessUnfinished()
		return
	}
	tally(d.desk.held, 1)
	d.giveBack(n, s, s.state.Load(), slotUnreadable)
}

// fetch reads a large item. If it is handed over by that, its slot is free afterwards; if it can't be
// read now, it is given back.
func (d *depot) fetch(ctx context.Context, c *catch, enter entering) error {
	var err error
	c.data, err = d.bulk.ReadBulk(c.slot.index, int64(c.length()), c.into)
	if c.state&slotCode != slotReading {
		return err
	}
	if err != nil && !d.bulk.IsCorrupt(err) {
		d.backAfterwards(*c)
		return err
	}
	token, lerr := enter(ctx)
	if lerr != nil {
		d.backAfterwards(*c)
		return lerr
	}
	mine := c.slot.state.Load() == c.state
	if mine {
		d.letGo(c.n, c.slot)
	}
	if !d.leave(token) {
		return cell.ErrClosed
	}
	if !mine {
		return errDepot
	}
	return err
}

// letGo frees the slot of an item that was in somebody's hands.
func (d *depot) letGo(n uint64, s *slot) {
	d.outOfHand(s.state.Load())
	d.release(n, s)
	d.lessUnfinished()
}

// outOfHand counts an item with a state that was in somebody's hands.
func (d *depot) outOfHand(state uint64) {
	if state&slotWasFailed != 0 {
		tally(d.desk.heldFailed, -1)
		one(&d.due.putters) // too many may have failed
		return
	}
	if d.desk.held.Load() >= d.rules.hands {
		one(&d.due.getters)
	}
	tally(d.desk.held, -1)
}

// lessUnfinished wakes who may have waited for there being less to do.
func (d *depot) lessUnfinished() {
	if d.desk.held.Load() == 0 && d.ready() == 0 { // what has failed and is in hand is for those lines alone
		one(&d.due.joiners)
		one(&d.due.failers)
		if d.status.Load()&isClosed != 0 {
			d.due.getters = everybody
		}
	}
}

// errNotInHand says that an item is no longer the caller's.
var errNotInHand = errors.New("it is not in this process's hands any more")

// fails reports whether an item in hand has failed when it is given back.
func (d *depot) fails(state, why uint64) bool {
	return d.rules.attempts > 0 && (state&slotWasFailed != 0 || why != 0 || low(state)/slotAttempt >= d.rules.attempts)
}

// giveBack puts an item that was in somebody's hands back into its old place, or to those that
// failed: if there is a mark that says why, or as it was handed out too often.
func (d *depot) giveBack(n uint64, s *slot, state, why uint64) {
	marks := low(state) &^ (slotCode | slotWasFailed)
	d.outOfHand(state)
	failed := d.fails(state, why)
	if d.status.Load()&isAborted != 0 {
		d.release(n, s)
		return
	}
	if !failed {
		d.insert(n, s)
		d.commit(s, marks|slotReady)
		one(&d.due.getters)
		return
	}
	marks |= why
	s.next.Set(0)
	if t := d.at(d.desk.lastFailed.Load()); t != nil {
		t.next.Set(n)
	} else {
		d.desk.firstFailed.Set(n)
	}
	d.desk.lastFailed.Set(n)
	tally(d.desk.failed, 1)
	d.commit(s, marks|slotFailed)
	one(&d.due.failers)
	d.lessUnfinished()
}

// takeFailed takes the item that failed first, if there is one. It may be the end of them all. Own says
// that the caller has items in hand: it waits for none to come back.
func (d *depot) takeFailed(c *catch, own bool) (bool, error) {
	status := d.status.Load()
	if status&isAborted != 0 {
		return false, d.ended(status)
	}
	n := d.desk.firstFailed.Load()
	s := d.at(n)
	if n != 0 && (s == nil || s.state.Load()&slotCode != slotFailed) {
		d.rebuild()
		n = d.desk.firstFailed.Load()
		s = d.at(n)
	}
	if s == nil {
		if status&isClosed != 0 && (d.unfinished() == 0 || own) {
			return false, errShut
		}
		return false, nil
	}
	c.n, c.slot, c.seq, c.meta, c.prio = n, s, s.seq.Load(), s.meta.Load(), s.prio.Load()
	marks := s.state.Load() & slotMarks
	if d.bulk != nil && !c.apart() && !d.unload(s, &c.parcel) {
		c.data, marks = nil, marks|slotUnreadable
	}
	next := s.next.Load()
	d.desk.firstFailed.Set(next)
	if next == 0 {
		d.desk.lastFailed.Set(0)
	}
	tally(d.desk.failed, -1)
	tally(d.desk.heldFailed, 1)
	c.state = owned(d.me) | marks | slotWasFailed | slotTaken
	d.commit(s, c.state)
	return true, nil
}

// unfinished is how many items were put and are not done.
func (d *depot) unfinished() uint64 {
	return d.ready() + d.desk.held.Load() + d.desk.failed.Load() + d.desk.heldFailed.Load()
}

// joined reports whether all is done. The latch is held.
func (d *depot) joined() (bool, error) {
	status := d.status.Load()
	switch left := d.unfinished(); {
	case status&isAborted != 0:
		return false, d.ended(status)
	case left == 0:
		return true, nil
	case left == d.desk.failed.Load():
		return false, &FailedItemsError{int(left)}
	}
	return false, nil
}

// abort ends everything at once: what waits is dropped. It returns the text that the others
// will read.
func (d *depot) abort(text string) string {
	reason, err := d.write(text)
	if err != nil {
		reason = 0 // there is no room for a text
	}
	d.desk.reason.Set(reason)
	d.finish(isClosed | isAborted)
	for n := uint64(1); ; n++ {
		s := d.at(n)
		if s == nil {
			break
		}
		if code := s.state.Load() & slotCode; code == slotReady || code == slotFailed {
			d.release(n, s)
		}
	}
	d.rebuild()
	return d.text(reason)
}

// use says that this process sends, or receives.
func (d *depot) use(ctx context.Context, bit uint64, enter entering) error {
	token, err := enter(ctx)
	if err != nil {
		return err
	}
	w, err := d.users.mine()
	if err == nil {
		if e := w.Load(); e&bit == 0 {
			w.Store(e | bit)
		}
		if s := d.status.Load(); s&bit == 0 {
			d.status.Store(s | bit)
		}
	}
	d.widowed = d.anyGone()
	if !d.leave(token) {
		return cell.ErrClosed
	}
	return err
}

// anyGone reports whether one side of a pipe is gone. Only then is it worth asking which one.
func (d *depot) anyGone() bool {
	d.widowed = true
	return d.gone(hasSent) || d.gone(hasReceived)
}

// gone reports whether there were processes that sent, or received, and none of them lives.
func (d *depot) gone(bit uint64) bool {
	if !d.widowed || d.status.Load()&bit == 0 {
		return false
	}
	for _, w := range d.users.entries() {
		if e := w.Load(); e&bit != 0 && d.mem.Alive(owner(e)) {
			return false
		}
	}
	return true
}
