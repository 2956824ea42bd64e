package share

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// multiPorts are of _test_multiprocessing.py: Queue, JoinableQueue and SimpleQueue.
var multiPorts = map[string]func(t *testing.T, s *Space){
	"multiprocessing: put": eachQueue(6, func(t *testing.T, q pyQueue) {
		ctx := bounded(t)
		var begin, done = make(chan struct{}), make(chan struct{})
		wait := start(func() {
			<-begin
			for range 6 {
				_, err := q.get(ctx)
				is(t, err, nil)
			}
			close(done)
		})
		if !q.basket.Empty() || q.basket.Full() {
			t.Error(q.basket.Len())
		}
		is(t, errors.Join(q.put(ctx, 1), q.put(ctx, 2), q.put(soon(ctx), 3), q.tryPut(4), q.tryPut(5), q.tryPut(6)), nil)
		if q.basket.Empty() || !q.basket.Full() {
			t.Error(q.basket.Len())
		}
		is(t, q.tryPut(7), ErrFull)
		began := time.Now()
		is(t, q.put(soon(ctx), 7), context.DeadlineExceeded)
		if d := time.Since(began); d < 4*time.Millisecond {
			t.Errorf("it waited for %v", d)
		}
		close(begin)
		<-done
		if !q.basket.Empty() || q.basket.Full() {
			t.Error(q.basket.Len())
		}
		wait()
	}),
	"multiprocessing: get": eachQueue(6, func(t *testing.T, q pyQueue) {
		ctx := bounded(t)
		if !q.basket.Empty() {
			t.Error(q.basket.Len())
		}
		in := []int{2, 3, 4, 5}
		start(func() {
			for _, v := range in {
				is(t, q.put(ctx, v), nil)
			}
		})()
		if q.basket.Empty() {
			t.Error("it is empty")
		}
		want := q.ordered(in)
		item(t, q.get, want[0])
		item(t, q.get, want[1])
		if v, err := q.get(soon(ctx)); err != nil || v != want[2] {
			t.Error(v, err)
		}
		if v, err := q.tryGet(); err != nil || v != want[3] {
			t.Error(v, err)
		}
		if !q.basket.Empty() {
			t.Error(q.basket.Len())
		}
		_, err := q.tryGet()
		is(t, err, ErrEmpty)
		began := time.Now()
		_, err = q.get(soon(ctx))
		is(t, err, context.DeadlineExceeded)
		if d := time.Since(began); d < 4*time.Millisecond {
			t.Errorf("it waited for %v", d)
		}
	}),
	"multiprocessing: two producers": func(t *testing.T, s *Space) {
		q, ctx := must(NewQueue[int](s, "q", 20)), bounded(t)
		for i := range 10 {
			is(t, q.Put(ctx, i), nil)
		}
		wait := start(func() {
			for i := range 10 {
				is(t, q.Put(ctx, i+10), nil)
			}
		})
		for i := range 20 {
			item(t, q.Get, i)
		}
		_, err := q.TryGet()
		is(t, err, ErrEmpty)
		wait()
	},
	"multiprocessing: length": eachQueue(5, func(t *testing.T, q pyQueue) {
		for i, step := range []func() error{
			func() error { return q.tryPut(1) }, func() error { return q.tryPut(5) },
			func() error { _, err := q.tryGet(); return err }, func() error { _, err := q.tryGet(); return err },
		} {
			is(t, step(), nil)
			if want := []int{1, 2, 1, 0}[i]; q.basket.Len() != want {
				t.Errorf("step %d: %d items", i, q.basket.Len())
			}
		}
	}),
	"multiprocessing: done": func(t *testing.T, s *Space) {
		q := must(NewJoinableQueue[int](s, "j", JoinableOptions{Capacity: 10}))
		ctx := bounded(t)
		var did atomic.Int64
		wait := bunch(t, 4, func(ctx context.Context) {
			for d, err := range q.All(ctx) {
				is(t, err, nil)
				did.Add(1)
				is(t, d.Done(), nil)
			}
		})
		for i := range 10 {
			is(t, q.Put(ctx, i), nil)
		}
		is(t, q.Join(ctx), nil)
		if did.Load() != 10 {
			t.Errorf("%d were done", did.Load())
		}
		is(t, q.Close(), nil) // CPython puts a None for each consumer
		wait()
	},
	// What can't be encoded is its putter's error, and takes no room.
	"multiprocessing: not serializable": func(t *testing.T, s *Space) {
		q := must(NewQueue[any](s, "q", 1))
		ctx := bounded(t)
		if s.Name() != "" {
			c := make(chan int)
			contains(t, q.Put(ctx, c), "share: put into queue \"q\" of ", "can't be encoded")
			contains(t, q.TryPut(c), "can't be encoded")
		}
		if !q.Empty() || q.Full() {
			t.Error(q.Len())
		}
		is(t, q.TryPut(true), nil)
		if v, err := q.Get(ctx); err != nil || v != true || !q.Empty() {
			t.Error(v, err, q.Len())
		}
	},
	// Close is of the queue, not of a process's part in it.
	"multiprocessing: closed": eachQueue(5, func(t *testing.T, q pyQueue) {
		is(t, q.tryPut(1), nil)
		is(t, errors.Join(q.basket.Close(), q.basket.Close()), nil)
		if q.basket.Empty() || q.basket.Full() || q.basket.Len() != 1 {
			t.Error(q.basket.Len())
		}
		contains(t, q.tryPut(2), "is closed")
		item(t, q.get, 1)
		_, err := q.tryGet()
		contains(t, err, "is closed")
		if !q.basket.Empty() {
			t.Error(q.basket.Len())
		}
	}),
	"multiprocessing: empty": func(t *testing.T, s *Space) {
		q, ctx := must(NewQueue[bool](s, "q", 2)), bounded(t)
		if !q.Empty() {
			t.Error("it is not empty")
		}
		start(func() {
			is(t, q.Put(ctx, q.Empty()), nil)
			is(t, q.Put(ctx, q.Empty()), nil)
		})()
		if q.Empty() {
			t.Error("it is empty")
		}
		if a, b := must(q.Get(ctx)), must(q.Get(ctx)); !a || b || !q.Empty() {
			t.Error(a, b, q.Empty())
		}
	},
}
