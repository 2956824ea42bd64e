package share

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/brood-go/brood/internal/cell"
	"github.com/brood-go/brood/internal/strand"
)

// One that has an item in hand is told of the end although another one, which has none, waits for
// longer: nobody stands behind one for whom it is not time.
func TestOwnersDoNotQueueBehindOthers(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5})
		must(q.PutAll(ctx, "a"))
		has, told := make(chan bool), make(chan error)
		go func() {
			d := must(q.Get(ctx))
			<-has
			_, err := q.Get(ctx)
			told <- errors.Join(err, d.Done())
		}()
		eventually(t, "the item is in hand", q.Empty)
		go func() {
			_, err := q.Get(ctx)
			told <- err
		}()
		asleep(t, 1, "(*line).wait")
		close(has)
		asleep(t, 2, "(*line).wait")
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-told; !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	})
}

// Items that have failed need no room of those that wait, up to a bound; and when one is done
// there is room for one more.
func TestManyFailed(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 1, Attempts: 1, InHand: 1})
		for range maxFailed {
			if err := errors.Join(q.TryPut("bad"), must(q.TryGet(ctx)).Fail()); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.TryPut("one more"); !errors.Is(err, ErrFull) || !q.Full() || q.Len() != 0 || q.Unfinished() != maxFailed {
			t.Error(err, q.Full(), q.Len(), q.Unfinished())
		}
		wait := start(func() {
			if err := q.Put(ctx, "one more"); err != nil {
				t.Error(err)
			}
		})
		asleep(t, 1, "(*line).wait")
		d := must(q.TryFailed(ctx))
		contains(t, d.Err(), "a consumer said that it failed")
		if err := d.Done(); err != nil {
			t.Error(err)
		}
		wait()
	})
}

// rude is an error whose text is asked for with care.
type rude struct{ f func() }

func (e rude) Error() string {
	e.f()
	return "rude"
}

// The text of an aborting error is the user's code, and may do anything.
func TestAbortWithWickedError(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		q := must(NewQueue[int](s, "q", 1))
		panics(t, func() { _ = q.Abort(rude{func() { panic("no text") }}) })
		wait := start(func() { _ = q.Abort(rude{runtime.Goexit}) })
		wait()
		if err := q.TryPut(1); err != nil {
			t.Fatal(err)
		}
		if err := q.Abort(rude{func() { _, _ = q.TryGet() }}); err != nil {
			t.Fatal(err)
		}
		contains(t, q.TryPut(1), "it was aborted: rude")
	})
}

// An empty slice is not nil.
func TestEmptyIsNotNil(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[[]byte](s, "q", 2))
		must(q.PutAll(ctx, []byte{}, nil))
		if a, b := must(q.Get(ctx)), must(q.Get(ctx)); a == nil || len(a) != 0 || b != nil {
			t.Errorf("%#v, %#v", a, b)
		}
	})
}

// GetInto uses the memory that it is given.
func TestGetInto(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[[]byte](s, "q", 5))
		for _, size := range []int{10, 1000, 100 << 10} {
			v := make([]byte, 200<<10)
			was := &v[0]
			if err := errors.Join(q.Put(ctx, slices.Repeat([]byte{3}, size)), q.GetInto(ctx, &v)); err != nil {
				t.Fatal(err)
			}
			if len(v) != size || v[size-1] != 3 || s.Name() != "" && &v[0] != was {
				t.Errorf("%d bytes: got %d, in other memory: %v", size, len(v), &v[0] != was)
			}
		}
		v := []byte("kept")
		if err := errors.Join(q.Close(), q.GetInto(ctx, &v)); !errors.Is(err, ErrClosed) || string(v) != "kept" {
			t.Error(err, v)
		}
	})
}

// Whoever waits for an item, and is woken for nothing, claims nothing: nobody overtook it.
func TestIdleConsumerClaimsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[int](s, "q", 2))
		got := make(chan int)
		go func() { got <- must(q.Get(ctx)) }()
		asleep(t, 1, "(*line).wait")
		for began := time.Now(); time.Since(began) < 4*patience; {
			q.t.getters.signal(cell.All)
			runtime.Gosched()
		}
		asleep(t, 1, "(*line).wait")
		if h := q.t.getters.heir.Load(); h != 0 {
			t.Errorf("the heir is %#x", h)
		}
		if err := q.Put(ctx, 7); err != nil || <-got != 7 {
			t.Error(err)
		}
	})
}

// quitter ends the goroutine that decodes it.
type quitter struct{ N int }

func (q quitter) MarshalBinary() ([]byte, error) { return []byte{byte(q.N)}, nil }
func (q *quitter) UnmarshalBinary(b []byte) error {
	if b[0] == 1 {
		runtime.Goexit()
	}
	q.N = int(b[0])
	return nil
}

// Items whose decoding ends the goroutine have failed, and what was taken with them is given back.
func TestDecodingEndsTheGoroutine(t *testing.T) {
	for _, sub := range shared {
		t.Run(sub.name, func(t *testing.T) {
			s := sub.new(t, Options{})
			ctx := bounded(t)
			q := must(NewJoinableQueue[quitter](s, "q", JoinableOptions{Capacity: 5}))
			must(q.PutAll(ctx, quitter{0}, quitter{3}, quitter{1}, quitter{2}))
			wait := start(func() {
				_, _ = q.GetUpTo(ctx, 5)
				t.Error("it returned")
			})
			wait()
			if q.Unfinished() != 4 || q.Len() != 3 {
				t.Error(q.Unfinished(), q.Len())
			}
			for _, n := range []int{0, 3, 2} {
				if d := must(q.Get(ctx)); d.Value.N != n || d.Attempt() != 2 || d.Done() != nil {
					t.Error(d.Value, d.Attempt())
				}
			}
			e := new(FailedItemsError)
			if err := q.Join(ctx); !errors.As(err, &e) || e.Count != 1 {
				t.Error(err)
			}
		})
	}
}

// Whoever has only received from an end has used it as well as who has sent.
func TestReceivingIsUsing(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		a, b, err := NewPipe[int](s, "p", PipeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.TryReceive(); !errors.Is(err, ErrEmpty) {
			t.Error(err)
		}
		if v := b.e.in.status.Load(); v&hasSent == 0 {
			t.Errorf("its sending is not noted: %#x", v)
		}
	})
}

// What cannot be ended, because somebody has the latch and does not go on, can be ended later.
func TestDoneWhileStuck(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5})
		must(q.PutAll(ctx, "a", "b"))
		task := asStrand(ctx, "task")
		a := must(q.Get(ctx))
		b := must(q.Get(task))
		g, ok := q.t.latch.try()
		if !ok {
			t.Fatal("the latch is not free")
		}
		if err := a.Done(); !errors.Is(err, ErrStuck) {
			t.Error(err)
		}
		q.t.abandon(b.h.strand) // as at the task's end
		if err := q.TryPut("c"); !errors.Is(err, ErrStuck) {
			t.Error(err)
		}
		q.t.latch.unlock(g.token, false)
		if err := a.Done(); err != nil {
			t.Error(err)
		}
		d := must(q.Get(ctx))
		if d.Value != "b" || d.Attempt() != 2 {
			t.Error(d.Value, d.Attempt())
		}
		if err := errors.Join(d.Done(), q.Join(ctx)); err != nil {
			t.Error(err)
		}
	})
}

// failingBulk fails to read for a while.
type failingBulk struct {
	bulk
	err error
}

func (b *failingBulk) ReadBulk(unit uint64, n int64, into []byte) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.bulk.ReadBulk(unit, n, into)
}

// A large item that can't be read now is not lost.
func TestUnreadNow(t *testing.T) {
	for _, sub := range shared {
		t.Run(sub.name, func(t *testing.T) {
			s := sub.new(t, Options{})
			ctx := bounded(t)
			q := must(NewQueue[string](s, "q", 2))
			b := &failingBulk{q.t.bulk, context.DeadlineExceeded}
			q.t.bulk = b
			large := string(make([]byte, 10<<10))
			must(q.PutAll(ctx, large, "x"))
			if _, err := q.Get(ctx); !errors.Is(err, context.DeadlineExceeded) || q.Len() != 2 {
				t.Error(err, q.Len())
			}
			b.err = nil
			if v := must(q.Get(ctx)); v != large {
				t.Errorf("got %d bytes", len(v))
			}
		})
	}
}

// Storage that nobody needs is bounded, also if what is small lies in slots that have some.
func TestIdleStorage(t *testing.T) {
	for _, sub := range shared {
		t.Run(sub.name, func(t *testing.T) {
			s := sub.new(t, Options{})
			ctx := bounded(t)
			q := must(NewStack[[]byte](s, "q", 100))
			large := make([]byte, 16<<20)
			for range 12 {
				if err := q.Put(ctx, large); err != nil {
					t.Fatal(err)
				}
				must(q.Get(ctx))
				must(q.PutAll(ctx, []byte("small"), make([]byte, 10<<10)))
			}
			token := must(q.t.enter(ctx))
			total, idle := uint64(0), uint64(0)
			for n := uint64(1); q.t.at(n) != nil; n++ {
				total += q.t.at(n).pages.Load()
				idle += q.t.idle(q.t.at(n))
			}
			kept := q.t.desk.kept.Load()
			q.t.rebuild()
			if again := q.t.desk.kept.Load(); kept != idle || again != kept || kept > keepBulk || total > keepBulk+1<<20 {
				t.Errorf("%d bytes of %d are idle, %d are noted, and %d after rebuilding", idle, total, kept, again)
			}
			q.t.leave(token)
		})
	}
}

// An item is given back to its old place also if this process has not seen the slots of those before.
func TestOldPlaceBehindUnknownSlots(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewJoinableQueue[int](s, "q", JoinableOptions{Capacity: 20}))
		must(q.PutAll(ctx, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12))
		var all []*Delivery[int]
		for range 11 {
			all = append(all, must(q.Get(ctx)))
		}
		for i := range 10 {
			if err := all[i].Return(); err != nil {
				t.Fatal(err)
			}
		}
		if s.Name() != "" {
			q.t.view = q.t.view[:2]
		}
		if err := all[10].Return(); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 12; n++ {
			if d := must(q.Get(ctx)); d.Value != n {
				t.Errorf("got %d, want %d", d.Value, n)
			}
		}
	})
}

// Aborting that was cut short is done by the next one who has the latch.
func TestAbortCutShort(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := must(NewQueue[int](s, "q", 5))
		must(q.PutAll(ctx, 1, 2, 3))
		g, _ := q.t.latch.try()
		q.t.status.Store(isClosed | isAborted)
		q.t.latch.unlock(g.token, true) // as if it had died
		e := new(AbortError)
		if _, err := q.Get(ctx); !errors.As(err, &e) || q.Len() != 0 {
			t.Error(err, q.Len())
		}
	})
}

// The same for who has a failed item in hand and asks for another one.
func TestFailedDoNotQueueBehindOthers(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5, Attempts: 1})
		must(q.PutAll(ctx, "a"))
		if err := must(q.Get(ctx)).Return(); err != nil {
			t.Fatal(err)
		}
		has, told := make(chan bool), make(chan error)
		go func() {
			d := must(q.Failed(ctx))
			has <- true
			<-has
			_, err := q.Failed(ctx)
			told <- errors.Join(err, d.Done())
		}()
		<-has
		go func() {
			_, err := q.Failed(ctx)
			told <- err
		}()
		asleep(t, 1, "(*line).wait")
		has <- true
		asleep(t, 2, "(*line).wait")
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := <-told; !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	})
}

// latchingBulk takes the queue's latch while it reads, and keeps it, as one that is stopped does.
type latchingBulk struct {
	bulk
	latch *mutex
	grant grant
}

func (b *latchingBulk) ReadBulk(unit uint64, n int64, into []byte) ([]byte, error) {
	b.grant, _ = b.latch.try()
	return b.bulk.ReadBulk(unit, n, into)
}

// Whoever tries does not wait for ever in the middle of getting a large item, and it is not lost.
func TestTryGetWhileStuck(t *testing.T) {
	for _, sub := range shared {
		t.Run(sub.name, func(t *testing.T) {
			s := sub.new(t, Options{})
			ctx := bounded(t)
			q := must(NewQueue[string](s, "q", 2))
			sound := q.t.bulk
			b := &latchingBulk{bulk: sound, latch: &q.t.latch}
			q.t.bulk = b
			large := string(make([]byte, 10<<10))
			must(q.PutAll(ctx, large))
			if _, err := q.TryGet(); !errors.Is(err, ErrStuck) {
				t.Error(err)
			}
			q.t.bulk = sound
			q.t.latch.unlock(b.grant.token, false)
			if v, err := q.Get(ctx); v != large || err != nil {
				t.Error(len(v), err)
			}
		})
	}
}

// A task ends while another goroutine ends its delivery and can't: it is given back all the same.
func TestStrandEndsWhileStuck(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		q := newJoinable(t, s, JoinableOptions{Capacity: 5})
		must(q.PutAll(ctx, "a"))
		task := asStrand(ctx, "task")
		a := must(q.Get(task))
		g, _ := q.t.latch.try()
		told := make(chan error)
		go func() { told <- a.Done() }()
		asleep(t, 1, "(*depot).enterNow")
		q.t.abandon(a.h.strand)
		if err := <-told; !errors.Is(err, ErrStuck) {
			t.Error(err)
		}
		q.t.latch.unlock(g.token, false)
		d := must(q.Get(ctx))
		if d.Value != "a" || d.Attempt() != 2 || d.Done() != nil {
			t.Error(d.Value, d.Attempt())
		}
		contains(t, a.Done(), "given back when the task that had it ended")
	})
}

// Ending a task with many deliveries waits once, and not for each, for a latch that is not to be had.
func TestManyDebts(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		ctx := bounded(t)
		const n = 500
		q := newJoinable(t, s, JoinableOptions{Capacity: n})
		must(q.PutAll(ctx, slices.Repeat([]string{"a"}, n)...))
		task := asStrand(ctx, "task")
		for range n {
			must(q.Get(task))
		}
		g, _ := q.t.latch.try()
		before := runtime.NumGoroutine()
		q.t.abandon(strand.From(task))
		if more := runtime.NumGoroutine() - before; more > 3 {
			t.Errorf("%d goroutines more", more)
		}
		q.t.latch.unlock(g.token, false)
		eventually(t, "all are given back", func() bool { return q.Len() == n })
	})
}
