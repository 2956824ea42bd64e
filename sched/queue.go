package sched

import "time"

// node is an entry's place in one order.
type node struct {
	e     *entry
	rank  int64 // the smaller, the earlier
	sub   int64 // of equal ranks
	seq   uint64
	index int // in a heap, -1 in none
}

// rankHeap is a binary heap of nodes by rank, then by seq: the smallest first, or the
// largest. A node is in one heap at a time, and knows where. (container/heap needs
// a method set for each order, and boxes what it pops.)
type rankHeap struct {
	items   []*node
	largest bool
}

func (h *rankHeap) len() int { return len(h.items) }

func (h *rankHeap) first() *entry { return h.items[0].e }

func (h *rankHeap) less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	if h.largest {
		a, b = b, a
	}
	return before(a, b)
}

// before is the order of entries.
func before(a, b *node) bool {
	if a.rank != b.rank {
		return a.rank < b.rank
	}
	if a.sub != b.sub {
		return a.sub < b.sub
	}
	return a.seq < b.seq
}

func (h *rankHeap) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].index, h.items[j].index = i, j
}

func (h *rankHeap) push(n *node) {
	n.index = len(h.items)
	h.items = append(h.items, n)
	h.up(n.index)
}

func (h *rankHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *rankHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if child+1 < len(h.items) && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *rankHeap) remove(n *node) {
	i, last := n.index, len(h.items)-1
	h.swap(i, last)
	h.items[last] = nil
	h.items = h.items[:last]
	n.index = -1
	if i < last {
		h.down(i)
		h.up(i)
	}
}

// reorder is for when ranks have changed in place.
func (h *rankHeap) reorder() {
	for i := len(h.items)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

// list is a ring of entries around a sentinel, so that an entry can be taken out
// without knowing the list, and two lists be joined in constant time.
type list struct{ root entry }

func (l *list) init() {
	if l.root.next == nil {
		l.root.prev, l.root.next = &l.root, &l.root
	}
}

func (l *list) front() *entry {
	if l.root.next == nil || l.root.next == &l.root {
		return nil
	}
	return l.root.next
}

func (l *list) push(e *entry) {
	l.init()
	last := l.root.prev
	last.next, e.prev, e.next, l.root.prev = e, last, &l.root, e
}

// unlink takes an entry out of whatever list it is in.
func unlink(e *entry) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}

// join appends m, which is empty afterwards.
func (l *list) join(m *list) {
	if m.front() == nil {
		return
	}
	l.init()
	first, last, tail := m.root.next, m.root.prev, l.root.prev
	tail.next, first.prev = first, tail
	last.next, l.root.prev = &l.root, last
	m.root.prev, m.root.next = &m.root, &m.root
}

// ranked is a ready queue in the order of rank: what has not begun apart from what
// has, because the former may have to wait for memory.
type ranked struct{ fresh, begun twofold }

// twofold holds entries in two orders.
type twofold struct {
	byRank     rankHeap
	byPatience rankHeap // with patience: by when they lose it
}

// first is the first by rank, but before it whoever has lost patience; nil if there is none.
func (t *twofold) first(now time.Duration) (e *entry, late bool) {
	if t.byPatience.len() > 0 && t.byPatience.items[0].rank <= int64(now) {
		return t.byPatience.first(), true
	}
	if t.byRank.len() > 0 {
		return t.byRank.first(), false
	}
	return nil, false
}

func (q *ranked) of(e *entry) *twofold {
	if e.begun {
		return &q.begun
	}
	return &q.fresh
}

func (q *ranked) enter(e *entry, patience time.Duration) {
	t := q.of(e)
	t.byRank.push(&e.node)
	if patience > 0 {
		e.patience.rank, e.patience.seq = int64(e.readyAt+patience-e.waited), e.order
		t.byPatience.push(&e.patience)
	}
}

func (q *ranked) leave(e *entry) {
	t := q.of(e)
	t.byRank.remove(&e.node)
	if e.patience.index >= 0 {
		t.byPatience.remove(&e.patience)
	}
}

// next is the entry with the smallest rank, but before it whoever has lost patience.
func (q *ranked) next(now time.Duration, begunOnly bool) *entry {
	e, late := q.begun.first(now)
	if fresh, freshLate := q.fresh.first(now); fresh != nil && !begunOnly {
		switch {
		case e == nil, freshLate && !late:
			e, late = fresh, freshLate
		case late && freshLate && before(&fresh.patience, &e.patience):
			e = fresh
		case !late && !freshLate && before(&fresh.node, &e.node):
			e = fresh
		}
	}
	if late {
		e.late = true
	}
	return e
}

// ordered is a policy that needs no more than a rank: what its kinds have in common. They
// rank in enter; a slice without an end, and no account of what jobs use, is all but one's.
type ordered struct {
	core
	queue ranked
}

func (o *ordered) leave(e *entry) { o.queue.leave(e) }
func (o *ordered) next(now time.Duration, begunOnly bool) *entry {
	return o.queue.next(now, begunOnly)
}
func (o *ordered) slice(*entry) time.Duration                        { return 0 }
func (o *ordered) charge(_ time.Duration, _ *entry, _ time.Duration) {}
