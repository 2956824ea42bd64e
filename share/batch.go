package share

import (
	"context"
	"errors"
	"sync"
)

// Batches: many items for one turn at the latch.

const (
	// batchItems bounds how many items are put or got in one turn: others want to have theirs.
	batchItems = 128
	// batchBytes bounds how many bytes of items that lie in slots.
	batchBytes = 32 << 10
)

// batches are for encoding and decoding several items.
var batches = sync.Pool{New: func() any { return new(batch) }}

type batch struct {
	parcels [batchItems]parcel
	bytes   [batchBytes]byte
}

// drop forgets what belongs to others.
func (b *batch) drop(n int) {
	clear(b.parcels[:n])
	batches.Put(b)
}

// putAll puts items in order, and returns how many.
func (h *typed[T]) putAll(ctx context.Context, items []T, prio int64) (n int, err error) {
	if h == nil {
		return 0, errNothing
	}
	for n < len(items) && err == nil {
		var k int
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if h.shelf != nil {
			k, err = h.putSomeLocal(ctx, items[n:], uint64(prio))
		} else {
			k, err = h.putSome(ctx, items[n:], uint64(prio))
		}
		if n += k; k == 0 && err == nil { // the next one is large, or has to wait
			if err := h.put(ctx, items[n], prio, how{}); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, h.outcome("put into", err)
}

// putSomeLocal puts as many items as there is room for.
func (h *typed[T]) putSomeLocal(ctx context.Context, items []T, prio uint64) (k int, err error) {
	token, err := h.enter(ctx)
	if err != nil {
		return 0, err
	}
	for k < len(items) && k < batchItems {
		n, s, e := h.room(false)
		if err = e; n == 0 {
			break
		}
		h.shelf.put(n, items[k])
		h.publish(n, s, prio)
		k++
	}
	if !h.leave(token) {
		return 0, ErrClosed
	}
	return k, err
}

// putSome puts as many small items as there is room for, up to the first large one.
func (h *typed[T]) putSome(ctx context.Context, items []T, prio uint64) (k int, err error) {
	number, err := h.typeNumber(ctx, how{})
	if err != nil {
		return 0, err
	}
	b := batches.Get().(*batch)
	m, used := 0, 0
	defer func() { b.drop(m) }()
	for ; m < len(items) && m < batchItems; m++ {
		p, e := h.pack(&items[m], number, b.bytes[used:])
		if e != nil && m == 0 {
			return 0, e
		}
		if e != nil || !h.rules.small(&p) || used+len(p.data) > batchBytes-mediumItem {
			break
		}
		used += len(p.data) // where it may be
		p.prio = prio
		b.parcels[m] = p
	}
	if m == 0 {
		return 0, nil
	}
	token, err := h.enter(ctx)
	if err != nil {
		return 0, err
	}
	for k < m {
		n, s, e := h.room(false)
		if err = e; n == 0 || !h.load(n, s, &b.parcels[k]) {
			break
		}
		h.publish(n, s, prio)
		k++
	}
	if !h.leave(token) {
		return 0, ErrClosed
	}
	return k, err
}

// getUpTo waits for one item and gets up to n.
func (h *typed[T]) getUpTo(ctx context.Context, n int) ([]T, error) {
	if n < 1 {
		return nil, nil
	}
	var c catch
	v, err := h.get(ctx, &c, how{})
	if err != nil && !isUndecodable(err) {
		return nil, err
	}
	all := make([]T, 0, 1+h.atOnce(n-1))
	if err == nil {
		all = append(all, v)
	}
	e := h.getSome(ctx, n-1, false, func(v T, _ *catch) { all = append(all, v) })
	if e != nil {
		err = errors.Join(err, h.fail("get from", e))
	}
	return all, err
}

// atOnce is how many of n items there is a point in asking for in one turn. A peer may have overwritten
// the count of what waits.
func (d *depot) atOnce(n int) int { return int(min(uint64(max(n, 0)), d.ready(), batchItems)) }

// getSome gets up to n small items that are there, up to the first large one. The error is of items that
// can't be decoded, or why there can be no more, but for the end of the stream.
func (h *typed[T]) getSome(ctx context.Context, n int, own bool, each func(v T, c *catch)) (err error) {
	if n = h.atOnce(n); n == 0 {
		return nil
	}
	if h.shelf != nil {
		return h.getSomeLocal(ctx, n, own, each)
	}
	number, err := h.typeNumber(ctx, how{})
	if err != nil {
		return err
	}
	b := batches.Get().(*batch)
	all := make([]catch, 0, h.atOnce(n))
	defer b.drop(0)
	token, err := h.enter(ctx)
	if err != nil {
		return nil // what was got before counts
	}
	for used := 0; len(all) < n && used+mediumItem+8 <= batchBytes; {
		slot, s, e := h.next(false, own)
		if err = e; slot == 0 || s.meta.Load()&inBulk != 0 {
			break
		}
		var c catch
		c.data = b.bytes[used:used:batchBytes]
		if err = h.take(slot, s, &c); err != nil {
			break
		}
		used += (len(c.data) + 7) &^ 7
		all = append(all, c)
	}
	if !h.leave(token) {
		return ErrClosed
	}
	if isEnd(err) {
		err = nil // the next call says so
	}
	next := 0
	defer func() { // of those that are left if the user's code ends the goroutine
		for i := next; i < len(all); i++ {
			h.refuse(&all[i], 0)
		}
	}()
	for i := range all {
		next = i + 1
		v, e := h.unpack(&all[i], number, false)
		if e != nil {
			h.refuse(&all[i], slotUnreadable)
			err = errors.Join(err, e)
			continue
		}
		each(v, &all[i])
	}
	return err
}

func (h *typed[T]) getSomeLocal(ctx context.Context, n int, own bool, each func(v T, c *catch)) error {
	token, err := h.enter(ctx)
	if err != nil {
		return nil // what was got before counts
	}
	n = h.atOnce(n)
	values := make([]T, n)
	catches := make([]catch, 0, n)
	for len(catches) < n {
		slot, s, e := h.next(false, own)
		if err = e; slot == 0 {
			break
		}
		if values[len(catches)] = h.shelf.get(slot); h.rules.attempts == 0 {
			h.shelf.take(slot)
		}
		var c catch
		if err = h.take(slot, s, &c); err != nil {
			break
		}
		catches = append(catches, c)
	}
	if !h.leave(token) {
		return ErrClosed
	}
	if isEnd(err) {
		err = nil // the next call says so
	}
	for i := range catches {
		each(values[i], &catches[i])
	}
	return err
}
