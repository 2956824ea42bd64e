package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/brood-go/brood"
	"github.com/brood-go/brood/share"
)

// way is how items get from the processes that have them to those that want them.
type way int

const (
	byQueue way = iota
	byInto      // with GetInto
	byBatches
	byJoinable
	byPipe
)

// haul is what a process is told that puts or gets items of a type.
type haul[T any] struct {
	Start    *share.Barrier // where all meet
	Way      way
	Queue    *share.Queue[T]         // for byQueue, byInto and byBatches
	Joinable *share.JoinableQueue[T] // for byJoinable
	End      *share.End[T]           // for byPipe, its own
	Puts     bool                    // it puts; else it gets
	N        int                     // how many
	Size     int                     // of an item
}

// hauled is when a process began and ended, by a clock that all have in common.
type hauled struct {
	Began, Ended float64
	Samples      []float64
}

// kindOf is a type of items.
type kindOf[T any] struct {
	make  func(size int) T
	right func(v T, size int) bool
}

var (
	numbers = kindOf[int64]{
		func(int) int64 { return 0x0123456789ABCDEF },
		func(v int64, _ int) bool { return v > 0 },
	}
	slabs = kindOf[[]byte]{
		func(size int) []byte { return bytes.Repeat([]byte("x"), size) },
		func(v []byte, size int) bool { return len(v) == size },
	}
)

// The functions of the processes.
var (
	haulNumbers = brood.NewFunc("haul numbers", hauling(numbers))
	haulSlabs   = brood.NewFunc("haul slabs", hauling(slabs))
	haulTimes   = brood.NewFunc("haul times", haulClock)
)

var errWrong = errors.New("a wrong item has come")

// hauling is what a process does with items of a kind.
func hauling[T any](kind kindOf[T]) func(context.Context, haul[T]) (hauled, error) {
	return func(ctx context.Context, h haul[T]) (t hauled, err error) {
		move := h.get(kind)
		if h.Puts {
			move = h.put(kind)
		}
		if _, err := h.Start.Wait(ctx); err != nil {
			return t, err
		}
		t.Began = monotonic()
		err = move(ctx)
		t.Ended = monotonic()
		return t, err
	}
}

// put is how it puts its items.
func (h haul[T]) put(kind kindOf[T]) func(context.Context) error {
	v := kind.make(h.Size)
	switch h.Way {
	case byBatches:
		return func(ctx context.Context) error { return putBatches(h.Queue)(ctx, v, h.N) }
	case byJoinable:
		return func(ctx context.Context) error {
			for range h.N {
				if err := h.Joinable.Put(ctx, v); err != nil {
					return err
				}
			}
			return h.Joinable.Join(ctx)
		}
	case byPipe:
		return func(ctx context.Context) error {
			for range h.N {
				if err := h.End.Send(ctx, v); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return func(ctx context.Context) error { return putOnes(h.Queue)(ctx, v, h.N) }
}

// get is how it gets its items.
func (h haul[T]) get(kind kindOf[T]) func(context.Context) error {
	right := func(v T) bool { return kind.right(v, h.Size) }
	switch h.Way {
	case byBatches:
		return func(ctx context.Context) error { return getBatches(h.Queue)(ctx, right, h.N) }
	case byInto:
		return func(ctx context.Context) error { return getInto(h.Queue)(ctx, right, h.N) }
	case byJoinable:
		return func(ctx context.Context) error {
			for range h.N {
				d, err := h.Joinable.Get(ctx)
				if err != nil {
					return err
				}
				if !right(d.Value) {
					return errWrong
				}
				if err := d.Done(); err != nil {
					return err
				}
			}
			return nil
		}
	case byPipe:
		return func(ctx context.Context) error {
			for range h.N {
				v, err := h.End.Receive(ctx)
				if err != nil {
					return err
				}
				if !right(v) {
					return errWrong
				}
			}
			return nil
		}
	}
	return func(ctx context.Context) error { return getOnes(h.Queue)(ctx, right, h.N) }
}

// putOnes puts an item n times.
func putOnes[T any](q *share.Queue[T]) func(ctx context.Context, v T, n int) error {
	return func(ctx context.Context, v T, n int) error {
		for range n {
			if err := q.Put(ctx, v); err != nil {
				return err
			}
		}
		return nil
	}
}

// getOnes gets n items.
func getOnes[T any](q *share.Queue[T]) func(ctx context.Context, right func(T) bool, n int) error {
	return func(ctx context.Context, right func(T) bool, n int) error {
		for range n {
			v, err := q.Get(ctx)
			if err != nil {
				return err
			}
			if !right(v) {
				return errWrong
			}
		}
		return nil
	}
}

// getInto gets n items into the same memory.
func getInto[T any](q *share.Queue[T]) func(ctx context.Context, right func(T) bool, n int) error {
	return func(ctx context.Context, right func(T) bool, n int) error {
		var v T
		for range n {
			if err := q.GetInto(ctx, &v); err != nil {
				return err
			}
			if !right(v) {
				return errWrong
			}
		}
		return nil
	}
}

// putBatches puts an item n times, in batches.
func putBatches[T any](q *share.Queue[T]) func(ctx context.Context, v T, n int) error {
	return func(ctx context.Context, v T, n int) error {
		all := make([]T, batch)
		for i := range all {
			all[i] = v
		}
		for n > 0 {
			k, err := q.PutAll(ctx, all[:min(batch, n)]...)
			if err != nil {
				return err
			}
			n -= k
		}
		return nil
	}
}

// getBatches gets n items, in batches.
func getBatches[T any](q *share.Queue[T]) func(ctx context.Context, right func(T) bool, n int) error {
	return func(ctx context.Context, right func(T) bool, n int) error {
		for n > 0 {
			vs, err := q.GetUpTo(ctx, min(batch, n))
			if err != nil {
				return err
			}
			for _, v := range vs {
				if !right(v) {
					return errWrong
				}
			}
			n -= len(vs)
		}
		return nil
	}
}

// carry has new processes carry n items in a new space, and returns the seconds for each.
func carry(l load, n int, by way) (float64, error) {
	if l.size == 8 {
		return carryBy(haulNumbers, l, n, by)
	}
	return carryBy(haulSlabs, l, n, by)
}

func carryBy[T any](f *brood.Func[haul[T], hauled], l load, n int, by way) (float64, error) {
	all, err := haulAll(f, l, n, by)
	if err != nil {
		return 0, err
	}
	began, ended := all[0].Began, all[0].Ended
	for i, t := range all {
		if i < l.crew {
			began = min(began, t.Began)
		}
		ended = max(ended, t.Ended)
	}
	return (ended - began) / float64(n/l.crew*l.crew), nil
}

// haulAll starts the processes, those that put first, and returns what they have measured.
func haulAll[T any](f *brood.Func[haul[T], hauled], l load, n int, by way) ([]hauled, error) {
	space, err := share.New()
	if err != nil {
		return nil, err
	}
	defer space.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	h := haul[T]{Way: by, N: n / l.crew, Size: l.size}
	if h.Start, err = space.Barrier("start", 2*l.crew, nil); err != nil {
		return nil, err
	}
	var from, to *share.End[T]
	switch by {
	case byJoinable:
		h.Joinable, err = share.NewJoinableQueue[T](space, "queue", share.JoinableOptions{Capacity: l.capacity})
	case byPipe:
		from, to, err = share.NewPipe[T](space, "pipe", share.PipeOptions{Capacity: l.capacity, OneWay: true})
	default:
		h.Queue, err = share.NewQueue[T](space, "queue", l.capacity)
	}
	if err != nil {
		return nil, err
	}
	var processes []*brood.Process[hauled]
	for i := range 2 * l.crew {
		h.Puts, h.End = i < l.crew, to
		if h.Puts {
			h.End = from
		}
		x, err := f.Start(ctx, h, brood.ProcessOptions{})
		if err != nil {
			return nil, err
		}
		processes = append(processes, x)
	}
	all := make([]hauled, len(processes))
	for i, x := range processes {
		if all[i], err = x.Result(ctx); err != nil {
			return nil, fmt.Errorf("process %d of %d: %w", i, len(processes), err)
		}
	}
	return all, nil
}

// pause is long enough for one who waits to be asleep.
const pause = 2 * time.Millisecond

// haulClock puts the time of the clock after pauses, or gets it and looks how long ago that was.
func haulClock(ctx context.Context, h haul[int64]) (t hauled, err error) {
	if _, err := h.Start.Wait(ctx); err != nil {
		return t, err
	}
	if h.Puts {
		return t, putClock(h.N, func(v int64) error { return h.Queue.Put(ctx, v) })
	}
	t.Samples, err = getClock(h.N, func() (int64, error) { return h.Queue.Get(ctx) })
	return t, err
}

func putClock(n int, put func(int64) error) error {
	for range n {
		time.Sleep(pause)
		if err := put(int64(monotonic() * 1e9)); err != nil {
			return err
		}
	}
	return nil
}

func getClock(n int, get func() (int64, error)) ([]float64, error) {
	samples := make([]float64, n)
	for i := range samples {
		sent, err := get()
		if err != nil {
			return nil, err
		}
		samples[i] = monotonic() - float64(sent)/1e9
	}
	return samples, nil
}

// wake are the seconds from Put until the process runs that slept in Get.
func wake(n, capacity int) ([]float64, error) {
	all, err := haulAll(haulTimes, load{1, 8, capacity}, n, byQueue)
	if err != nil {
		return nil, err
	}
	return all[1].Samples, nil
}
