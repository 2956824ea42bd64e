package coro

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Items come out in the order in which they went in, and the bound holds.
func TestQueue(t *testing.T) {
	l := NewLoop(Options{})
	q := NewQueue[int](2)
	var got []int
	l.Go("putter", func(ctx context.Context) error {
		defer q.Close()
		for i := range 10 {
			if err := q.Put(ctx, i); err != nil {
				return err
			}
			if q.Len() > 2 {
				t.Errorf("%d items", q.Len())
			}
		}
		return nil
	})
	for range 3 {
		l.Go("getter", func(ctx context.Context) error {
			for v, err := range q.All(ctx) {
				if err != nil {
					return err
				}
				got = append(got, v)
				if err := Pass(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	runs(t, l)
	if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// Full, empty and closed, without a wait and in one.
func TestQueueErrors(t *testing.T) {
	q := NewQueue[int](1)
	if _, err := q.TryGet(); err != ErrEmpty {
		t.Error(err)
	}
	if err := q.TryPut(1); err != nil {
		t.Error(err)
	}
	if err := q.TryPut(2); err != ErrFull {
		t.Error(err)
	}
	l := NewLoop(Options{Clock: Virtual})
	for _, name := range []string{"a", "b"} {
		l.Go(name, func(ctx context.Context) error {
			if err := q.Put(ctx, 2); err != ErrClosed {
				t.Errorf("Put into one that is closed meanwhile: %v", err)
			}
			return nil
		})
	}
	empty := NewQueue[int](1)
	l.Go("getter", func(ctx context.Context) error {
		if _, err := empty.Get(ctx); err != ErrClosed {
			t.Errorf("Get from one that is closed meanwhile: %v", err)
		}
		return nil
	})
	l.Go("closer", func(ctx context.Context) error {
		q.Close()
		empty.Close()
		q.Close()
		if err := q.Put(ctx, 3); err != ErrClosed {
			t.Errorf("Put: %v", err)
		}
		if v, err := q.Get(ctx); v != 1 || err != nil {
			t.Errorf("what is left: %d, %v", v, err)
		}
		if _, err := q.Get(ctx); err != ErrClosed {
			t.Errorf("Get: %v", err)
		}
		return nil
	})
	runs(t, l)
	other := NewLoop(Options{})
	other.Go("stranger", func(ctx context.Context) error {
		if _, err := q.Get(ctx); err != ErrLoop {
			t.Errorf("Get in another loop: %v", err)
		}
		return nil
	})
	runs(t, other)
}

// Whatever tasks put, get and give up in whatever order: no item is lost, doubled or overtaken, and
// what is left is what was put and not got.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := NewLoop(Options{Clock: Virtual, Seed: rapid.Uint64().Draw(r, "seed")})
		capacity := rapid.IntRange(1, 4).Draw(r, "capacity")
		q := NewQueue[int](capacity)
		put, got := 0, 0
		var order []int
		step := func() time.Duration { return time.Duration(rapid.IntRange(0, 5).Draw(r, "time")) }
		putter := func(n int, patience func() time.Duration) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				for range n {
					c, cancel := WithTimeout(ctx, patience())
					err := q.Put(c, put)
					cancel()
					if err == nil {
						put++
					} else if err != context.DeadlineExceeded {
						return err
					}
					if q.Len() > capacity {
						r.Errorf("%d items where %d have room", q.Len(), capacity)
					}
					if err := Sleep(ctx, step()); err != nil {
						return err
					}
				}
				return nil
			}
		}
		getter := func(n int, patience func() time.Duration) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				for range n {
					c, cancel := WithTimeout(ctx, patience())
					v, err := q.Get(c)
					cancel()
					if err == nil {
						got++
						order = append(order, v)
					} else if err != context.DeadlineExceeded {
						return err
					}
					if err := Sleep(ctx, step()); err != nil {
						return err
					}
				}
				return nil
			}
		}
		patience := func() time.Duration { return time.Duration(rapid.IntRange(0, 8).Draw(r, "patience")) }
		l.Go("putter", putter(rapid.IntRange(0, 20).Draw(r, "puts"), patience)) // one, so that the order is known
		for i := range rapid.IntRange(1, 3).Draw(r, "getters") {
			l.Go(fmt.Sprint("getter ", i), getter(rapid.IntRange(0, 10).Draw(r, "gets"), patience))
		}
		if err := l.Run(context.Background()); err != nil {
			r.Fatal(err)
		}
		for q.Len() > 0 {
			v, err := q.TryGet()
			if err != nil {
				r.Fatal(err)
			}
			order = append(order, v)
		}
		slices.Sort(order) // getters that were served at one moment note it in any order
		if len(order) != put {
			r.Errorf("%d were put, and %d got or left", put, len(order))
		}
		for i, v := range order {
			if v != i {
				r.Fatalf("got %v of %d", order, put)
			}
		}
	})
}
