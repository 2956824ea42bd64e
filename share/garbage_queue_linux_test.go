package share

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
)

// A peer overwrites everything that belongs to queues, again and again. What is called meanwhile may
// fail, or get what it should not, but ends: none panics, and none waits beyond its context.
func TestQueueGarbage(t *testing.T) {
	rounds := 300
	if long {
		rounds = 10_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := must(New())
	closed(t, s, nil)
	useWhileOverwritten(t, s, seed, rounds, garbageQueues(t, s))
	// The space is as good as before.
	q := must(NewQueue[string](s, "new", 3))
	is(t, q.Put(bounded(t), "x"), nil)
	if v, err := q.Get(bounded(t)); err != nil || v != "x" {
		t.Error(v, err)
	}
}

// garbageQueues are uses of queues of every kind, which have slots already, and of pipes.
func garbageQueues(t *testing.T, s *Space) []func(ctx context.Context) {
	texts := []string{"", "small", strings.Repeat("l", 300), strings.Repeat("x", 70<<10)}
	q := must(NewQueue[string](s, "q", 8))
	ints := must(NewQueue[int](s, "q", 8))
	st := must(NewStack[string](s, "s", 8))
	p := must(NewPriorityQueue[string](s, "p", 8))
	j := must(NewJoinableQueue[string](s, "j", JoinableOptions{Capacity: 8, InHand: 8}))
	a, b := pipe[string](s, "pipe", PipeOptions{Capacity: 4})
	ctx := bounded(t)
	for i := range 8 {
		text := texts[i%4]
		is(t, errors.Join(q.Put(ctx, text), st.Put(ctx, text), p.Put(ctx, text, int64(i)), j.Put(ctx, text), a.TrySend(text), b.TrySend(text)), nil)
		if i%4 == 3 {
			for range 4 {
				_, err := a.Receive(ctx)
				_, err2 := b.Receive(ctx)
				is(t, errors.Join(err, err2), nil)
			}
		}
	}
	var n atomic.Int64
	text := func() string { return texts[n.Add(1)%4] }
	end := func(d *Delivery[string], err error) {
		if err != nil {
			return
		}
		switch n.Add(1) % 3 {
		case 0:
			_ = d.Done()
		case 1:
			_ = d.Return()
		case 2:
			_ = d.Fail()
		}
	}
	return []func(ctx context.Context){
		func(ctx context.Context) { _ = q.Put(ctx, text()) },
		func(ctx context.Context) { _, _ = q.PutAll(ctx, text(), text(), "a", "b") },
		func(ctx context.Context) { _, _ = q.Get(ctx) },
		func(ctx context.Context) { _, _ = q.GetUpTo(ctx, 5); _ = ints.Put(ctx, 1); _, _ = ints.Get(ctx) },
		func(context.Context) { _, _, _, _ = q.Len(), q.Full(), q.Empty(), q.Cap(); _, _ = q.TryGet() },
		func(ctx context.Context) { _ = st.Put(ctx, text()); _ = st.TryPut(text()) },
		func(ctx context.Context) { _, _ = st.Get(ctx); _, _ = st.TryGet() },
		func(ctx context.Context) { _ = p.Put(ctx, text(), n.Add(1)%5) },
		func(ctx context.Context) { _ = p.TryPut(text(), n.Add(1)%5); _, _ = p.PutAll(ctx, 3, "a", text()) },
		func(ctx context.Context) { _, _, _ = p.GetWithPriority(ctx); _, _ = p.GetUpTo(ctx, 3) },
		func(ctx context.Context) { _ = j.Put(ctx, text()); _ = j.TryPut(text()) },
		func(ctx context.Context) { end(j.Get(ctx)) },
		func(ctx context.Context) {
			all, _ := j.GetUpTo(ctx, 3)
			for _, d := range all {
				end(d, nil)
			}
		},
		func(ctx context.Context) { end(j.Failed(ctx)) },
		func(ctx context.Context) { _ = j.Join(ctx); _ = j.Unfinished() },
		func(ctx context.Context) { _ = a.Send(ctx, text()); _, _ = a.Receive(ctx) },
		func(ctx context.Context) { _ = b.Send(ctx, text()); _, _ = b.TryReceive(); b.Poll() },
		func(context.Context) { _, _ = Inspect(s.Name()) },
	}
}

// Who can't make a slot, as the words before it are a peer's, takes no memory of the space for it.
func TestNoSlotsLost(t *testing.T) {
	s := must(New())
	closed(t, s, nil)
	q := must(NewQueue[int](s, "q", 10))
	is(t, q.TryPut(1), nil)
	q.t.view[0].sibling.Store(1 << 40)
	before := must(s.space.mem.Extend()).Index
	for range 10 {
		is(t, q.TryPut(2), errDepot)
	}
	if after := must(s.space.mem.Extend()).Index; after > before+1 {
		t.Errorf("%d extents were lost", after-before-1)
	}
	if v, err := q.TryGet(); err != nil || v != 1 {
		t.Error(v, err)
	}
}

// Whoever gets a latch that somebody of this process has, as a peer has overwritten it, gets an error: what
// it guards is not in shared memory alone. Afterwards all is as it was.
func TestLatchOverwritten(t *testing.T) {
	s := must(New())
	closed(t, s, nil)
	q := must(NewQueue[int](s, "q", 10))
	ctx := bounded(t)
	is(t, q.Put(ctx, 1), nil)
	token := must(q.t.enter(ctx))
	q.t.words[0].Store(0)
	is(t, q.Put(ctx, 2), errDepot)
	is(t, q.TryPut(2), errDepot)
	_, err := q.TryGet()
	is(t, err, errDepot)
	q.t.leave(token)
	is(t, q.Put(ctx, 2), nil)
	if items, err := q.GetUpTo(ctx, 5); err != nil || len(items) != 2 {
		t.Error(items, err)
	}
}
