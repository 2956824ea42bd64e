package coro

import (
	"math/bits"
	"math/rand/v2"
)

// ring is a queue of tasks that are ready.
type ring struct {
	all   []*task // its length is a power of two
	first int
	n     int
}

func (r *ring) push(t *task) {
	if r.n == len(r.all) {
		r.grow()
	}
	r.all[(r.first+r.n)&(len(r.all)-1)] = t
	r.n++
}

// pick is one of n numbers from 0 on, all as likely but for one part in 2⁶⁴/n. It is no method of
// package rand, since only PCG's own numbers are the same in every version of Go.
func pick(chance *rand.PCG, n int) int {
	hi, _ := bits.Mul64(chance.Uint64(), uint64(n))
	return int(hi)
}

// pop takes the first one out, or any one by chance.
func (r *ring) pop(chance *rand.PCG) *task {
	first := &r.all[r.first]
	if chance != nil {
		other := &r.all[(r.first+pick(chance, r.n))&(len(r.all)-1)]
		*first, *other = *other, *first
	}
	t := *first
	*first = nil
	r.first = (r.first + 1) & (len(r.all) - 1)
	r.n--
	return t
}

func (r *ring) grow() {
	all := make([]*task, max(16, 2*len(r.all)))
	n := copy(all, r.all[r.first:])
	copy(all[n:], r.all[:r.first])
	r.all, r.first = all, 0
}

// waiters are tasks that wait for one thing, in the order in which they came, each with a
// value of its own.
type waiters[V any] struct{ first, last *waiter[V] }

type waiter[V any] struct {
	task       *task
	value      V
	served     bool // of a queue: it has what it waited for
	in         bool // it is in the list
	prev, next *waiter[V]
}

func (l *waiters[V]) add(w *waiter[V]) {
	w.in, w.prev = true, l.last
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
	}
	l.last = w
}

func (l *waiters[V]) remove(w *waiter[V]) {
	if !w.in {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
	w.in, w.prev, w.next = false, nil, nil
}

// timer is what happens at a time: a task is woken, or fire is called. It is a part of what it is
// for, so that to set one takes no memory but its place in the heap.
type timer struct {
	place int32 // in the heap, from 1 on; 0: in none
	task  *task
	fire  func()
}

// timers is a heap with four children to a node, which is flatter than one with two: what a
// node is compared with lies side by side. The time stands in the heap itself. Of
// timers with the same time the one that was added first is first.
type timers struct {
	heap  []timed
	count uint64
}

type timed struct {
	when  int64 // in ns since the loop's start
	order uint64
	timer *timer
}

func (a *timed) before(b *timed) bool {
	return a.when < b.when || a.when == b.when && a.order < b.order
}

func (h *timers) add(t *timer, when int64) {
	h.count++
	h.heap = append(h.heap, timed{})
	h.up(len(h.heap)-1, timed{when, h.count, t})
}

// remove takes a timer out, if it is in.
func (h *timers) remove(t *timer) {
	if t.place == 0 {
		return
	}
	i, last := int(t.place-1), len(h.heap)-1
	t.place = 0
	moved := h.heap[last]
	h.heap[last] = timed{}
	h.heap = h.heap[:last]
	if i == last {
		return
	}
	if i > 0 && moved.before(&h.heap[(i-1)/4]) {
		h.up(i, moved)
	} else {
		h.down(i, moved)
	}
}

// put sets the node at i.
func (h *timers) put(i int, e timed) {
	h.heap[i] = e
	e.timer.place = int32(i + 1)
}

// up finds the place of e from the empty node at i upwards.
func (h *timers) up(i int, e timed) {
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&h.heap[parent]) {
			break
		}
		h.put(i, h.heap[parent])
		i = parent
	}
	h.put(i, e)
}

// down finds the place of e from the empty node at i downwards.
func (h *timers) down(i int, e timed) {
	for {
		least := 4*i + 1
		if least >= len(h.heap) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(h.heap)); c++ {
			if h.heap[c].before(&h.heap[least]) {
				least = c
			}
		}
		if !h.heap[least].before(&e) {
			break
		}
		h.put(i, h.heap[least])
		i = least
	}
	h.put(i, e)
}

// fireUntil lets happen what has its time until now.
func (h *timers) fireUntil(l *Loop, now int64) {
	for len(h.heap) > 0 && h.heap[0].when <= now {
		t := h.heap[0].timer
		h.remove(t)
		if t.task != nil {
			l.wake(t.task, nil)
		} else {
			t.fire()
		}
	}
}
