package share

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/brood-go/brood/internal/strand"
)

// actions are the operations of the model.
func (m *model) actions() map[string]func(*rapid.T) {
	all := map[string]func(*rapid.T){
		"put": m.put, "try to put": m.tryPut, "put all": m.putAll,
		"get": func(*rapid.T) { m.get(m.handle()) }, "get up to": func(*rapid.T) { m.getUpTo(m.handle()) },
		"end": m.end, "rebuild": m.rebuild,
	}
	if m.kind == kindJoinableQueue {
		all["end a delivery"] = m.endDelivery
		all["end one again"] = m.endAgain
		all["failed"] = m.getFailed
		all["join"] = m.join
		all["end a strand"] = m.endStrand
	}
	return all
}

func (m *model) put(*rapid.T) { m.putOne(false) }

func (m *model) tryPut(*rapid.T) { m.putOne(true) }

func (m *model) putOne(now bool) {
	h := m.handle()
	i := m.item(h)
	ctx, ended := m.ctx, false
	want := m.ended()
	if want == nil && len(m.ready) >= m.capacity {
		now, want = true, ErrFull
	}
	if !now {
		if ctx, ended = m.maybeEnded(); ended {
			want = context.Canceled
		}
	}
	m.wants("put", h.put(ctx, i, now), want)
	if want == nil {
		m.makeReady(i)
	}
}

func (m *model) putAll(*rapid.T) {
	h := m.handle()
	var items []*modelItem
	room := max(m.capacity-len(m.ready), 0)
	for range rapid.IntRange(0, room).Draw(m.T, "items") {
		items = append(items, m.item(h))
	}
	prio := int64(0)
	if m.kind == kindPriorityQueue {
		prio = rapid.Int64Range(-1, 1).Draw(m.T, "priority of all")
	}
	ctx, ended := m.maybeEnded()
	var want error
	if ended {
		want = context.Canceled
	} else {
		want = m.ended()
	}
	if len(items) == 0 {
		want = nil
	}
	n, err := h.putAll(ctx, prio, items)
	m.wants("put all", err, want)
	if want != nil {
		items = nil
	}
	if n != len(items) {
		m.Fatalf("%d were put, want %d", n, len(items))
	}
	for _, i := range items {
		i.prio = prio
		m.makeReady(i)
	}
}

// who is a context of nobody, or of a strand, for a handle whose space knows the queue.
func (m *model) who(h *handle) context.Context {
	if n := rapid.IntRange(0, len(m.strands)).Draw(m.T, "strand"); n > 0 && h.primary {
		return strand.With(m.ctx, m.strands[n-1])
	}
	return m.ctx
}

func (m *model) get(h *handle) {
	now := rapid.Bool().Draw(m.T, "now")
	ctx, want := m.who(h), m.empty(h)
	if want == ErrEmpty {
		now = true
	} else if !now {
		if ended, is := m.maybeEnded(); is {
			_, err := h.get(ended, false)
			m.wants("get with an ended context", err, context.Canceled)
			return
		}
	}
	o, err := h.get(ctx, now)
	if want != nil {
		m.wants("get", err, want)
		return
	}
	i := m.takeReady()
	if m.mismatch(h, i) {
		m.undecodable(h, err, i)
		m.refused(i)
		return
	}
	m.wants("get", err, nil)
	m.same(o, i)
	m.hold(h, ctx, i, o, false)
}

func (m *model) getUpTo(h *handle) {
	n := rapid.IntRange(0, m.capacity+1).Draw(m.T, "n")
	ctx, want := m.who(h), m.empty(h)
	if ended, is := m.maybeEnded(); n > 0 && (is || want == ErrEmpty) {
		if !is {
			return // it would wait
		}
		got, err := h.getUpTo(ended, n)
		m.wants("get up to n with an ended context", err, context.Canceled)
		if len(got) > 0 {
			m.Fatal("something was got")
		}
		return
	}
	if n == 0 {
		want = nil
	}
	all, err := h.getUpTo(ctx, n)
	if want != nil || n == 0 {
		m.wants("get up to n", err, want)
		if len(all) > 0 {
			m.Fatal("something was got")
		}
		return
	}
	var bad []*modelItem
	batch := []*modelItem{m.takeReady()}
	held := m.inHand() + 1
	if m.mismatch(h, batch[0]) { // it is refused before the others are taken
		m.refused(batch[0])
		bad, batch, held = batch, nil, held-1
	}
	for k := 1; k < n && len(m.ready) > 0 && held < m.hands && !m.isLarge(m.ready[0]); k++ {
		batch = append(batch, m.takeReady())
		if m.attempts > 0 {
			held++
		}
	}
	for _, i := range batch {
		switch {
		case m.mismatch(h, i):
			m.refused(i)
			bad = append(bad, i)
		case len(all) == 0:
			m.Fatalf("item %d was not got: %v", i.id, err)
		default:
			m.same(all[0], i)
			m.hold(h, ctx, i, all[0], false)
			all = all[1:]
		}
	}
	if len(all) > 0 {
		m.Fatalf("%d items too many", len(all))
	}
	m.undecodable(h, err, bad...)
}

// end closes the queue, or aborts it, not too often.
func (m *model) end(*rapid.T) {
	b := m.handle().basket
	switch rapid.IntRange(0, 15).Draw(m.T, "how it ends") {
	case 0:
		m.wants("abort", b.Abort(errModel), nil)
		if !m.aborted {
			m.ready, m.failed = nil, nil
		}
		m.closed, m.aborted = true, true
	case 1, 2, 3:
		m.wants("close", b.Close(), nil)
		m.closed = true
	}
}

// rebuild overwrites what is derived, and derives it again.
func (m *model) rebuild(*rapid.T) {
	q := m.handle().q
	token := must(q.enter(m.ctx))
	if d := q.desk; rapid.Bool().Draw(m.T, "overwrite") {
		for _, w := range []cellWord{d.first, d.last, d.firstFailed, d.lastFailed, d.free, d.lastFree, d.stock, d.held, d.failed, d.kept} {
			w.Store(rapid.Uint64Range(0, 20).Draw(m.T, "word"))
		}
	}
	q.rebuild()
	if !q.leave(token) {
		m.Fatal("the latch was lost")
	}
	slices.SortFunc(m.failed, func(a, b *modelItem) int { return a.seq - b.seq }) // all that is known by then
}

// endDelivery ends one in some way.
func (m *model) endDelivery(*rapid.T) {
	if len(m.held) == 0 {
		return
	}
	n := rapid.IntRange(0, len(m.held)-1).Draw(m.T, "delivery")
	m.finish(n, rapid.IntRange(0, 2).Draw(m.T, "how"))
}

func (m *model) finish(n, how int) {
	x := m.held[n]
	m.held = slices.Delete(m.held, n, n+1)
	m.over = append(m.over, x)
	switch how {
	case 0:
		m.wants("done", x.delivery.Done(), nil)
	case 1:
		m.wants("return", x.delivery.Return(), nil)
		m.giveBack(x, false)
	case 2:
		m.wants("fail", x.delivery.Fail(), nil)
		m.giveBack(x, true)
	}
}

func (m *model) endAgain(*rapid.T) {
	if len(m.over) == 0 {
		return
	}
	x := m.over[rapid.IntRange(0, len(m.over)-1).Draw(m.T, "delivery that is over")]
	want := errEnded
	if x.lost {
		want = errTakenBackItem
	}
	how := []func() error{x.delivery.Done, x.delivery.Return, x.delivery.Fail}
	m.wants("end one again", how[rapid.IntRange(0, 2).Draw(m.T, "how")](), want)
}

func (m *model) getFailed(*rapid.T) {
	h := m.handle()
	ctx, ended := m.maybeEnded()
	var want error
	switch {
	case ended:
		want = context.Canceled
	case m.aborted:
		want = errModel
	case len(m.failed) > 0:
		ctx = m.who(h)
	case m.closed && len(m.ready)+len(m.held) == 0:
		want = ErrClosed
	default:
		return // it would wait
	}
	o, err := h.failed(ctx)
	m.wants("failed", err, want)
	if want != nil {
		return
	}
	i := m.failed[0]
	m.failed = m.failed[1:]
	if m.mismatch(h, i) {
		m.undecodable(h, o.delivery.Err(), i)
	} else {
		m.same(o, i)
		want := fmt.Sprintf("it was handed out %d times and never done", i.attempts)
		if i.givenUp {
			want = "a consumer said that it failed"
		}
		if i.unreadable {
			want = "a consumer could not decode it"
		}
		if e := o.delivery.Err(); fmt.Sprint(e) != want {
			m.Fatalf("item %d has failed because of %v, want %s", i.id, e, want)
		}
	}
	m.hold(h, ctx, i, o, true)
}

func (m *model) join(*rapid.T) {
	ctx, ended := m.maybeEnded()
	h := m.handle()
	left := len(m.ready) + len(m.held)
	if !ended && !m.aborted && left > 0 {
		return // it would wait
	}
	err := h.join(ctx)
	e := new(FailedItemsError)
	switch {
	case ended:
		m.wants("join", err, context.Canceled)
	case m.aborted:
		m.wants("join", err, errModel)
	case len(m.failed) == 0:
		m.wants("join", err, nil)
	case !errors.As(err, &e) || e.Count != len(m.failed):
		m.Fatalf("join: %v, want %d that have failed", err, len(m.failed))
	}
}

// endStrand ends a strand: what it had is given back, the latest first.
func (m *model) endStrand(*rapid.T) {
	n := rapid.IntRange(0, len(m.strands)-1).Draw(m.T, "strand that ends")
	s := m.strands[n]
	held := strand.End(s)
	m.strands[n] = strand.New(strand.Thread, "again")
	any := false
	for k := len(m.held) - 1; k >= 0; k-- {
		if x := m.held[k]; x.strand == s {
			any, x.lost = true, true
			m.held = slices.Delete(m.held, k, k+1)
			m.over = append(m.over, x)
			m.giveBack(x, false)
		}
	}
	if any != (len(held) == 1) {
		m.Fatalf("a strand ends with %v, want something: %v", held, any)
	}
}

// drain gets all that is left.
func (m *model) drain() {
	for len(m.held) > 0 {
		m.finish(0, 0)
	}
	for _, h := range m.handles {
		for m.empty(h) == nil {
			m.get(h)
			for len(m.held) > 0 {
				m.finish(0, 0)
			}
		}
	}
	m.check(m.T)
}
