package share

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/brood-go/brood/internal/strand"
	"github.com/brood-go/brood/internal/wire"
)

// A queue of each kind does what a slice would do: chance operations of one goroutine, by several
// handles and with items of two types, and every result, error and count compared. What would have to
// wait is tried instead.

// modelItem is an item as the model has it.
type modelItem struct {
	id, size int
	note     bool // of type note, not string
	prio     int64
	seq      int
	attempts int
	// What failed:
	unreadable bool
	givenUp    bool
}

// note is the second type of items.
type note struct {
	ID   int
	Body string
}

// text is what an item of type string is, and the body of a note.
func (m *modelItem) text() string {
	s := fmt.Sprintf("%d ", m.id)
	return s + strings.Repeat("x", max(m.size-len(s), 0))
}

// encoded is what travels.
func (m *modelItem) encoded() []byte {
	s, n := m.text(), note{m.id, m.text()}
	if m.note {
		_, b, err := wire.Encode(&n, nil)
		return must(b, err)
	}
	_, b, err := wire.Encode(&s, nil)
	return must(b, err)
}

// inHand is an item that a handle has handed out, and was not ended.
type inHand struct {
	*modelItem
	by        *handle
	strand    *strand.Strand
	wasFailed bool
	delivery  delivery
	lost      bool
}

// delivery is what all Deliveries can.
type delivery interface {
	Done() error
	Return() error
	Fail() error
	Attempt() int
	Err() error
}

// handle is one of a queue, for items of one type.
type handle struct {
	name    string
	notes   bool
	q       *queue
	primary bool // the queue that its space knows
	basket  basketOf

	put     func(ctx context.Context, m *modelItem, now bool) error
	putAll  func(ctx context.Context, prio int64, all []*modelItem) (int, error)
	get     func(ctx context.Context, now bool) (outcome, error)
	getUpTo func(ctx context.Context, n int) ([]outcome, error)
	failed  func(ctx context.Context) (outcome, error)
	join    func(ctx context.Context) error
}

// outcome is an item that was got.
type outcome struct {
	text     string
	prio     int64 // of a priority queue, if it was asked
	asked    bool
	delivery delivery
}

// handleFor is a handle of a queue of some kind, for items of type T.
func handleFor[T any](name string, t *typed[T], from func(m *modelItem) T, text func(v T) string) *handle {
	h := &handle{name: name, q: t.queue}
	_, h.notes = any(from).(func(*modelItem) note)
	of := func(v T, err error) (outcome, error) { return outcome{text: text(v)}, err }
	values := func(all []*modelItem) (values []T) {
		for _, m := range all {
			values = append(values, from(m))
		}
		return values
	}
	if t.kind == kindJoinableQueue {
		handleJoinable(h, &JoinableQueue[T]{t}, from, text, values)
		return h
	}
	q := &Queue[T]{t}
	p := &PriorityQueue[T]{*q}
	h.basket = q
	h.put = func(ctx context.Context, m *modelItem, now bool) error {
		switch {
		case t.kind == kindPriorityQueue && now:
			return p.TryPut(from(m), m.prio)
		case t.kind == kindPriorityQueue:
			return p.Put(ctx, from(m), m.prio)
		case now:
			return q.TryPut(from(m))
		}
		return q.Put(ctx, from(m))
	}
	h.putAll = func(ctx context.Context, prio int64, all []*modelItem) (int, error) {
		if t.kind == kindPriorityQueue {
			return p.PutAll(ctx, prio, values(all)...)
		}
		return q.PutAll(ctx, values(all)...)
	}
	h.get = func(ctx context.Context, now bool) (outcome, error) {
		if now {
			return of(q.TryGet())
		}
		if t.kind == kindPriorityQueue {
			v, prio, err := p.GetWithPriority(ctx)
			return outcome{text: text(v), prio: prio, asked: true}, err
		}
		return of(q.Get(ctx))
	}
	h.getUpTo = func(ctx context.Context, n int) (all []outcome, err error) {
		values, err := q.GetUpTo(ctx, n)
		for _, v := range values {
			all = append(all, outcome{text: text(v)})
		}
		return all, err
	}
	return h
}

func handleJoinable[T any](h *handle, q *JoinableQueue[T], from func(m *modelItem) T, text func(v T) string, values func(all []*modelItem) []T) {
	h.basket = q
	h.put = func(ctx context.Context, m *modelItem, now bool) error {
		if now {
			return q.TryPut(from(m))
		}
		return q.Put(ctx, from(m))
	}
	h.putAll = func(ctx context.Context, _ int64, all []*modelItem) (int, error) {
		return q.PutAll(ctx, values(all)...)
	}
	of := func(d *Delivery[T], err error) (outcome, error) {
		if err != nil {
			return outcome{}, err
		}
		return outcome{text: text(d.Value), delivery: d}, nil
	}
	h.get = func(ctx context.Context, now bool) (outcome, error) {
		if now {
			return of(q.TryGet(ctx))
		}
		return of(q.Get(ctx))
	}
	h.getUpTo = func(ctx context.Context, n int) (all []outcome, err error) {
		deliveries, err := q.GetUpTo(ctx, n)
		for _, d := range deliveries {
			o, _ := of(d, nil)
			all = append(all, o)
		}
		return all, err
	}
	h.failed = func(ctx context.Context) (outcome, error) { return of(q.Failed(ctx)) }
	h.join = q.Join
}

// model is a queue, and what it should be.
type model struct {
	*rapid.T
	ctx      context.Context
	kind     kind
	shared   bool
	capacity int
	hands    int
	attempts int
	handles  []*handle
	strands  [2]*strand.Strand

	ready, failed   []*modelItem
	held, over      []*inHand
	closed, aborted bool
	ids             int
	most            int // how many items there were at a time
}

// errModel is with what the model aborts its queue.
var errModel = errors.New("the model has enough")

// newModel makes a queue with handles of it: for both types, and, where it is shared, by another
// queue over the same words, which knows nothing of what the first one knows.
func newModel(rt *rapid.T, ctx context.Context, s *Space, k kind) *model {
	m := &model{T: rt, ctx: ctx, kind: k, shared: s.Name() != "", capacity: rapid.IntRange(1, 6).Draw(rt, "capacity"), hands: 1 << 20}
	for i := range m.strands {
		m.strands[i] = strand.New(strand.Thread, fmt.Sprint("s", i))
	}
	p := params{uint64(m.capacity), defaultHands}
	if k == kindJoinableQueue {
		m.hands, m.attempts = rapid.IntRange(1, 5).Draw(rt, "hands"), rapid.IntRange(1, 3).Draw(rt, "attempts")
		p[1] = uint64(m.attempts)<<32 | uint64(m.hands)
	}
	first := must(openTyped[string](s.space, k, "q", p))
	id := func(v string) string { return v }
	m.handles = append(m.handles, handleFor("strings", first, (*modelItem).text, id))
	m.handles[0].primary = true
	if m.shared {
		from := func(i *modelItem) note { return note{i.id, i.text()} }
		body := func(n note) string { return n.Body }
		notes := handleFor("notes", must(typedAs[note](first.queue)), from, body)
		notes.primary = true
		twin := must(makeQueue(first.object))
		m.handles = append(m.handles, notes,
			handleFor("other strings", must(typedAs[string](twin)), (*modelItem).text, id),
			handleFor("other notes", must(typedAs[note](twin)), from, body))
	}
	return m
}

func (m *model) handle() *handle {
	return m.handles[rapid.IntRange(0, len(m.handles)-1).Draw(m.T, "handle")]
}

// maybeEnded is a context, which has ended now and then.
func (m *model) maybeEnded() (ctx context.Context, ended bool) {
	if rapid.IntRange(0, 9).Draw(m.T, "ended") > 0 {
		return m.ctx, false
	}
	ctx, cancel := context.WithCancel(m.ctx)
	cancel()
	return ctx, true
}

// item is a new one for a handle.
func (m *model) item(h *handle) *modelItem {
	m.ids++
	size := rapid.SampledFrom([]int{0, 8, 9, 100, maxInline - 1, maxInline, maxInline + 1, 300, mediumItem - 9, mediumItem, mediumItem + 1, 100 << 10}).Draw(m.T, "size")
	i := &modelItem{id: m.ids, size: size, note: h.notes, seq: m.ids}
	if m.kind == kindPriorityQueue {
		i.prio = rapid.Int64Range(-1, 1).Draw(m.T, "priority")
	}
	return i
}

// before is the order of the kind.
func (m *model) before(a, b *modelItem) int {
	switch {
	case m.kind == kindStack:
		return b.seq - a.seq
	case a.prio != b.prio:
		return int(a.prio - b.prio)
	}
	return a.seq - b.seq
}

func (m *model) makeReady(i *modelItem) {
	at, _ := slices.BinarySearchFunc(m.ready, i, m.before)
	m.ready = slices.Insert(m.ready, at, i)
}

// isLarge says whether an item lies apart.
func (m *model) isLarge(i *modelItem) bool { return m.shared && len(i.encoded()) > mediumItem }

// mismatch says whether a handle can't decode an item.
func (m *model) mismatch(h *handle, i *modelItem) bool { return m.shared && h.notes != i.note }

// own says whether a handle's queue has handed out something to this goroutine.
func (m *model) own(h *handle) bool {
	return slices.ContainsFunc(m.held, func(x *inHand) bool { return x.by.q == h.q && !x.wasFailed })
}

// wants checks an error: nil, or one that matches, or an *AbortError.
func (m *model) wants(what string, err, want error) {
	m.Helper()
	if e := new(AbortError); want == errModel && (!errors.As(err, &e) || e.Text != errModel.Error()) {
		m.Fatalf("%s: %v, want an *AbortError", what, err)
	} else if want != errModel && !errors.Is(err, want) {
		m.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// ended is with what the queue refuses to take more.
func (m *model) ended() error {
	switch {
	case m.aborted:
		return errModel
	case m.closed:
		return ErrClosed
	}
	return nil
}

// inHand is how many items are in hand that had not failed before.
func (m *model) inHand() (n int) {
	for _, x := range m.held {
		if !x.wasFailed {
			n++
		}
	}
	return n
}

// empty is why nothing can be got; nil if something can.
func (m *model) empty(h *handle) error {
	switch {
	case m.aborted:
		return errModel
	case len(m.ready) > 0 && m.inHand() < m.hands:
		return nil
	case len(m.ready) == 0 && m.closed && (m.inHand() == 0 || m.own(h)):
		return ErrClosed
	}
	return ErrEmpty
}

// decodeErrors are all of them in an error.
func decodeErrors(err error) (all []*DecodeError) {
	switch e := err.(type) {
	case *DecodeError:
		all = append(all, e)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			all = append(all, decodeErrors(err)...)
		}
	case interface{ Unwrap() error }:
		return decodeErrors(e.Unwrap())
	}
	return all
}

// undecodable checks that an error is about some items, which a handle could not decode.
func (m *model) undecodable(h *handle, err error, items ...*modelItem) {
	m.Helper()
	found := decodeErrors(err)
	if len(found) != len(items) || len(items) == 0 && err != nil {
		m.Fatalf("%d *DecodeErrors, want %d: %v", len(found), len(items), err)
	}
	for n, i := range items {
		types := []string{"string", "github.com/brood-go/brood/share.note struct { ID int; Body string }"}
		want, got := types[0], types[1]
		if h.notes {
			want, got = got, want
		}
		if e := found[n]; string(e.Data) != string(i.encoded()) || e.Type != want || e.ItemType != got {
			m.Fatalf("item %d of %q for %q: %d bytes, want %d of %q for %q", i.id, e.ItemType, e.Type, len(e.Data), len(i.encoded()), got, want)
		}
	}
}

// fail puts an item to those that have failed.
func (m *model) fail(i *modelItem) { m.failed = append(m.failed, i) }

// giveBack puts an item back, or to those that have failed.
func (m *model) giveBack(x *inHand, fail bool) {
	if m.aborted {
		return
	}
	x.givenUp = x.givenUp || fail
	if fail || x.wasFailed || x.attempts >= m.attempts {
		m.fail(x.modelItem)
		return
	}
	m.makeReady(x.modelItem)
}

// hold notes that an item is in hand, if it is not handed over by that.
func (m *model) hold(h *handle, ctx context.Context, i *modelItem, o outcome, wasFailed bool) {
	if m.attempts == 0 {
		return
	}
	x := &inHand{modelItem: i, by: h, strand: strand.From(ctx), wasFailed: wasFailed, delivery: o.delivery}
	m.held = append(m.held, x)
	if o.delivery.Attempt() != i.attempts {
		m.Fatalf("item %d: attempt %d, want %d", i.id, o.delivery.Attempt(), i.attempts)
	}
}

// same compares an item that was got.
func (m *model) same(o outcome, i *modelItem) {
	m.Helper()
	if o.text != i.text() || o.asked && o.prio != i.prio {
		m.Fatalf("got %.20q of %d bytes and priority %d, want %.20q of %d bytes and priority %d", o.text, len(o.text), o.prio, i.text(), len(i.text()), i.prio)
	}
}

// takeReady takes the first item.
func (m *model) takeReady() *modelItem {
	i := m.ready[0]
	m.ready = m.ready[1:]
	if m.attempts > 0 {
		i.attempts++
	}
	return i
}

// refused is what becomes of an item that could not be decoded.
func (m *model) refused(i *modelItem) {
	if m.attempts > 0 {
		i.unreadable = true
		m.fail(i)
	}
}

// check compares all that can be seen without changing it.
func (m *model) check(*rapid.T) {
	n := len(m.ready)
	m.most = max(m.most, n+len(m.held)+len(m.failed))
	for _, h := range m.handles {
		b := h.basket
		if b.Len() != n || b.Empty() != (n == 0) || b.Full() != (n >= m.capacity) || b.Cap() != m.capacity {
			m.Fatalf("%s: length %d, empty %v, full %v, capacity %d, want %d of %d", h.name, b.Len(), b.Empty(), b.Full(), b.Cap(), n, m.capacity)
		}
		if u := n + len(m.held) + len(m.failed); m.attempts > 0 && h.q.unfinished() != uint64(u) {
			m.Fatalf("%s: %d are unfinished, want %d", h.name, h.q.unfinished(), u)
		}
		if slots := len(h.q.view); slots > m.most {
			m.Fatalf("%s: there are %d slots for %d items", h.name, slots, m.most)
		}
	}
}

func TestQueueModel(t *testing.T) {
	rounds := 3
	switch {
	case long:
		rounds = 100
	case raceDetector:
		rounds = 1
	}
	for _, k := range []kind{kindQueue, kindStack, kindPriorityQueue, kindJoinableQueue} {
		t.Run(k.String(), func(t *testing.T) {
			for _, sub := range substrates {
				t.Run(sub.name, func(t *testing.T) {
					for range rounds {
						rapid.Check(t, func(rt *rapid.T) { checkModel(rt, t.Context(), sub.name == "local", k) })
					}
				})
			}
		})
	}
}

func checkModel(rt *rapid.T, ctx context.Context, local bool, k kind) {
	s := Local()
	if !local {
		s = must(New())
	}
	ctx, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	m := newModel(rt, ctx, s, k)
	defer func() { m.wants("close the space", s.Close(), nil) }()
	actions := m.actions()
	actions[""] = m.check
	rt.Repeat(actions)
	m.drain()
}
