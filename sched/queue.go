package sched

import "time"

// node is an entry's place in one order.
type node struct {
	e     *entry
	rank  int64 // the smaller, the earlier
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
type ranked struct {
	fresh, begun rankHeap
	patience     rankHeap // with patience, all of them by when they lose it
}

func (q *ranked) enter(e *entry, patience time.Duration) {
	h := &q.fresh
	if e.begun {
		h = &q.begun
	}
	h.push(&e.node)
	if patience > 0 {
		e.patience.rank, e.patience.seq = int64(e.readyAt+patience-e.waited), e.order
		q.patience.push(&e.patience)
	}
}

func (q *ranked) leave(e *entry) {
	if e.patience.index >= 0 {
		q.patience.remove(&e.patience)
	}
	if e.begun {
		q.begun.remove(&e.node)
	} else {
		q.fresh.remove(&e.node)
	}
}

// next is the entry with the smallest rank, but first whoever has lost patience.
func (q *ranked) next(now time.Duration, begunOnly bool) *entry {
	if q.patience.len() > 0 {
		if e := q.patience.first(); e.patience.rank <= int64(now) && (e.begun || !begunOnly) {
			e.late = true
			return e
		}
	}
	switch {
	case q.begun.len() == 0 && (begunOnly || q.fresh.len() == 0):
		return nil
	case q.begun.len() == 0:
		return q.fresh.first()
	case begunOnly || q.fresh.len() == 0 || before(q.begun.items[0], q.fresh.items[0]):
		return q.begun.first()
	}
	return q.fresh.first()
}
