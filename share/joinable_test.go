package share

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/brood-go/brood/internal/strand"
)

func newJoinable(t *testing.T, s *Space, o JoinableOptions) *JoinableQueue[string] {
	t.Helper()
	q, err := NewJoinableQueue[string](s, "j", o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// Join returns when all is done, and what is given back is delivered again in its old place.
func TestJoinable(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5})
		if n, err := q.PutAll(ctx, "a", "b", "c"); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		joined := make(chan error)
		go func() { joined <- q.Join(ctx) }()
		asleep(t, 1, "(*line).wait")
		a, b := must(q.Get(ctx)), must(q.TryGet(ctx))
		if a.Value != "a" || b.Value != "b" || a.Attempt() != 1 || q.Unfinished() != 3 || q.Len() != 1 {
			t.Error(a.Value, b.Value, a.Attempt(), q.Unfinished(), q.Len())
		}
		if err := errors.Join(b.Done(), a.Return()); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{a.Done(), b.Done(), b.Return(), a.Fail()} {
			contains(t, err, "it was done, or given back, before")
		}
		a = must(q.Get(ctx))
		if a.Value != "a" || a.Attempt() != 2 {
			t.Error(a.Value, a.Attempt())
		}
		rest, err := q.GetUpTo(ctx, 10)
		if err != nil || len(rest) != 1 || rest[0].Value != "c" {
			t.Fatal(rest, err)
		}
		if _, err := q.TryGet(ctx); !errors.Is(err, ErrEmpty) {
			t.Error(err)
		}
		select {
		case err := <-joined:
			t.Error("joined with two items in hand", err)
		default:
		}
		if err := errors.Join(a.Done(), rest[0].Done()); err != nil {
			t.Error(err)
		}
		if err := <-joined; err != nil {
			t.Error(err)
		}
		if err := q.Join(ctx); err != nil || q.Unfinished() != 0 {
			t.Error(err, q.Unfinished())
		}
	})
}

// What is delivered as often as it may be has failed, and is not lost.
func TestJoinableFailed(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5, Attempts: 2})
		must(q.PutAll(ctx, "bad", "worse", "good"))
		for range 2 {
			if err := must(q.Get(ctx)).Return(); err != nil {
				t.Fatal(err)
			}
		}
		if err := must(q.Get(ctx)).Fail(); err != nil {
			t.Fatal(err)
		}
		good := must(q.Get(ctx))
		if good.Value != "good" || q.Unfinished() != 3 {
			t.Error(good.Value, q.Unfinished())
		}
		joined := make(chan error)
		go func() { joined <- q.Join(ctx) }()
		asleep(t, 1, "(*line).wait")
		if err := good.Done(); err != nil {
			t.Error(err)
		}
		var e *FailedItemsError
		if err := <-joined; !errors.As(err, &e) || e.Count != 2 {
			t.Error(err)
		}
		bad, worse := must(q.Failed(ctx)), must(q.Failed(ctx))
		if bad.Value != "bad" || bad.Attempt() != 2 || worse.Value != "worse" {
			t.Error(bad.Value, bad.Attempt(), worse.Value)
		}
		contains(t, bad.Err(), "handed out 2 times and never done")
		if err := worse.Return(); err != nil {
			t.Error(err)
		}
		worse = must(q.Failed(ctx))
		if err := errors.Join(bad.Done(), worse.Done(), q.Join(ctx), q.Close()); err != nil || worse.Value != "worse" {
			t.Error(err, worse.Value)
		}
		if _, err := q.Failed(ctx); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// Whoever asks for failed items waits for one, and for the end.
func TestJoinableFailedWaits(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5, Attempts: 1})
		var got []string
		wait := start(func() {
			for {
				d, err := q.Failed(ctx)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, d.Value)
				if err := d.Done(); err != nil {
					t.Error(err)
				}
			}
		})
		asleep(t, 1, "(*line).wait")
		must(q.PutAll(ctx, "a", "b"))
		if err := must(q.Get(ctx)).Return(); err != nil {
			t.Error(err)
		}
		last := must(q.Get(ctx))
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if err := last.Return(); err != nil {
			t.Error(err)
		}
		wait()
		if !slices.Equal(got, []string{"a", "b"}) {
			t.Error(got)
		}
	})
}

// What a task has in hand when it ends is given back; what was detached is not.
func TestJoinableStrandEnds(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5})
		must(q.PutAll(ctx, "a", "b", "c"))
		task := asStrand(ctx, "task")
		a, b := must(q.Get(task)), must(q.Get(task)).Detach()
		held := strand.End(strand.From(task))
		if len(held) != 1 {
			t.Errorf("the task held %v", held)
		}
		contains(t, a.Done(), "given back when the task that had it ended")
		again := must(q.Get(ctx))
		if again.Value != "a" || again.Attempt() != 2 {
			t.Error(again.Value, again.Attempt())
		}
		if err := errors.Join(b.Done(), again.Done(), must(q.Get(ctx)).Done(), q.Join(ctx)); err != nil {
			t.Error(err)
		}
	})
}

// Get waits while as many items are in hand as may be.
func TestJoinableInHand(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5, InHand: 1})
		must(q.PutAll(ctx, "a", "b"))
		a := must(q.Get(ctx))
		if _, err := q.TryGet(ctx); !errors.Is(err, ErrEmpty) {
			t.Error(err)
		}
		got := make(chan *Delivery[string])
		go func() { got <- must(q.Get(ctx)) }()
		asleep(t, 1, "(*line).wait")
		if err := a.Done(); err != nil {
			t.Error(err)
		}
		if b := <-got; b.Value != "b" || b.Done() != nil {
			t.Error(b.Value)
		}
	})
}

// A consumer of a closed queue waits for what another one may give back, but not if it has
// something in hand itself.
func TestJoinableClosed(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5})
		must(q.PutAll(ctx, "a"))
		a := must(q.Get(ctx))
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Get(ctx); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		got := make(chan string)
		go func() {
			defer close(got)
			for d, err := range q.All(ctx) {
				if err != nil {
					t.Error(err)
					return
				}
				got <- d.Value
				_ = d.Done()
			}
		}()
		asleep(t, 1, "(*line).wait")
		if err := a.Return(); err != nil {
			t.Error(err)
		}
		if v := <-got; v != "a" {
			t.Error(v)
		}
		if _, more := <-got; more {
			t.Error("more than was put")
		}
		if err := q.Join(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestJoinableAbort(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5})
		must(q.PutAll(ctx, "a", "b"))
		a := must(q.Get(ctx))
		errs := make(chan error)
		go func() { errs <- q.Join(ctx) }()
		asleep(t, 1, "(*line).wait")
		if err := q.Abort(nil); err != nil {
			t.Fatal(err)
		}
		_, err := q.Get(ctx)
		_, err2 := q.Failed(ctx)
		for _, err := range []error{<-errs, err, err2} {
			if e := new(AbortError); !errors.As(err, &e) {
				t.Error(err)
			}
		}
		if err := a.Done(); err != nil { // it was worked on all the same
			t.Error(err)
		}
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		if err := q.Join(cancelled); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
