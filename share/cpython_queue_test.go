package share

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// pyQueue is a queue of any kind, as CPython's tests see one: an item is done as soon as it was got,
// and its priority is itself.
type pyQueue struct {
	put     func(ctx context.Context, v int) error
	tryPut  func(v int) error
	get     func(ctx context.Context) (int, error)
	tryGet  func() (int, error)
	basket  basketOf // what has nothing to do with the type of items
	ordered func(items []int) []int
}

// basketOf is what all queues of all items can.
type basketOf interface {
	Len() int
	Cap() int
	Full() bool
	Empty() bool
	Close() error
	Abort(err error) error
}

// pyKinds make a queue of each kind.
var pyKinds = []struct {
	name string
	make func(s *Space, capacity int) pyQueue
}{
	{"queue", func(s *Space, capacity int) pyQueue {
		q := must(NewQueue[int](s, "q", capacity))
		return pyQueue{q.Put, q.TryPut, q.Get, q.TryGet, q, slices.Clone[[]int]}
	}},
	{"stack", func(s *Space, capacity int) pyQueue {
		q := must(NewStack[int](s, "s", capacity))
		return pyQueue{q.Put, q.TryPut, q.Get, q.TryGet, q, func(items []int) []int {
			items = slices.Clone(items)
			slices.Reverse(items)
			return items
		}}
	}},
	{"priority queue", func(s *Space, capacity int) pyQueue {
		q := must(NewPriorityQueue[int](s, "p", capacity))
		return pyQueue{
			func(ctx context.Context, v int) error { return q.Put(ctx, v, int64(v)) },
			func(v int) error { return q.TryPut(v, int64(v)) }, q.Get, q.TryGet, q,
			func(items []int) []int { return slices.Sorted(slices.Values(items)) },
		}
	}},
	{"joinable queue", func(s *Space, capacity int) pyQueue {
		q := must(NewJoinableQueue[int](s, "j", JoinableOptions{Capacity: capacity}))
		done := func(d *Delivery[int], err error) (int, error) {
			if err != nil {
				return 0, err
			}
			return d.Value, d.Done()
		}
		return pyQueue{q.Put, q.TryPut,
			func(ctx context.Context) (int, error) { return done(q.Get(ctx)) },
			func() (int, error) { return done(q.TryGet(context.Background())) }, q, slices.Clone[[]int]}
	}},
}

// eachQueue makes a port for every kind of queue of one for a queue of some capacity.
func eachQueue(capacity int, test func(t *testing.T, q pyQueue)) func(t *testing.T, s *Space) {
	return func(t *testing.T, s *Space) {
		for _, k := range pyKinds {
			t.Run(k.name, func(t *testing.T) { test(t, k.make(s, capacity)) })
		}
	}
}

// joinable makes a port for a joinable queue.
func joinable(capacity int, test func(t *testing.T, q *JoinableQueue[string])) func(t *testing.T, s *Space) {
	return func(t *testing.T, s *Space) {
		test(t, must(NewJoinableQueue[string](s, "j", JoinableOptions{Capacity: capacity})))
	}
}

// sleepsIn is where who waits for an item, for room, or until all is done, sleeps.
const sleepsIn = "(*line).wait"

// unclog calls what blocks, and trigger when it does.
func unclog(t *testing.T, blocks, trigger func() error) {
	t.Helper()
	wait := start(func() {
		if err := blocks(); err != nil {
			t.Errorf("what was blocked: %v", err)
		}
	})
	asleep(t, 1, sleepsIn)
	if err := trigger(); err != nil {
		t.Errorf("what ends it: %v", err)
	}
	wait()
}

// is checks an error. nil stands for none.
func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

// aborted checks an error of a queue that was aborted.
func aborted(t *testing.T, err error) {
	t.Helper()
	if e := new(AbortError); !errors.As(err, &e) {
		t.Errorf("the error is %v, want an *AbortError", err)
	}
}

// ends checks an error of a queue that was closed, or was aborted.
func ends(t *testing.T, immediate bool, err error) {
	t.Helper()
	if immediate {
		aborted(t, err)
	} else {
		is(t, err, ErrClosed)
	}
}

// shutdown is CPython's.
func shutdown(t *testing.T, q basketOf, immediate bool) {
	t.Helper()
	if immediate {
		is(t, q.Abort(errors.New("immediately")), nil)
	} else {
		is(t, q.Close(), nil)
	}
}

// item gets one.
func item(t *testing.T, get func(ctx context.Context) (int, error), want int) {
	t.Helper()
	if v, err := get(bounded(t)); err != nil || v != want {
		t.Errorf("got %d, %v, want %d", v, err, want)
	}
}

func basicQueue(t *testing.T, q pyQueue) {
	ctx := bounded(t)
	put := func(v int) func() error { return func() error { return q.put(ctx, v) } }
	get := func() error { _, err := q.get(ctx); return err }
	if !q.basket.Empty() || q.basket.Full() || q.basket.Len() != 0 {
		t.Fatal(q.basket.Empty(), q.basket.Full(), q.basket.Len())
	}
	in := []int{111, 333, 222}
	for _, v := range in {
		is(t, q.put(ctx, v), nil)
	}
	for _, v := range q.ordered(in) {
		item(t, q.get, v)
	}
	for i := range 4 {
		is(t, q.put(ctx, i), nil)
		if q.basket.Len() != i+1 || q.basket.Full() {
			t.Error(q.basket.Len(), q.basket.Full())
		}
	}
	is(t, q.put(ctx, 10), nil)
	if q.basket.Len() != q.basket.Cap() || q.basket.Empty() || !q.basket.Full() {
		t.Error(q.basket.Len(), q.basket.Empty(), q.basket.Full())
	}
	is(t, q.tryPut(30), ErrFull)
	is(t, q.put(soon(ctx), 30), context.DeadlineExceeded)
	unclog(t, put(30), get)
	unclog(t, put(30), get)
	for range 5 {
		is(t, get(), nil)
	}
	_, err := q.tryGet()
	is(t, err, ErrEmpty)
	_, err = q.get(soon(ctx))
	is(t, err, context.DeadlineExceeded)
	unclog(t, get, put(1))
	unclog(t, get, put(1))
}

// shutFromMany is CPython's _shutdown_all_methods_in_many_threads: who puts ends the stream in the
// middle, and everybody who gets is told.
func shutFromMany(t *testing.T, q pyQueue, immediate bool) {
	const writers, readers, each = 4, 6, 400
	ctx := bounded(t)
	var started sync.WaitGroup
	started.Add(writers + readers)
	var shutAt atomic.Bool
	var refused, told atomic.Int64
	all(writers+readers, func(n int) {
		if n >= writers {
			_, err := q.get(ctx)
			is(t, err, nil)
			started.Done()
			started.Wait()
			for err == nil || errors.Is(err, ErrEmpty) {
				_, err = q.tryGet()
			}
			ends(t, immediate, err)
			told.Add(1)
			return
		}
		for i := range each {
			if i == each/2 {
				started.Done()
				started.Wait()
			}
			if err := q.put(ctx, i); err != nil {
				ends(t, immediate, err)
				refused.Add(1)
				break
			}
			if i == each*3/4 && !shutAt.Swap(true) {
				shutdown(t, q.basket, immediate)
				if immediate && q.basket.Len() != 0 {
					t.Error("items wait in a queue that was aborted")
				}
			}
		}
	})
	if refused.Load() == 0 || told.Load() != readers || !q.basket.Empty() {
		t.Errorf("%d were refused to put, %d of %d told to get no more, %d items are left", refused.Load(), told.Load(), readers, q.basket.Len())
	}
}

// queuePorts are of test_queue.py: Queue, LifoQueue and PriorityQueue.
var queuePorts = map[string]func(t *testing.T, s *Space){
	"queue: basic": eachQueue(5, func(t *testing.T, q pyQueue) {
		basicQueue(t, q)
		basicQueue(t, q)
	}),
	"queue: deadline in the past": eachQueue(5, func(t *testing.T, q pyQueue) {
		ctx := elapsed(t.Context())
		is(t, q.put(ctx, 1), context.DeadlineExceeded)
		if q.basket.Len() != 0 {
			t.Error("it was put")
		}
		is(t, q.tryPut(1), nil)
		_, err := q.get(ctx)
		is(t, err, context.DeadlineExceeded)
		item(t, q.get, 1)
	}),
	"queue: no wait": eachQueue(5, func(t *testing.T, q pyQueue) {
		for range 5 {
			is(t, q.tryPut(1), nil)
		}
		is(t, q.tryPut(1), ErrFull)
		for range 5 {
			_, err := q.tryGet()
			is(t, err, nil)
		}
		_, err := q.tryGet()
		is(t, err, ErrEmpty)
	}),
	"queue: close when empty": eachQueue(5, func(t *testing.T, q pyQueue) {
		shutdown(t, q.basket, false)
		is(t, q.put(t.Context(), 1), ErrClosed)
		_, err := q.get(t.Context())
		is(t, err, ErrClosed)
	}),
	"queue: close when not empty": eachQueue(5, func(t *testing.T, q pyQueue) {
		is(t, q.put(t.Context(), 1), nil)
		shutdown(t, q.basket, false)
		item(t, q.get, 1)
		_, err := q.get(t.Context())
		is(t, err, ErrClosed)
	}),
	"queue: abort": eachQueue(5, func(t *testing.T, q pyQueue) {
		is(t, q.put(t.Context(), 1), nil)
		shutdown(t, q.basket, true)
		_, err := q.get(t.Context())
		aborted(t, err)
	}),
	"queue: close, abort, close": eachQueue(5, func(t *testing.T, q pyQueue) {
		is(t, q.tryPut(1), nil)
		shutdown(t, q.basket, false)
		shutdown(t, q.basket, true)
		shutdown(t, q.basket, false)
		_, err := q.get(t.Context())
		aborted(t, err)
	}),
	"queue: all methods after close": eachQueue(2, func(t *testing.T, q pyQueue) { methodsAfter(t, q, false) }),
	"queue: all methods after abort": eachQueue(2, func(t *testing.T, q pyQueue) { methodsAfter(t, q, true) }),
	"queue: close among many":        eachQueue(2000, func(t *testing.T, q pyQueue) { shutFromMany(t, q, false) }),
	"queue: abort among many":        eachQueue(2000, func(t *testing.T, q pyQueue) { shutFromMany(t, q, true) }),
	"queue: close while many get":    eachQueue(2, func(t *testing.T, q pyQueue) { getAndShut(t, q, false) }),
	"queue: abort while many get":    eachQueue(2, func(t *testing.T, q pyQueue) { getAndShut(t, q, true) }),
	"queue: close while many put":    eachQueue(2, func(t *testing.T, q pyQueue) { putAndShut(t, q, false) }),
	"queue: abort while many put":    eachQueue(2, func(t *testing.T, q pyQueue) { putAndShut(t, q, true) }),
	"queue: close while one gets": eachQueue(2, func(t *testing.T, q pyQueue) {
		wait := start(func() {
			_, err := q.get(bounded(t))
			is(t, err, ErrClosed)
		})
		asleep(t, 1, sleepsIn)
		shutdown(t, q.basket, false)
		wait()
	}),
	"queue: failing": failing,
}

func methodsAfter(t *testing.T, q pyQueue, immediate bool) {
	ctx := t.Context()
	is(t, q.put(ctx, 1), nil)
	is(t, q.tryPut(2), nil)
	shutdown(t, q.basket, immediate)
	ends(t, immediate, q.put(ctx, 3))
	ends(t, immediate, q.tryPut(4))
	if !immediate {
		for _, v := range q.ordered([]int{1, 2}) {
			item(t, q.get, v)
		}
	}
	_, err := q.get(ctx)
	ends(t, immediate, err)
	_, err = q.tryGet()
	ends(t, immediate, err)
	_, err = q.get(soon(ctx))
	ends(t, immediate, err)
}

// getAndShut shuts a full queue of two that three get from.
func getAndShut(t *testing.T, q pyQueue, immediate bool) {
	ctx := bounded(t)
	is(t, errors.Join(q.tryPut(1), q.tryPut(2)), nil)
	shutdown(t, q.basket, immediate)
	var got atomic.Int64
	all(3, func(int) {
		if _, err := q.get(ctx); err != nil {
			ends(t, immediate, err)
		} else {
			got.Add(1)
		}
	})
	if want := map[bool]int64{false: 2, true: 0}[immediate]; got.Load() != want {
		t.Errorf("%d got an item, want %d", got.Load(), want)
	}
}

// putAndShut shuts a full queue that two wait to put into. (CPython's do not wait yet.)
func putAndShut(t *testing.T, q pyQueue, immediate bool) {
	ctx := bounded(t)
	is(t, errors.Join(q.tryPut(1), q.tryPut(2)), nil)
	wait := start(func() { all(2, func(i int) { ends(t, immediate, q.put(ctx, i)) }) })
	asleep(t, 2, sleepsIn)
	shutdown(t, q.basket, immediate)
	wait()
}

// fussy is an item that fails on the way when it is told to.
type fussy struct{ Text string }

var errLose = errors.New("you lose")

// MarshalBinary fails for what is not to go in.
func (f fussy) MarshalBinary() ([]byte, error) {
	if f.Text == "not in" {
		return nil, errLose
	}
	return []byte(f.Text), nil
}

// UnmarshalBinary fails for what is not to come out.
func (f *fussy) UnmarshalBinary(b []byte) error {
	if f.Text = string(b); f.Text == "not out" {
		return errLose
	}
	return nil
}

// failing is FailingQueueTest: what fails to go in leaves the queue as it was. What fails to come out is in the
// error, and not in the queue any more, so that nobody gets it again and again; CPython leaves it there. In
// a local space nothing has to be encoded.
func failing(t *testing.T, s *Space) {
	q := must(NewQueue[fussy](s, "q", 5))
	ctx := bounded(t)
	good, notIn, notOut := fussy{"good"}, fussy{"not in"}, fussy{"not out"}
	if s.Name() == "" {
		is(t, errors.Join(q.Put(ctx, notIn), q.Put(ctx, notOut)), nil)
		if a, b := must(q.Get(ctx)), must(q.Get(ctx)); a != notIn || b != notOut {
			t.Error(a, b)
		}
		return
	}
	get := func() error { _, err := q.Get(ctx); return err }
	for range 2 {
		for range 4 {
			is(t, q.Put(ctx, good), nil)
		}
		is(t, q.TryPut(notIn), errLose)
		is(t, q.Put(ctx, notIn), errLose)
		is(t, q.Put(ctx, good), nil)
		is(t, q.Put(ctx, notIn), errLose) // at once: it is encoded before there is room
		if n, err := q.PutAll(ctx, notIn, good); n != 0 || !errors.Is(err, errLose) || !q.Full() {
			t.Error(n, err, q.Len())
		}
		is(t, get(), nil)
		if n, err := q.PutAll(ctx, good, notIn); n != 1 || !errors.Is(err, errLose) || !q.Full() {
			t.Error(n, err, q.Len())
		}
		unclog(t, func() error { return q.Put(ctx, good) }, get)
		for range 5 {
			is(t, get(), nil)
		}
		is(t, q.Put(ctx, notOut), nil)
		e := new(DecodeError)
		if err := get(); !errors.As(err, &e) || !errors.Is(err, errLose) || !q.Empty() {
			t.Error(err, q.Len())
		}
		wait := start(func() { is(t, get(), errLose) })
		asleep(t, 1, sleepsIn)
		is(t, q.Put(ctx, notOut), nil)
		wait()
		if !q.Empty() || q.Full() {
			t.Error(q.Len())
		}
	}
}
