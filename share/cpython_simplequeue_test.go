package share

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"weak"
)

// feed runs n who put what there is in turn, and n who get until they get a -1, and returns what these got.
func feed(t *testing.T, n, items int, q *Queue[int], get func(ctx context.Context) (int, error)) (got []int) {
	t.Helper()
	ctx := bounded(t)
	var mu sync.Mutex
	next := 0
	pop := func() (v int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= items
	}
	fed := start(func() {
		all(n, func(int) {
			for v, ok := pop(); ok; v, ok = pop() {
				is(t, q.Put(ctx, v), nil)
			}
			is(t, q.Put(ctx, -1), nil)
		})
	})
	all(n, func(int) {
		for {
			v, err := get(ctx)
			switch {
			case errors.Is(err, ErrEmpty), errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
				runtime.Gosched()
				continue
			case err != nil:
				t.Error(err)
				return
			case v < 0:
				return
			}
			mu.Lock()
			got = append(got, v)
			mu.Unlock()
		}
	})
	fed()
	if !q.Empty() || q.Len() != 0 {
		t.Errorf("%d are left", q.Len())
	}
	return got
}

// feedMany checks that what many put and get is all of it, each once.
func feedMany(n, items int, get func(q *Queue[int]) func(ctx context.Context) (int, error)) func(t *testing.T, s *Space) {
	return func(t *testing.T, s *Space) {
		q := must(NewQueue[int](s, "q", 10_000))
		got := feed(t, n, items, q, get(q))
		slices.Sort(got)
		for i, v := range got {
			if i != v {
				t.Fatalf("item %d is there as item %d", v, i)
			}
		}
		if len(got) != items {
			t.Errorf("%d items of %d", len(got), items)
		}
	}
}

// simplePorts are of test_queue.py: SimpleQueue.
var simplePorts = map[string]func(t *testing.T, s *Space){
	"simple queue: basic": func(t *testing.T, s *Space) {
		q, ctx := must(NewQueue[int](s, "q", 10)), bounded(t)
		length := func(n int) {
			t.Helper()
			if q.Len() != n || q.Empty() != (n == 0) {
				t.Errorf("%d items, want %d", q.Len(), n)
			}
		}
		length(0)
		is(t, q.Put(ctx, 1), nil)
		length(1)
		is(t, errors.Join(q.Put(ctx, 2), q.TryPut(3), q.Put(soon(ctx), 4)), nil)
		length(4)
		for i := range 4 {
			if v, err := q.Get(ctx); err != nil || v != i+1 {
				t.Error(v, err)
			}
			length(3 - i)
		}
		_, err := q.TryGet()
		is(t, err, ErrEmpty)
		_, err = q.Get(soon(ctx))
		is(t, err, context.DeadlineExceeded)
		length(0)
	},
	"simple queue: order": func(t *testing.T, s *Space) {
		q := must(NewQueue[int](s, "q", 10))
		if got := feed(t, 1, 100, q, q.Get); !slices.IsSorted(got) || len(got) != 100 {
			t.Error(got)
		}
	},
	"simple queue: many": feedMany(20, 5000, func(q *Queue[int]) func(context.Context) (int, error) { return q.Get }),
	"simple queue: many, no wait": feedMany(20, 5000, func(q *Queue[int]) func(context.Context) (int, error) {
		return func(context.Context) (int, error) { return q.TryGet() }
	}),
	"simple queue: many, timeout": feedMany(20, 1000, func(q *Queue[int]) func(context.Context) (int, error) {
		return func(ctx context.Context) (int, error) { return q.Get(soon(ctx)) }
	}),
	// A queue keeps nothing of what has left it.
	"simple queue: references": func(t *testing.T, s *Space) {
		q, ctx := must(NewQueue[*[2]string](s, "q", 20)), bounded(t)
		var refs []weak.Pointer[[2]string]
		for i := range 20 {
			v := &[2]string{fmt.Sprint(i), "x"}
			refs = append(refs, weak.Make(v))
			is(t, q.Put(ctx, v), nil)
		}
		for range refs {
			must(q.Get(ctx))
		}
		eventually(t, "what was got is collected", func() bool {
			runtime.GC()
			return !slices.ContainsFunc(refs, func(r weak.Pointer[[2]string]) bool { return r.Value() != nil })
		})
	},
	// CPython's is a put in the middle of another one, by the collector. Here it may be the item that puts.
	"simple queue: reentrancy": func(t *testing.T, s *Space) {
		q, ctx := must(NewQueue[nested](s, "q", 10)), bounded(t)
		nestedInto = q
		is(t, q.Put(ctx, nested{1}), nil)
		want := []nested{{0}, {1}}
		if s.Name() == "" {
			want = want[1:]
		}
		if got, err := q.GetUpTo(ctx, 3); err != nil || !slices.Equal(got, want) {
			t.Error(got, err)
		}
	},
}

// nested is an item that puts the one before it when it is encoded.
type nested struct{ N int }

var nestedInto *Queue[nested]

// MarshalBinary puts another item.
func (n nested) MarshalBinary() ([]byte, error) {
	if n.N > 0 {
		if err := nestedInto.TryPut(nested{n.N - 1}); err != nil {
			return nil, err
		}
	}
	return []byte{byte(n.N)}, nil
}

// UnmarshalBinary is its reverse.
func (n *nested) UnmarshalBinary(b []byte) error {
	n.N = int(b[0])
	return nil
}
