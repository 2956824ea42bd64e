package share

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/race"
)

// depot is the algorithm of all queues: items lie in slots until somebody takes them, first
// in first out, last in first out, or by priority.
//
// # Layout
//
// The object's words:
//
//	0–2  latch
//	3    status: bit 0 closed, bit 1 aborted, bits 2 and 3 that somebody has ever sent, or
//	     received (pipes alone say so)
//	4    desk: the index of the extent in which are the words of desk
//
// Desk and slots are extents. See desk and slot for their words. Slots are numbered from 1 in
// the order in which they were made, and each names the extent of the next one. They are used
// again, and never given back.
//
// An item's bytes are in the words of its slot if they are few, in the annex of the slot if they are
// some more, otherwise in the slot's part of the space's bulk file. In a local space the item is
// a Go value, in a shelf that its slot number belongs to.
//
// # Invariants
//
// The facts are the slots: what a slot's state says, with its seq, priority and meta. All else is
// derived from them, and is there to be quick: the order of the ready items, the list of the
// free slots, all counts. It is true whenever nobody has the latch.
//
//	state     owner   what it means
//	free      –       nothing is in it
//	filling   putter  it is being written: room is reserved
//	ready     –       an item waits
//	reading   getter  an item is being read, and not yet handed over
//	taken     getter  an item is in somebody's hands, who will say that it is done
//	failed    –       an item was given back too often, or could not be decoded
//	clearing  anyone  nothing is in it, and its part of the bulk file is being given back
//
// # Ownership
//
// Everything is written under the latch, but for the bulk of a slot that has an owner: that is
// written (filling), read (reading, taken) or given back (clearing) by the owner alone, without
// the latch.
//
// # Commits
//
// One store of a slot's state each: put (free or filling to ready), handed over (ready or reading to
// free or clearing), taken (ready or failed to taken), done (taken to free), given back (taken to ready or
// failed), withdrawn (filling to free), cleared (clearing to free). What must be true before it is
// written before it. Closing and aborting are one store of status.
//
// # Wake argument
//
// There are five lines (see line): getters, those getters that have items in hand (owners), putters,
// who waits until all is done (joiners), and who waits for failed items (failers). The last two are
// woken all together, and have no gate. What a holder of the latch has to wake it notes in due,
// and leave, after the latch is free, signals it. The facts have changed by then; and who
// is killed before has everybody woken by that.
//
// # Deaths
//
// Whoever gets the latch of one that died inside derives everything again from the facts.
// Whoever gets it after any death looks for the dead in all slots.
//
//	killed                       the others find
//	before putting is committed  a free slot, or one that the dead was filling: it is free
//	after                        the item
//	reading                      an item that the dead was reading: it is ready, in its old place
//	after handing over           a free slot. The item was the dead one's, as if after Get
//	with an item in hand         it is ready again, in its old place, or failed
//	clearing                     a slot that the dead was clearing: it is cleared again
//	with the latch               a latch to take over, and facts that are true
//	having committed, not woken  all are awake by that death
//	making a slot, unlinked      256 bytes are lost until the space ends
//
// # Fairness and cost
//
// Items have one order for all: that in which their puts were committed. Putters and getters
// take turns as in line. Put and Get cost the latch and a few words each; a priority queue is a
// leftist heap, O(log n). After a death every process looks at every slot once, and after
// that of a holder of the latch one of them sorts.
//
// # Trust
//
// A slot's number is checked against the slots that there are, and its state against what it
// must be; what does not fit makes the holder derive everything again, once, and then is an
// error. Every walk is bounded by the number of slots. Bytes are a decoder's business. What a process
// notes for itself is guarded by inside as well, for a latch that is overwritten lets two in.
type depot struct {
	latch  mutex
	status cell.Word
	desk   desk
	rules  rules
	mem    cell.Extender
	me     cell.ID
	bulk   bulk
	users  roster

	getters, owners, putters, joiners, failers line // owners are getters that have items in hand

	shadow race.Shadow
	mortal bool            // participants may die: false in a local space
	later  func(do func()) // does something under the latch as soon as that is to be had; nil: at once
	pause  func()          // what a contender does before it tries the latch again; may be nil

	inside cell.Word // 1: somebody of this process has the latch. It is on the heap

	// What follows is guarded by the latch.
	view    []*slot // as far as they are known here, by number, from 1
	buried  uint64  // 1 + the count of deaths when the dead were last looked for
	due     due
	litter  []numbered // slots to be cleared
	widowed bool       // one side of a pipe may be gone
}

// rules say how a depot works. All processes must agree.
type rules struct {
	order    func(a, b *slot) bool // which one is before the other
	heap     bool                  // the order is kept by a heap, not by a list
	stack    bool                  // what was put last is first, in a list
	capacity uint64                // of items that are ready or on their way
	hands    uint64                // how many may be in the hands of getters
	attempts uint64                // how often an item is handed out before it fails; 0: it is handed over
	inline   int                   // up to how many bytes lie in the slot's words
	medium   int                   // up to how many lie in its annex
	keep     uint64                // bytes of bulk that are kept for the next items
}

// bulk is where items lie that are not small.
type bulk interface {
	Annex(n int) (index uint64, err error)
	AnnexBytes(index uint64, n int) ([]byte, bool)
	WriteBulk(unit uint64, b []byte) error
	ReadBulk(unit uint64, n int64, into []byte) ([]byte, error)
	IsCorrupt(err error) bool // of reading: it would be the same again
	TrimBulk(unit uint64) error
	BulkRoom() int64 // how large an item may be
}

// desk is the words of a depot that are no item's.
type desk struct {
	slots  cell.Word // fact: the first slot
	types  cell.Word // fact: the first type record
	reason cell.Word // fact: the first extent of the text with which it was aborted
	// Derived.
	first, last             cell.Word // of what is ready, in order
	firstFailed, lastFailed cell.Word
	free, lastFree          cell.Word // of the free slots
	stock                   cell.Word // how many are ready; in the high half, on their way
	held, failed            cell.Word // how many; held without those that had failed
	heldFailed              cell.Word // how many of those are in hand
	takes                   cell.Word // counts what was taken out of the order
	puts                    cell.Word // the last seq
	kept                    cell.Word // bytes of bulk that no item needs
}

// slot is the words of a slot. Those after annex are the item's.
type slot struct {
	state   cell.Word // high half: the owner; bits 8–31 how often it was handed out; low bits: see above
	seq     cell.Word // when it was put
	prio    cell.Word
	meta    cell.Word // see parcel
	next    cell.Word // derived: the next one, or the right child in a heap
	child   cell.Word // derived: the left child, and its rank in the high half
	pages   cell.Word // how many bytes of bulk it may have
	sibling cell.Word // fact: the next slot that was made
	annex   cell.Word // fact: memory for an item of up to mediumItem bytes; 0 if there is none yet
	index   uint64
	words   func(i int) cell.Word
}

// States of a slot.
const (
	slotFree = iota
	slotFilling
	slotReady
	slotReading
	slotTaken
	slotFailed
	slotClearing
	slotCode = 7

	slotWasFailed  = 1 << 3 // taken, and it had failed before
	slotUnreadable = 1 << 4 // failed, because somebody could not decode it
	slotGivenUp    = 1 << 5 // failed, because a consumer said so
	slotAttempt    = 1 << 8
	slotMarks      = 1<<32 - 1 - slotCode

	slotHead  = 9 // words before those of the item
	maxInline = (cell.ExtentWords - slotHead) * 8
)

// Bits of status.
const (
	isClosed    = 1 << 0
	isAborted   = 1 << 1
	hasSent     = 1 << 2
	hasReceived = 1 << 3
)

// keepBulk bounds the storage of a queue that is kept for the next items.
const keepBulk = 64 << 20

// slackSlots is how many slots there may be beyond capacity and hands: those that are
// being cleared.
const slackSlots = 64

// numbered is a slot with its number.
type numbered struct {
	n uint64
	*slot
}

// due is who has to be woken when the latch is free.
type due struct{ getters, putters, joiners, failers uint16 }

// everybody is more than can wait.
const everybody = 1<<16 - 1

// one adds one, up to everybody.
func one(n *uint16) {
	if *n < everybody {
		*n++
	}
}

// contendTries is how often a latch is tried without sleeping.
const contendTries = 100

// errDepot is what a peer's senseless words come to.
var errDepot = errors.New("its words make no sense: a process has overwritten them")

// depotGates is how many gates a depot has: for the latch and for three lines.
const depotGates = 4

// newDepot is the queue in the words of an object.
func newDepot(mem cell.Extender, words []cell.Word, r rules, b bulk, local cell.Memory, gates [depotGates]cell.Word) (*depot, error) {
	x, err := openDesk(mem, words[4])
	if err != nil {
		return nil, err
	}
	d := &depot{latch: newMutex(mem, words, local, gates[0]), status: words[3], rules: r, mem: mem, me: mem.Self(), bulk: b, mortal: true, inside: cell.At(new(atomic.Uint64))}
	w := x.At
	d.desk = desk{
		slots: w(0), types: w(1), reason: w(2), first: w(9), last: w(10), firstFailed: w(11), lastFailed: w(12), free: w(13),
		lastFree: w(14), stock: w(15), held: w(16), failed: w(17), puts: w(18), kept: w(19), heldFailed: w(23), takes: w(25),
	}
	d.getters = line{change: w(3), heir: w(4), mem: mem, me: d.me, gate: gate{gates[1], local}, more: d.hasMore}
	d.owners = line{change: w(24), heir: w(4), mem: mem, me: d.me, gate: gate{gates[3], local}, more: d.hasMore, twin: &d.getters}
	d.getters.twin = &d.owners
	d.putters = line{change: w(5), heir: w(6), mem: mem, me: d.me, gate: gate{gates[2], local}, more: d.hasMoreRoom}
	d.joiners = line{change: w(7), heir: w(20), mem: mem, me: d.me}
	d.failers = line{change: w(8), heir: w(21), mem: mem, me: d.me}
	inline := make([]cell.Word, 0, cell.ExtentWords)
	for i := 26; i < cell.ExtentWords; i++ {
		inline = append(inline, w(i))
	}
	d.users.init(mem, w(22), inline)
	return d, nil
}

// openDesk finds the desk, or makes it. Who makes one for nothing loses 256 bytes of the space.
func openDesk(mem cell.Extender, word cell.Word) (cell.Extent, error) {
	index := word.Load()
	if index == 0 {
		x, err := mem.Extend()
		if err != nil {
			return x, err
		}
		word.CompareAndSwap(0, x.Index)
		index = word.Load()
	}
	x, ok := mem.Extent(index)
	if !ok {
		return x, errDepot
	}
	return x, nil
}

// ready is how many items wait.
func (d *depot) ready() uint64 { return low(d.desk.stock.Load()) }

// hasMore reports whether another getter than the one who asks may have something to do. When
// the queue is closed everybody has: to go.
func (d *depot) hasMore() bool {
	return d.ready() > 0 || d.status.Load()&(isClosed|isAborted) != 0
}

// hasMoreRoom is the same for putters.
func (d *depot) hasMoreRoom() bool {
	return d.hasRoom() || d.status.Load()&(isClosed|isAborted) != 0
}

// hasRoom reports whether there is room for an item.
func (d *depot) hasRoom() bool {
	s := d.desk.stock.Load()
	return low(s)+s>>32 < d.rules.capacity && (d.rules.attempts == 0 || d.desk.failed.Load()+d.desk.heldFailed.Load() < maxFailed)
}

// maxFailed is how many items may have failed and not be done: then there is no room for others.
const maxFailed = 4096

// oneReserved is what an item on its way adds to stock.
const oneReserved = 1 << 32

// enter takes the latch, and makes everything derived true.
func (d *depot) enter(ctx context.Context) (token uint64, err error) {
	if s := d.latch.state.Load(); s&^turnMask == 0 && d.latch.state.CompareAndSwap(s, s|d.latch.mine) {
		token = tokenOf(0, s) // unlock looks at the turn alone
		if d.mortal {
			err = d.entered(grant{token: token})
		}
		return token, err
	}
	g, err := d.contend(ctx)
	if err != nil {
		return 0, err
	}
	return g.token, d.entered(g)
}

// contend waits for the latch, first without sleeping: it is held for less than a sleep costs.
func (d *depot) contend(ctx context.Context) (grant, error) {
	for i := 0; d.pause != nil && i < contendTries; i++ {
		d.pause()
		if g, ok := d.latch.tryFast(); ok {
			return g, nil
		}
	}
	return d.latch.lock(ctx)
}

// entered is called with the latch held. If somebody else here has it too, a peer has overwritten
// it: then it is given up, as what it guards is also memory of this process, which no peer may spoil.
func (d *depot) entered(g grant) error {
	if d.mortal && !d.inside.CompareAndSwap(0, 1) {
		d.latch.unlock(g.token, true)
		return errDepot
	}
	if d.mortal {
		d.shadow.Acquire()
	}
	if g.recovered {
		d.rebuild()
	}
	if d.mortal {
		d.lookForDead()
	}
	return nil
}

// lookForDead buries the dead, if somebody has died since this process last did.
func (d *depot) lookForDead() {
	if deaths := d.mem.Watch(); d.buried != deaths+1 {
		d.bury()
		d.widowed = d.anyGone()
		d.buried = deaths + 1
	}
}

// commit writes a slot's state.
func (d *depot) commit(s *slot, state uint64) {
	if d.mortal {
		s.state.Store(state)
	} else {
		s.state.Set(state) // nobody can die before the latch is free
	}
}

// enterNow is enter for one who does not wait: only as long as somebody may have the latch who
// is not stopped.
func (d *depot) enterNow(patience time.Duration) (token uint64, err error) {
	if g, ok := d.latch.try(); ok {
		return g.token, d.entered(g)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errStopped)
	defer cancel()
	return d.enter(ctx)
}

var errStopped = errors.New("another process is in the middle of an operation on it and does not go on: it may be stopped")

// leave gives the latch up, and then does what is due. It reports whether the latch was held:
// if not, this process has left the space, and what was done under the latch has no effect.
func (d *depot) leave(token uint64) bool {
	do, litter := d.due, d.litter
	d.due = due{}
	if litter != nil {
		d.litter = nil
	}
	if d.mortal {
		d.shadow.Release()
		d.inside.Set(0)
	}
	if !d.latch.unlock(token, false) {
		return false
	}
	if do.getters > 0 {
		d.getters.signal(int(do.getters))
		if d.rules.attempts > 0 {
			d.owners.signal(int(do.getters))
		}
	}
	if do.putters > 0 {
		d.putters.signal(int(do.putters))
	}
	if do.joiners > 0 {
		d.joiners.signal(cell.All)
	}
	if do.failers > 0 {
		d.failers.signal(cell.All)
	}
	for _, n := range litter {
		d.clear(n.n, n.slot)
	}
	runtime.KeepAlive(d) // its words are not Go's
	return true
}

// at is a slot; nil if there is none of that number. The latch is held, here and in what
// follows.
func (d *depot) at(n uint64) *slot {
	for uint64(len(d.view)) < n {
		from := d.desk.slots
		if k := len(d.view); k > 0 {
			from = d.view[k-1].sibling
		}
		index := from.Load()
		if index == 0 || uint64(len(d.view)) >= d.maxSlots() {
			return nil
		}
		x, ok := d.mem.Extent(index)
		if !ok {
			return nil
		}
		d.view = append(d.view, newSlot(x))
	}
	if n == 0 {
		return nil
	}
	return d.view[n-1]
}

func newSlot(x cell.Extent) *slot {
	w := x.At
	return &slot{w(0), w(1), w(2), w(3), w(4), w(5), w(6), w(7), w(8), x.Index, func(i int) cell.Word { return w(slotHead + i) }}
}

func (d *depot) maxSlots() uint64 { return d.rules.maxSlots() }

func (r *rules) maxSlots() uint64 {
	n := r.capacity + r.hands + slackSlots
	if r.attempts > 0 {
		n += maxFailed
	}
	return n
}

// obtain is a free slot, taken out of the list of those; 0 if there can't be more.
func (d *depot) obtain() (n uint64, s *slot, err error) {
	for again := false; ; again = true {
		n = d.desk.free.Load()
		if n == 0 {
			break
		}
		if s = d.at(n); s != nil && (!d.mortal || s.state.Load() == slotFree) {
			d.desk.free.Set(s.next.Load())
			return n, s, nil
		}
		if again {
			return 0, nil, errDepot
		}
		d.rebuild()
	}
	d.at(d.maxSlots())
	if uint64(len(d.view)) >= d.maxSlots() {
		return 0, nil, nil
	}
	from := d.desk.slots
	if k := len(d.view); k > 0 {
		from = d.view[k-1].sibling
	}
	if from.Load() != 0 { // and there is no slot
		return 0, nil, errDepot
	}
	x, err := d.mem.Extend()
	if err != nil {
		return 0, nil, err
	}
	if !from.CompareAndSwap(0, x.Index) {
		return 0, nil, errDepot
	}
	s = newSlot(x)
	d.view = append(d.view, s)
	return uint64(len(d.view)), s, nil
}

// idle is how many bytes of bulk a slot has that no item needs.
func (d *depot) idle(s *slot) uint64 {
	pages, v := s.pages.Load(), s.state.Load()
	p := parcel{meta: s.meta.Load()}
	switch code := v & slotCode; {
	case code == slotClearing:
		return 0
	case code != slotFree && p.apart():
		return pages - min(pages, p.length())
	}
	return pages
}

// release makes a slot free whose content is of no worth. That is a commit.
func (d *depot) release(n uint64, s *slot) {
	if d.bulk != nil {
		if pages := s.pages.Load(); pages != 0 {
			kept := d.desk.kept.Load() - d.idle(s)
			if pages > d.rules.keep || kept > d.rules.keep-pages {
				d.desk.kept.Set(kept)
				d.commit(s, owned(d.me)|slotClearing)
				d.litter = append(d.litter, numbered{n, s})
				return
			}
		}
	}
	d.reuse(n, s)
}

// reuse makes a slot free for the next item. That is a commit.
func (d *depot) reuse(n uint64, s *slot) {
	pages := uint64(0)
	if d.bulk != nil {
		if pages = s.pages.Load(); pages != 0 {
			d.desk.kept.Set(d.desk.kept.Load() - d.idle(s) + pages)
		}
	}
	d.commit(s, slotFree)
	first := d.desk.free.Load()
	switch {
	case first == 0:
		one(&d.due.putters) // who may have found none
		s.next.Set(0)
		d.desk.free.Set(n)
		d.desk.lastFree.Set(n)
	case pages != 0: // what has storage is used first
		s.next.Set(first)
		d.desk.free.Set(n)
	default: // one after the other: the processor sees where that goes
		s.next.Set(0)
		if t := d.at(d.desk.lastFree.Load()); t != nil {
			t.next.Set(n)
		}
		d.desk.lastFree.Set(n)
	}
}

// tally adds to a derived count.
func tally(w cell.Word, delta int64) { w.Set(w.Load() + uint64(delta)) }

// ended is the error of a status that lets nobody put anything.
func (d *depot) ended(status uint64) error {
	switch {
	case status&isAborted != 0:
		return &AbortError{Text: d.text(d.desk.reason.Load())}
	case status&isClosed != 0:
		return errShut
	}
	return nil
}

// finish sets a bit of status, and wakes everybody.
func (d *depot) finish(bit uint64) {
	d.status.Store(d.status.Load() | bit)
	d.due = due{everybody, everybody, 1, 1}
}

// text is a text that lies in extents, of which each names the next.
func (d *depot) text(index uint64) string { return textAt(d.mem.Extent, index) }

func textAt(extent func(index uint64) (cell.Extent, bool), index uint64) string {
	var b []byte
	for range maxTextExtents {
		x, ok := extent(index)
		if !ok {
			break
		}
		n := min(x.At(1).Load(), textBytes)
		for i := uint64(0); i < n; i++ {
			b = append(b, byte(x.At(2+int(i/8)).Load()>>(i%8*8)))
		}
		index = x.At(0).Load()
	}
	return string(b)
}

const (
	textBytes      = (cell.ExtentWords - 2) * 8
	maxTextExtents = 8
)

// write writes a text into extents of its own. What is too long is cut off.
func (d *depot) write(text string) (index uint64, err error) {
	text = text[:min(len(text), textBytes*maxTextExtents)]
	for end := len(text); ; { // the last one first
		begin := 0
		if end > 0 {
			begin = (end - 1) / textBytes * textBytes
		}
		x, err := d.mem.Extend()
		if err != nil {
			return 0, err
		}
		x.At(0).Set(index)
		x.At(1).Set(uint64(end - begin))
		for i, c := range []byte(text[begin:end]) {
			w := x.At(2 + i/8)
			w.Set(w.Load() | uint64(c)<<(i%8*8))
		}
		index = x.Index
		if end = begin; end == 0 {
			return index, nil
		}
	}
}

// typeNumber is the number of a type in this depot; it is noted if it was not known.
func (d *depot) typeNumber(text string) (uint64, error) {
	from := d.desk.types
	for n := uint64(1); n < maxTypes; n++ {
		index := from.Load()
		if index == 0 {
			t, err := d.write(text)
			if err != nil {
				return 0, err
			}
			x, err := d.mem.Extend()
			if err != nil {
				return 0, err
			}
			x.At(1).Set(t)
			if !from.CompareAndSwap(0, x.Index) {
				return 0, errDepot
			}
			return n, nil
		}
		x, ok := d.mem.Extent(index)
		if !ok {
			return 0, errDepot
		}
		if d.text(x.At(1).Load()) == text {
			return n, nil
		}
		from = x.At(0)
	}
	return 0, fmt.Errorf("items of %d types were put into it: no more can be told apart", maxTypes-1)
}

const maxTypes = 1 << 10

// typeText is the type of a number.
func (d *depot) typeText(number uint64) string {
	index := d.desk.types.Load()
	for ; number > 0; number-- {
		x, ok := d.mem.Extent(index)
		if !ok {
			break
		}
		if number == 1 {
			return d.text(x.At(1).Load())
		}
		index = x.At(0).Load()
	}
	return "a type that nobody noted"
}
