package share

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// joinPorts are of test_queue.py: task_done and join.
var joinPorts = map[string]func(t *testing.T, s *Space){
	// One can't be done with what one has not got: a Delivery is the permission.
	"joinable: done too often": joinable(5, func(t *testing.T, q *JoinableQueue[string]) {
		is(t, q.Put(t.Context(), "x"), nil)
		d := must(q.Get(t.Context()))
		is(t, d.Done(), nil)
		is(t, d.Done(), errEnded)
		is(t, d.Return(), errEnded)
		if err := new(Delivery[string]).Done(); err == nil {
			t.Error("one is done with nothing")
		}
		is(t, q.Join(t.Context()), nil)
	}),
	"joinable: join": func(t *testing.T, s *Space) {
		q, ctx := must(NewJoinableQueue[int](s, "j", JoinableOptions{Capacity: 10})), bounded(t)
		for range 2 {
			var sum atomic.Int64
			wait := bunch(t, 2, func(ctx context.Context) {
				for {
					d := must(q.Get(ctx))
					if d.Value < 0 {
						is(t, d.Done(), nil)
						return
					}
					sum.Add(int64(d.Value))
					is(t, d.Done(), nil)
				}
			})
			for i := range 100 {
				is(t, q.Put(ctx, i), nil)
			}
			is(t, q.Join(ctx), nil)
			if sum.Load() != 4950 {
				t.Error("it did not wait until all was done:", sum.Load())
			}
			is(t, errors.Join(q.Put(ctx, -1), q.Put(ctx, -1), q.Join(ctx)), nil)
			wait()
		}
	},
	"joinable: close while many join": joinable(5, func(t *testing.T, q *JoinableQueue[string]) { joinAndShut(t, q, false) }),
	// CPython's join returns as if all were done.
	"joinable: abort while many join": joinable(5, func(t *testing.T, q *JoinableQueue[string]) { joinAndShut(t, q, true) }),
	"joinable: close, put and join":   joinable(2, func(t *testing.T, q *JoinableQueue[string]) { putJoinShut(t, q, false) }),
	"joinable: abort, put and join":   joinable(2, func(t *testing.T, q *JoinableQueue[string]) { putJoinShut(t, q, true) }),
	"joinable: get, done, join": joinable(2, func(t *testing.T, q *JoinableQueue[string]) {
		is(t, errors.Join(q.TryPut("Y"), q.TryPut("D")), nil)
		if q.Unfinished() != q.Len() {
			t.Error(q.Unfinished(), q.Len())
		}
		joined := bunch(t, 2, func(ctx context.Context) { is(t, q.Join(ctx), nil) })
		asleep(t, 2, sleepsIn)
		got := bunch(t, 2, func(ctx context.Context) { is(t, must(q.Get(ctx)).Done(), nil) })
		shutdown(t, q, false)
		got()
		joined()
	}),
}

func joinAndShut(t *testing.T, q *JoinableQueue[string], immediate bool) {
	ctx := bounded(t)
	is(t, q.Put(ctx, "Y"), nil)
	wait := bunch(t, 2, func(ctx context.Context) {
		if err := q.Join(ctx); immediate {
			aborted(t, err)
		} else {
			is(t, err, nil)
		}
	})
	asleep(t, 2, sleepsIn)
	shutdown(t, q, immediate)
	if !immediate {
		is(t, must(q.Get(ctx)).Done(), nil)
	}
	wait()
}

func putJoinShut(t *testing.T, q *JoinableQueue[string], immediate bool) {
	ctx := bounded(t)
	is(t, q.Put(ctx, "Y"), nil)
	wait := bunch(t, 1, func(ctx context.Context) {
		if err := q.Join(ctx); immediate {
			aborted(t, err)
		} else {
			is(t, err, nil)
		}
	})
	asleep(t, 1, sleepsIn)
	if q.Unfinished() != 1 {
		t.Error(q.Unfinished())
	}
	shutdown(t, q, immediate)
	ends(t, immediate, q.Put(ctx, "E"))
	if immediate {
		_, err := q.TryGet(ctx)
		aborted(t, err)
	} else if d := must(q.Get(ctx)); d.Value != "Y" || d.Done() != nil {
		t.Error(d.Value)
	}
	wait()
}
