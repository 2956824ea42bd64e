package share

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/brood-go/brood/internal/cell"
	file "github.com/brood-go/brood/internal/space"
	"github.com/brood-go/brood/internal/strand"
)

// Queue hands items from those who put them to those who get them, first in, first out, in one
// process or between processes. At most Cap items wait; who puts one more waits for room.
//
// All consumers together get the items in the order in which the producers' calls of Put were
// completed: those of one producer in its own order. An item that Get has returned is the
// caller's, and lost if the caller dies: at most once. A producer that dies in the middle of a Put
// leaves the whole item or nothing. A consumer that dies in the middle of a Get leaves the item in
// its place, or has taken it along, if it had been handed over by then. A JoinableQueue
// delivers again what a dead consumer had.
//
// In a local space items are handed over as they are, as by a channel. In other spaces they are
// encoded, as arguments of Funcs are. Items may be large: 64 MiB is no problem, and 4 GiB is the
// limit.
//
// Who puts or gets finds its turn at once, also when others wait, but for one that has waited for
// 1 ms: that one is next.
//
// All methods may be called from any goroutine.
type Queue[T any] struct{ t *typed[T] }

// The errors of queues. ErrClosed is the end of the stream: the queue was closed and nothing is
// left in it, or the space was closed by this process.
var (
	ErrFull  = errors.New("the queue is full")
	ErrEmpty = errors.New("the queue is empty")

	// ErrStuck is for those who do not wait: another process has been in the middle of an operation on the
	// queue for a second. It is stopped, or the machine is very busy.
	ErrStuck = errStopped
)

// shutError is ErrClosed of a queue that was closed, in a space that is not.
type shutError string

// Error implements error.
func (e shutError) Error() string { return string(e) }

// Is makes it ErrClosed.
func (shutError) Is(target error) bool { return target == ErrClosed }

const (
	errShut = shutError("the queue is closed")
	errGone = shutError("every process that had the other end has died or left")
)

// isEnd reports whether an error is the end of the stream, and no failure.
func isEnd(err error) bool {
	var e shutError
	return errors.As(err, &e)
}

// AbortError is what all get after Abort. In the process that aborted the queue it wraps the
// error that was given; in others there is its text.
type AbortError struct {
	Text string
	err  error
}

// Error implements error.
func (e *AbortError) Error() string { return "it was aborted: " + e.Text }

// Unwrap is the error that Abort was given, in the same process.
func (e *AbortError) Unwrap() error { return e.err }

// queue is a queue in this process.
type queue struct {
	object
	*depot
	keeper
	shelf any // *shelf[T], in a local space
	types typeNotes
	debts debts
	cause atomic.Pointer[AbortError] // with which this process aborted it
}

// MaxCapacity is the largest capacity of a queue, and the most items that may be in the hands of a
// JoinableQueue's consumers.
const MaxCapacity = 1 << 18

const (
	// defaultHands bounds how many large items are being read at a time.
	defaultHands = 1024
	// mediumItem is up to how many bytes an item lies in memory that processes map. Beyond,
	// system calls cost less than the memory.
	mediumItem = 4 << 10
	// queueSpins is how often somebody looks for a while before it sleeps.
	queueSpins = 8
	// latchPatience is how long who does not wait for an item or for room waits for the latch. It is
	// held for microseconds, but its holder may have to wait for a CPU.
	latchPatience = time.Second
)

// pause lets about a microsecond go by without touching what others write: whoever has the latch
// gets several items through in that time, and the memory that they lie in stays where it is.
//
//go:noinline
func pause() {
	for range pauseLoops {
	}
}

// NewQueue opens the queue of that name in a space, or makes it with a capacity of 1 to
// MaxCapacity items. All who open it give the same capacity, and in a local space the same type.
func NewQueue[T any](s *Space, name string, capacity int) (*Queue[T], error) {
	t, err := openQueue[T](s, kindQueue, name, capacity)
	if err != nil {
		return nil, err
	}
	return &Queue[T]{t}, nil
}

func openQueue[T any](s *Space, k kind, name string, capacity int) (*typed[T], error) {
	if capacity < 1 || capacity > MaxCapacity {
		return nil, fmt.Errorf("share: %v %q of capacity %d: give a number from 1 to %d", k, name, capacity, MaxCapacity)
	}
	return openTyped[T](s.space, k, name, params{uint64(capacity), defaultHands})
}

func openTyped[T any](s *space, k kind, name string, p params) (*typed[T], error) {
	q, err := open(s, k, name, p, makeQueue)
	if err != nil {
		return nil, err
	}
	t, err := typedAs[T](q)
	if err != nil {
		return nil, fmt.Errorf("share: open %v: %w", &q.object, err)
	}
	return t, nil
}

// rulesOf are the rules of a queue of any kind. Its parameters may come from another process.
func rulesOf(k kind, p params) rules {
	r := rules{
		order: firstIn, capacity: max(min(p[0], MaxCapacity), 1),
		hands: max(min(low(p[1]), MaxCapacity), 1), inline: maxInline, medium: mediumItem, keep: keepBulk,
	}
	switch k {
	case kindStack:
		r.order, r.stack = lastIn, true
	case kindPriorityQueue:
		r.order, r.heap = byPriority, true
	case kindJoinableQueue:
		r.attempts = p[1] >> 32
	}
	return r
}

// makeQueue makes a queue of any kind.
func makeQueue(o object) (*queue, error) {
	var gates [depotGates]cell.Word
	for i := range gates {
		gates[i] = o.space.gateWord()
	}
	var b bulk
	if f, ok := o.space.mem.(*file.File); ok {
		b = fileBulk{f}
	}
	d, err := newDepot(o.space.mem, o.words, rulesOf(o.kind, o.params), b, &o.space.gates, gates)
	if err != nil {
		return nil, err
	}
	d.mortal = o.space.name != ""
	d.pause = pause
	q := &queue{object: o, depot: d}
	d.later = q.owe
	return q, nil
}

// fileBulk is the bulk file of a named space.
type fileBulk struct{ *file.File }

// IsCorrupt implements bulk.
func (fileBulk) IsCorrupt(err error) bool { return errors.Is(err, file.ErrCorrupt) }

// Holders implements waits.Target: anybody may put or get an item.
func (*queue) Holders() (goroutines []uint64, known bool) { return nil, false }

// fail is the error of an operation.
func (q *queue) fail(what string, err error) error {
	if e := new(AbortError); errors.As(err, &e) {
		if own := q.cause.Load(); own != nil && own.Text == e.Text {
			err = own
		}
	}
	if q.space.closed.Load() && !errors.Is(err, ErrClosed) {
		err = ErrClosed
	}
	return q.failed(what, err)
}

const pauseLoops = 300

// how says in what way somebody puts or gets.
type how struct {
	now  bool // without waiting for an item or for room
	head bool // as the head of this process
	long bool // having waited for long
	own  bool // with items in hand
}

// begin takes the latch. Who does not wait for an item or for room waits for the latch as long as
// it may be held by one that goes on.
func (q *queue) begin(ctx context.Context, w how) (token uint64, err error) {
	if w.now {
		return q.enterNow(latchPatience)
	}
	return q.enter(ctx)
}

// entering is how somebody gets the latch who puts or gets in that way.
func (q *queue) entering(w how) entering {
	return func(ctx context.Context) (uint64, error) { return q.begin(ctx, w) }
}

// debts are what has to be done under the latch, and could not be done at once.
type debts struct {
	mu      sync.Mutex
	list    []func()
	running bool // a goroutine waits for the latch
}

// owe does something under the latch: at once if that is to be had soon, otherwise when whoever has it
// goes on. Nobody who calls it can be told that it was not done.
func (q *queue) owe(do func()) {
	q.debts.mu.Lock()
	waits := q.debts.running
	if waits {
		q.debts.list = append(q.debts.list, do)
	}
	q.debts.mu.Unlock()
	if waits {
		return
	}
	token, err := q.enterNow(tryPatience)
	switch {
	case err == nil:
		do()
		q.leave(token)
		return
	case errors.Is(err, ErrClosed):
		return // this process's part in all that has ended
	}
	q.debts.mu.Lock()
	defer q.debts.mu.Unlock()
	q.debts.list = append(q.debts.list, do)
	if !q.debts.running {
		q.debts.running = true
		go q.pay()
	}
}

// pay does what is owed. It ends when nothing is, or the space is closed.
func (q *queue) pay() {
	for {
		token, err := q.enter(context.Background())
		if err != nil && !errors.Is(err, ErrClosed) {
			runtime.Gosched() // two of us were in, as a peer has overwritten the latch: the other one leaves
			continue
		}
		q.debts.mu.Lock()
		list := q.debts.list
		q.debts.list = nil
		if err != nil || len(list) == 0 {
			q.debts.running = false
		}
		q.debts.mu.Unlock()
		if err != nil {
			return
		}
		for _, do := range list {
			do()
		}
		q.leave(token)
		if len(list) == 0 {
			return
		}
	}
}

// hasInHand reports whether the calling goroutine has items of a JoinableQueue in hand. What has
// failed counts only if that is asked for.
func (q *queue) hasInHand(failed bool) bool {
	return q.rules.attempts > 0 && q.keeper.anyOf(strand.Goroutine(), func(h *hold) bool {
		return failed || h.item.state&slotWasFailed == 0
	})
}

// wait waits in a line, after a short look whether a word changes that changes with what is waited for.
// Passed counts how often others were served.
func (q *queue) wait(ctx context.Context, l *line, hint cell.Word, seen uint64, passed func() uint64, step func(w how) (bool, error)) error {
	own := l == &q.owners
	for range queueSpins {
		if !q.mem.Spin(hint, uint32(seen)) {
			continue
		}
		seen = hint.Load()
		if ok, err := step(how{own: own}); ok || err != nil {
			return err
		}
	}
	sleep, end, err := q.space.block(ctx, q)
	if err != nil {
		return err
	}
	defer end()
	before := passed()
	return l.wait(sleep, func(long bool) (bool, error) {
		// Who was overtaken by nobody has no claim.
		return step(how{head: true, long: long && passed() != before, own: own})
	})
}

// waitForRoom waits in the line of putters.
func (q *queue) waitForRoom(ctx context.Context, seen uint64, step func(w how) (bool, error)) error {
	return q.wait(ctx, &q.putters, q.desk.first, seen, q.desk.puts.Load, step)
}

// waitForItem waits in one of the lines of getters.
func (q *queue) waitForItem(ctx context.Context, seen uint64, step func(w how) (bool, error)) error {
	l := &q.getters
	if q.hasInHand(false) {
		l = &q.owners
	}
	return q.wait(ctx, l, q.desk.puts, seen, q.desk.takes.Load, step)
}

// put puts an item, and waits for room, or not.
func (h *typed[T]) put(ctx context.Context, v T, prio int64, w how) (err error) {
	switch {
	case h == nil:
		return errNothing
	case ctx.Err() != nil:
		return h.fail("put into", context.Cause(ctx))
	}
	if h.shelf != nil {
		err = h.putLocal(ctx, v, uint64(prio), w)
	} else {
		scratch := buffers.Get().(*buffer)
		err = h.putPacked(ctx, v, uint64(prio), w, scratch)
		buffers.Put(scratch)
	}
	return h.outcome("put into", err)
}

// outcome is the error of an operation that is over. In a space that was closed meanwhile nothing counts:
// an item that Get has got by then is lost with this process's part in the space.
func (q *queue) outcome(what string, err error) error {
	if err == nil && q.space.closed.Load() {
		err = ErrClosed
	}
	if err != nil {
		return q.fail(what, err)
	}
	return nil
}

func (h *typed[T]) putLocal(ctx context.Context, v T, prio uint64, w how) error {
	seen := h.desk.first.Load()
	ok, err := h.stepPutLocal(ctx, v, prio, w)
	switch {
	case ok || err != nil:
		return err
	case w.now:
		return ErrFull
	}
	return h.waitForRoom(ctx, seen, func(w how) (bool, error) { return h.stepPutLocal(ctx, v, prio, w) })
}

func (h *typed[T]) stepPutLocal(ctx context.Context, v T, prio uint64, w how) (bool, error) {
	token, err := h.begin(ctx, w)
	if err != nil {
		return false, err
	}
	n, s, err := h.room(w.head)
	if n != 0 {
		h.shelf.put(n, v)
		h.publish(n, s, prio)
	} else if w.long && err == nil {
		h.putters.claim()
	}
	if !h.leave(token) {
		return false, ErrClosed
	}
	return n != 0, err
}

func (h *typed[T]) putPacked(ctx context.Context, v T, prio uint64, w how, scratch *buffer) error {
	number, err := h.typeNumber(ctx, w)
	if err != nil {
		return err
	}
	p, err := h.pack(&v, number, scratch.b[:])
	if err != nil {
		return err
	}
	p.prio = prio
	if !h.rules.small(&p) {
		return h.putLarge(ctx, p, w)
	}
	seen := h.desk.first.Load()
	ok, err := h.stepPut(ctx, &p, w)
	if !ok && err == nil {
		if w.now {
			return ErrFull
		}
		err = h.putSlow(ctx, p, seen)
	}
	if err == errNoAnnex {
		return h.putLarge(ctx, p, w)
	}
	return err
}

func (q *queue) putSlow(ctx context.Context, p parcel, seen uint64) error {
	return q.waitForRoom(ctx, seen, func(w how) (bool, error) { return q.stepPut(ctx, &p, w) })
}

func (q *queue) stepPut(ctx context.Context, p *parcel, w how) (bool, error) {
	token, err := q.begin(ctx, w)
	if err != nil {
		return false, err
	}
	return q.depot.put(token, p, w.head, w.long)
}

// putLarge puts an item that does not fit in a slot.
func (q *queue) putLarge(ctx context.Context, p parcel, w how) error {
	var n uint64
	var s *slot
	step := func(w how) (bool, error) {
		token, err := q.begin(ctx, w)
		if err == nil {
			n, s, err = q.reserve(token, &p, w.head, w.long)
		}
		return n != 0, err
	}
	seen := q.desk.first.Load()
	ok, err := step(w)
	switch {
	case err != nil:
		return err
	case !ok && w.now:
		return ErrFull
	case !ok:
		if err := q.waitForRoom(ctx, seen, step); err != nil {
			return err
		}
	}
	return q.deliver(ctx, n, s, &p, q.entering(w))
}

// get gets an item, and waits for one, or not. If err is a *DecodeError, c is the item.
func (h *typed[T]) get(ctx context.Context, c *catch, w how) (v T, err error) {
	switch {
	case h == nil:
		return v, errNothing
	case ctx.Err() != nil:
		return v, h.fail("get from", context.Cause(ctx))
	}
	if h.shelf != nil {
		v, err = h.getLocal(ctx, c, w)
	} else {
		scratch := buffers.Get().(*buffer)
		c.data = scratch.b[:0]
		v, err = h.getPacked(ctx, c, w)
		c.data = nil
		buffers.Put(scratch)
	}
	return v, h.outcome("get from", err)
}

func (h *typed[T]) getLocal(ctx context.Context, c *catch, w how) (T, error) {
	seen := h.desk.puts.Load()
	v, ok, err := h.stepGetLocal(ctx, c, w)
	if ok || err != nil {
		return v, err
	}
	if w.now {
		return v, ErrEmpty
	}
	v, *c, err = h.getLocalSlow(ctx, seen)
	return v, err
}

func (h *typed[T]) getLocalSlow(ctx context.Context, seen uint64) (v T, c catch, err error) {
	err = h.waitForItem(ctx, seen, func(w how) (ok bool, err error) {
		v, ok, err = h.stepGetLocal(ctx, &c, w)
		return ok, err
	})
	return v, c, err
}

func (h *typed[T]) stepGetLocal(ctx context.Context, c *catch, w how) (v T, ok bool, err error) {
	token, err := h.begin(ctx, w)
	if err != nil {
		return v, false, err
	}
	n, s, err := h.next(w.head, w.own)
	if n != 0 {
		if h.rules.attempts > 0 {
			v = h.shelf.get(n)
		} else {
			v = h.shelf.take(n)
		}
		err = h.take(n, s, c)
	} else if w.long && err == nil {
		h.getters.claim()
	}
	if !h.leave(token) {
		return v, false, ErrClosed
	}
	return v, n != 0 && err == nil, err
}

func (h *typed[T]) getPacked(ctx context.Context, c *catch, w how) (v T, err error) {
	number, err := h.typeNumber(ctx, w)
	if err != nil {
		return v, err
	}
	seen := h.desk.puts.Load()
	ok, err := h.stepGet(ctx, c, w)
	switch {
	case err != nil:
		return v, err
	case !ok && w.now:
		return v, ErrEmpty
	case !ok:
		into := c.into
		if *c, err = h.getSlow(ctx, seen); err != nil {
			return v, err
		}
		c.into = into
	}
	if c.apart() {
		v, err = h.fetchAndUnpack(ctx, c, number, w)
	} else {
		v, err = h.unpack(c, number, false)
	}
	if isUndecodable(err) {
		h.refuse(c, slotUnreadable)
	}
	return v, err
}

// refuse gives back what could not be read, or decoded, if it was not handed over.
func (q *queue) refuse(c *catch, why uint64) {
	if q.rules.attempts > 0 {
		back := *c // so that the caller's need not be on the heap
		q.returnLater(&back, why)
	}
}

func (q *queue) getSlow(ctx context.Context, seen uint64) (c catch, err error) {
	err = q.waitForItem(ctx, seen, func(w how) (bool, error) { return q.stepGet(ctx, &c, w) })
	return c, err
}

func (q *queue) stepGet(ctx context.Context, c *catch, w how) (bool, error) {
	token, err := q.begin(ctx, w)
	if err != nil {
		return false, err
	}
	return q.depot.get(token, c, w.head, w.long, w.own)
}

// Put puts an item, and waits for room as long as ctx lets it. The error is ctx's, ErrClosed, or an
// *AbortError; then nothing of the item is in the queue. (But if this process closes the space meanwhile, it
// may be.)
func (q *Queue[T]) Put(ctx context.Context, v T) error { return q.t.put(ctx, v, 0, how{}) }

// TryPut puts an item if there is room, and nobody's turn before. Otherwise the error matches ErrFull,
// ErrClosed or, seldom, ErrStuck.
func (q *Queue[T]) TryPut(v T) error { return q.t.put(context.Background(), v, 0, how{now: true}) }

// PutAll puts items one after the other, with fewer turns than as many calls of Put. It returns how many it
// has put: after an error these are the first ones.
func (q *Queue[T]) PutAll(ctx context.Context, items ...T) (n int, err error) {
	return q.t.putAll(ctx, items, 0)
}

// Get gets the next item, and waits for one as long as ctx lets it. When the queue is closed
// and empty the error matches ErrClosed; if it was aborted it is an *AbortError. An item that can't
// be decoded is a *DecodeError, which has it, and the next Get gets the next one.
func (q *Queue[T]) Get(ctx context.Context) (T, error) {
	var c catch
	return q.t.get(ctx, &c, how{})
}

// GetInto is Get that stores the item in v. If it is a []byte, it is stored in the memory that v has, as far as
// there is enough: a consumer of large items that has done with one before it gets the next makes no
// garbage. After an error v is as it was, but for what that memory holds.
func (q *Queue[T]) GetInto(ctx context.Context, v *T) error { return q.t.getInto(ctx, v) }

func (h *typed[T]) getInto(ctx context.Context, v *T) error {
	var c catch
	if b, ok := any(v).(*[]byte); ok {
		c.into = *b
	}
	got, err := h.get(ctx, &c, how{})
	if err == nil {
		*v = got
	}
	return err
}

// TryGet gets an item if there is one, and nobody's turn before. Otherwise the error matches ErrEmpty,
// ErrClosed or, seldom, ErrStuck.
func (q *Queue[T]) TryGet() (T, error) {
	var c catch
	return q.t.get(context.Background(), &c, how{now: true})
}

// GetUpTo waits for an item, and gets up to n of those that are there. Fewer than n do not mean that
// there were no more. Items that can't be decoded are in the error, and the others are returned
// with it.
func (q *Queue[T]) GetUpTo(ctx context.Context, n int) ([]T, error) { return q.t.getUpTo(ctx, n) }

// All gets items until the queue is closed and empty. An error is the last thing that it
// yields, unless it is a *DecodeError.
func (q *Queue[T]) All(ctx context.Context) iter.Seq2[T, error] { return untilEnd(ctx, q.Get) }

// Len is how many items wait. When others put and get, it may have changed before it is read.
func (q *Queue[T]) Len() int { return q.t.length() }

// Cap is how many items may wait.
func (q *Queue[T]) Cap() int {
	mustBe(q.t != nil)
	return int(q.t.rules.capacity)
}

// Full reports whether there is no room: items on their way count.
func (q *Queue[T]) Full() bool {
	mustBe(q.t != nil)
	return !q.t.hasRoom()
}

// Empty reports whether no item waits.
func (q *Queue[T]) Empty() bool { return q.t.length() == 0 }

// Close ends the stream, for all processes: nothing can be put any more, and when the items
// that are left have been taken every Get returns ErrClosed, however many wait. It stays closed as
// long as the space exists. A second Close does nothing.
func (q *Queue[T]) Close() error { return q.t.end("close", nil) }

// Abort stops the stream at once, for all processes: what waits is dropped, and every Put and Get
// returns an *AbortError. It stays so as long as the space exists.
func (q *Queue[T]) Abort(err error) error { return q.t.abortWith(err) }

func (h *typed[T]) abortWith(err error) error {
	if err == nil {
		err = errors.New("for no reason given")
	}
	return h.end("abort", err)
}

func (h *typed[T]) length() int {
	mustBe(h != nil)
	return int(h.ready())
}

// end closes the queue, or aborts it with a cause.
func (h *typed[T]) end(what string, cause error) error {
	if h == nil {
		return errNothing
	}
	text := ""
	if cause != nil {
		text = cause.Error() // the user's code, which may do anything: not with the latch
	}
	token, err := h.enterNow(latchPatience)
	if err != nil {
		return h.fail(what, err)
	}
	switch {
	case cause == nil:
		h.finish(isClosed)
	case h.status.Load()&isAborted == 0:
		e := &AbortError{h.abort(text), cause}
		h.cause.Store(e)
		if h.shelf != nil {
			clear(h.shelf.items)
		}
	}
	if !h.leave(token) {
		err = ErrClosed
	}
	return h.outcome(what, err)
}
