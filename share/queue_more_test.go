package share

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// Whoever waits for an item or for room learns of the end, however many there are.
func TestQueueClose(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[int](s, "q", 100))
		var got atomic.Int32
		wait := start(func() {
			all(20, func(int) {
				for v, err := range q.All(ctx) {
					if err != nil {
						t.Error(err)
					}
					got.Add(int32(v))
				}
			})
		})
		for range 50 {
			if err := q.Put(ctx, 1); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all are got", func() bool { return got.Load() == 50 })
		asleep(t, 20, "(*line).wait")
		if err := errors.Join(q.Close(), q.Close()); err != nil {
			t.Error(err)
		}
		wait()
		if _, err := q.Get(ctx); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := q.TryGet(); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		for _, err := range []error{q.Put(ctx, 1), q.TryPut(1)} {
			if !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			contains(t, err, `put into queue "q"`, "the queue is closed")
		}
	})
}

// What is in a queue when it is closed can still be got, and putters that wait are told.
func TestQueueDrain(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[string](s, "q", 2))
		if n, err := q.PutAll(ctx, "a", "b"); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		told := make(chan error)
		go func() { told <- q.Put(ctx, "c") }()
		asleep(t, 1, "(*line).wait")
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-told; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		var left []string
		for v, err := range q.All(ctx) {
			if err != nil {
				t.Error(err)
			}
			left = append(left, v)
		}
		if !slices.Equal(left, []string{"a", "b"}) {
			t.Error(left)
		}
	})
}

// Abort stops all at once, and says why.
func TestQueueAbort(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q, r := must(NewQueue[[]byte](s, "q", 2)), must(NewQueue[int](s, "r", 2))
		for _, size := range []int{10, 1 << 20} {
			if err := q.Put(ctx, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		told := make(chan error)
		go func() { told <- q.Put(ctx, nil) }()
		go func() {
			_, err := r.Get(ctx)
			told <- err
		}()
		asleep(t, 2, "(*line).wait")
		cause := errors.New("the kitchen is on fire")
		if err := errors.Join(q.Abort(cause), r.Abort(cause)); err != nil {
			t.Fatal(err)
		}
		_, err := q.Get(ctx)
		for _, err := range []error{<-told, <-told, q.TryPut(nil), err} {
			var e *AbortError
			if !errors.As(err, &e) || e.Text != cause.Error() || !errors.Is(err, cause) || errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			contains(t, err, "it was aborted: the kitchen is on fire")
		}
		if q.Len() != 0 {
			t.Error(q.Len())
		}
	})
}

// A Get or Put that gives up while it waits takes and leaves nothing.
func TestQueueGivesUp(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[int](s, "q", 1))
		for range 200 {
			short, cancel := context.WithCancelCause(ctx)
			why := errors.New("enough")
			errs := make(chan error)
			go func() {
				_, err := q.Get(short)
				errs <- err
			}()
			asleep(t, 1, "(*line).wait")
			go cancel(why)
			if err := q.Put(ctx, 1); err != nil {
				t.Fatal(err)
			}
			if err := <-errs; err == nil {
				continue
			} else if !errors.Is(err, why) {
				t.Fatal(err)
			}
			if v, err := q.Get(ctx); v != 1 || err != nil {
				t.Fatal(v, err)
			}
		}
		if q.Len() != 0 {
			t.Error(q.Len())
		}
		if err := q.Put(ctx, 1); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if n, err := q.PutAll(short, 2, 3); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(n, err)
		}
		if v, err := q.Get(ctx); v != 1 || err != nil || q.Len() != 0 {
			t.Error(v, err, q.Len())
		}
		if _, err := q.Get(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Items of all sizes come as they went.
func TestQueueSizes(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[[]byte](s, "q", 3))
		sizes := []int{0, 1, 7, 8, 9, maxInline - 1, maxInline, maxInline + 1, mediumItem - 1, mediumItem, mediumItem + 1, 64 << 10, 1 << 20, 64 << 20}
		if long {
			sizes = append(sizes, 300<<20)
		}
		for _, size := range sizes {
			v := bytes.Repeat([]byte("brood"), size/5+1)[:size]
			var err error
			wait := start(func() { err = q.Put(ctx, v) })
			got, e := q.Get(ctx)
			wait()
			if err != nil || e != nil || !bytes.Equal(got, v) {
				t.Fatalf("%d bytes: %v, %v, got %d", size, err, e, len(got))
			}
		}
		words := must(NewQueue[struct{ A, B string }](s, "words", 3))
		if err := words.Put(ctx, struct{ A, B string }{"x", "ÿ"}); err != nil {
			t.Fatal(err)
		}
		if v, err := words.Get(ctx); v.A != "x" || v.B != "ÿ" || err != nil {
			t.Error(v, err)
		}
	})
}

// Many items at a time, mixed with large ones and with others who put and get.
func TestQueueBatches(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[[]byte](s, "q", 50))
		var batch [][]byte
		for i := range 500 {
			size := i % 100
			if i%97 == 0 {
				size = 100 << 10
			}
			batch = append(batch, bytes.Repeat([]byte{byte(i)}, size))
		}
		wait := start(func() {
			if n, err := q.PutAll(ctx, batch...); n != len(batch) || err != nil {
				t.Error(n, err)
			}
		})
		for i := 0; i < len(batch); {
			got, err := q.GetUpTo(ctx, 1+i%70)
			if err != nil || len(got) == 0 || len(got) > 1+i%70 {
				t.Fatal(len(got), err)
			}
			for _, v := range got {
				if !bytes.Equal(v, batch[i]) {
					t.Fatalf("item %d: %d bytes of %d", i, len(v), len(batch[i]))
				}
				i++
			}
		}
		wait()
		if got, err := q.GetUpTo(ctx, 0); len(got) != 0 || err != nil {
			t.Error(got, err)
		}
	})
}

// Everybody who waits is served, although others never stop to put and get.
func TestQueueStarvation(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx, stop := context.WithCancel(bounded(t))
		defer stop()
		q := must(NewQueue[int](s, "q", 1))
		busy := start(func() {
			all(3, func(i int) {
				for ctx.Err() == nil {
					if i == 0 {
						_ = q.Put(ctx, 0)
					} else {
						_, _ = q.Get(ctx)
					}
				}
			})
		})
		for range 20 {
			if err := q.Put(ctx, 1); err != nil {
				t.Error(err)
			}
			if _, err := q.Get(ctx); err != nil {
				t.Error(err)
			}
		}
		stop()
		busy()
	})
}

// Closing the space ends what waits.
func TestQueueSpaceClosed(t *testing.T) {
	for _, sub := range substrates {
		t.Run(sub.name, func(t *testing.T) {
			s := sub.new(t, Options{})
			q, j := must(NewQueue[int](s, "q", 1)), must(NewJoinableQueue[int](s, "j", JoinableOptions{Capacity: 1}))
			ctx := bounded(t)
			told := make(chan error)
			go func() {
				_, err := q.Get(ctx)
				told <- err
			}()
			go func() {
				_, err := j.Get(ctx)
				told <- err
			}()
			asleep(t, 2, "(*line).wait")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-told; !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			}
			_, err := q.TryGet()
			for _, err := range []error{q.Put(ctx, 1), j.Put(ctx, 1), err, j.Join(ctx), q.Close()} {
				if !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			}
			if _, err := NewQueue[int](s, "new", 1); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
}

func TestQueueMisuse(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		for _, capacity := range []int{0, -1, MaxCapacity + 1} {
			_, err := NewQueue[int](s, "q", capacity)
			contains(t, err, fmt.Sprintf("capacity %d: give a number from 1 to %d", capacity, MaxCapacity))
		}
		_, err := NewJoinableQueue[int](s, "q", JoinableOptions{})
		contains(t, err, "a capacity of 0")
		_, err = NewJoinableQueue[int](s, "q", JoinableOptions{Capacity: 1, Attempts: -1})
		contains(t, err, "-1 attempts")
		must(NewQueue[int](s, "q", 1))
		_, err = NewStack[int](s, "q", 1)
		contains(t, err, "it exists as a queue of capacity 1, and was opened as a stack of capacity 1")
	})
	var q Queue[int]
	if err := q.Put(t.Context(), 1); !errors.Is(err, errNothing) {
		t.Error(err)
	}
	if _, err := q.Get(t.Context()); !errors.Is(err, errNothing) {
		t.Error(err)
	}
	contains(t, panics(t, func() { q.Len() }), "handle of nothing")
	contains(t, (&Delivery[int]{}).Done(), "a Delivery of nothing")
	s := must(New())
	defer s.Close()
	c, err := NewQueue[chan int](s, "channels", 1)
	if err == nil {
		err = c.Put(t.Context(), make(chan int))
	}
	contains(t, err, "chan int")
}
