package share

import (
	"context"
	"errors"
)

// Batches: many items for one turn at the latch.

// batchItems bounds how many items are put or got in one turn: others want to have theirs.
const batchItems = 256

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
	if err != nil {
		return n, h.fail("put into", err)
	}
	return n, nil
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
	number, err := h.typeNumber()
	if err != nil {
		return 0, err
	}
	var parcels [batchItems]parcel
	var packed []byte
	scratch := buffers.Get().(*buffer)
	defer buffers.Put(scratch)
	m := 0
	for ; m < len(items) && m < batchItems; m++ {
		p, e := h.pack(&items[m], number, scratch)
		if e != nil || !p.fits(&h.rules) {
			if m == 0 {
				err = e
			}
			break
		}
		begin := len(packed)
		packed = append(packed, p.data...)
		p.data, p.prio = packed[begin:], prio
		parcels[m] = p
	}
	if m == 0 {
		return 0, err
	}
	token, err := h.enter(ctx)
	if err != nil {
		return 0, err
	}
	for k < m {
		n, s, e := h.room(false)
		if err = e; n == 0 {
			break
		}
		h.load(s, &parcels[k])
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
	var all []T
	if err == nil {
		all = append(all, v)
	} else if e := new(DecodeError); !errors.As(err, &e) {
		return nil, err
	}
	rest, e := h.getSome(ctx, n-1, false)
	for i := range rest {
		all = append(all, rest[i].v)
	}
	if e != nil {
		err = errors.Join(err, h.fail("get from", e))
	}
	return all, err
}

// got is an item that was got.
type got[T any] struct {
	v T
	c catch
}

// getSome gets up to n small items that are there, up to the first large one. The error is of items that
// can't be decoded, or why there can be no more, but for the end of the stream.
func (h *typed[T]) getSome(ctx context.Context, n int, own bool) (all []got[T], err error) {
	n = min(n, batchItems)
	if n < 1 {
		return nil, nil
	}
	var number uint64
	if h.shelf == nil {
		if number, err = h.typeNumber(); err != nil {
			return nil, err
		}
	}
	token, err := h.enter(ctx)
	if err != nil {
		return nil, nil // what was got before counts
	}
	for len(all) < n {
		slot, s, e := h.next(false, own)
		if err = e; slot == 0 {
			break
		}
		var g got[T]
		if h.shelf != nil {
			g.v = h.shelf.get(slot)
		} else if p := (parcel{meta: s.meta.Load()}); !p.fits(&h.rules) {
			break
		}
		if err = h.take(slot, s, &g.c); err != nil {
			break
		}
		all = append(all, g)
	}
	if !h.leave(token) {
		return nil, ErrClosed
	}
	if isEnd(err) {
		err = nil // the next call says so
	}
	if h.shelf != nil {
		return all, err
	}
	return h.unpackAll(all, number, err)
}

// unpackAll decodes what was got. Those that can't be decoded are left out, and in the error.
func (h *typed[T]) unpackAll(all []got[T], number uint64, err error) ([]got[T], error) {
	good := all[:0]
	for _, g := range all {
		v, e := h.unpack(&g.c, number, true)
		if e != nil {
			h.refuse(&g.c, true)
			err = errors.Join(err, e)
			continue
		}
		g.v = v
		good = append(good, g)
	}
	return good, err
}
