package share

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/brood-go/brood/internal/cell"
)

// seen is an object as Inspect sees it.
func seen(t *testing.T, s *Space, kind, name string) ObjectInfo {
	t.Helper()
	info := must(Inspect(s.Name()))
	i := slices.IndexFunc(info.Objects, func(o ObjectInfo) bool { return o.Kind == kind && o.Name == name })
	if i < 0 {
		t.Fatalf("no %s %q in %+v", kind, name, info.Objects)
	}
	return info.Objects[i]
}

// looks checks the state of an object, and how many things are in the hands of this process.
func looks(t *testing.T, s *Space, kind, name, state string, ours int) {
	t.Helper()
	o := seen(t, s, kind, name)
	var want []Party
	if ours > 0 {
		want = []Party{{PID: os.Getpid(), Command: must(Inspect(s.Name())).Participants[0].Command, Count: ours}}
	}
	if o.State != state || !slices.Equal(o.Holders, want) {
		t.Errorf("%s %q: %q, held by %+v; want %q, %+v", kind, name, o.State, o.Holders, state, want)
	}
}

func TestInspectQueues(t *testing.T) {
	s, err := New()
	s = closed(t, s, err)
	ctx := bounded(t)
	put := func(n int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	q := must(NewQueue[int](s, "q", 6))
	looks(t, s, "queue", "q", "0 of 6 items wait", 0)
	put(q.PutAll(ctx, 1, 2, 3))
	looks(t, s, "queue", "q", "3 of 6 items wait", 0)
	large := parcel{meta: metaOf(0, 1, 1<<20)}
	n, slot, err := q.t.reserve(must(q.t.enter(ctx)), &large, false, false)
	if n == 0 || err != nil {
		t.Fatal(n, err)
	}
	looks(t, s, "queue", "q", "3 of 6 items wait, 1 on its way", 0)
	large.data = make([]byte, 1<<20)
	put(0, q.t.deliver(ctx, n, slot, &large, q.t.enter))
	put(0, q.Close())
	looks(t, s, "queue", "q", "4 of 6 items wait, closed", 0)
	put(0, q.Abort(errors.New("no\n\x1b[1mbread")))
	looks(t, s, "queue", "q", "0 of 6 items wait, aborted: no  [1mbread", 0)

	must(NewStack[int](s, "s", 5))
	must(NewPriorityQueue[int](s, "p", 4))
	looks(t, s, "stack", "s", "0 of 5 items wait", 0)
	looks(t, s, "priority queue", "p", "0 of 4 items wait", 0)

	j := must(NewJoinableQueue[int](s, "j", JoinableOptions{Capacity: 4}))
	put(j.PutAll(ctx, 1, 2, 3, 4))
	first, second := must(j.Get(ctx)), must(j.Get(ctx))
	looks(t, s, "joinable queue", "j", "2 of 4 items wait, 2 in hand", 2)
	put(0, first.Fail())
	looks(t, s, "joinable queue", "j", "2 of 4 items wait, 1 in hand, 1 failed", 1)
	put(0, second.Done())
	looks(t, s, "joinable queue", "j", "2 of 4 items wait, 1 failed", 0)

	a, b := must2(NewPipe[string](s, "line", PipeOptions{Capacity: 3}))
	put(0, a.Send(ctx, "there"))
	put(0, errors.Join(b.Send(ctx, "and"), b.Send(ctx, "back")))
	looks(t, s, "pipe", "line", "1 of 3 items wait", 0)
	looks(t, s, "way back of pipe", "line", "2 of 3 items wait", 0)
	put(0, errors.Join(b.Send(ctx, "!")))
	if err := b.TrySend("!"); err == nil || !strings.Contains(err.Error(), `way back of pipe "line" of space`) {
		t.Error(err)
	}
}

func must2[T any](a, b T, err error) (T, T) {
	if err != nil {
		panic(err)
	}
	return a, b
}

// keep gets an item, and never is done with it.
func (a *actor) keep() error {
	q, err := NewJoinableQueue[int](a.space, "kept", JoinableOptions{Capacity: 4})
	if err != nil {
		return err
	}
	if _, err := q.Get(a.ctx); err != nil {
		return err
	}
	fmt.Println("has")
	<-a.ctx.Done()
	return nil
}

// Who has an item is seen, while it lives and after; and who waits for one.
func TestInspectWhoHasItems(t *testing.T) {
	c := newCast(t)
	q := must(NewJoinableQueue[int](c.space, "kept", JoinableOptions{Capacity: 4}))
	ctx := bounded(t)
	if err := q.Put(ctx, 1); err != nil {
		t.Fatal(err)
	}
	p := c.start("keep")
	p.says(t, "has")
	o := seen(t, c.space, "joinable queue", "kept")
	if len(o.Holders) != 1 || o.Holders[0].PID != p.cmd.Process.Pid || o.Holders[0].Count != 1 || o.Holders[0].Dead || len(o.Waiters) != 0 {
		t.Errorf("%+v", o)
	}
	got := make(chan *Delivery[int], 1)
	wait := start(func() { got <- must(q.Get(ctx)) })
	eventually(t, "somebody waits", func() bool {
		w := seen(t, c.space, "joinable queue", "kept").Waiters
		return len(w) == 1 && w[0].PID == os.Getpid()
	})
	c.kill(p)
	wait()
	if d := <-got; d.Attempt() != 2 {
		t.Errorf("attempt %d", d.Attempt())
	}
	looks(t, c.space, "joinable queue", "kept", "0 of 4 items wait, 1 in hand", 1)
	if err := q.Put(ctx, 2); err != nil {
		t.Fatal(err)
	}
	p = c.start("keep")
	p.says(t, "has")
	c.kill(p) // and nobody looks
	o = seen(t, c.space, "joinable queue", "kept")
	if len(o.Holders) != 2 || o.Holders[0].Dead || !o.Holders[1].Dead || o.Holders[1].Count != 1 || o.State != "0 of 4 items wait, 2 in hand" {
		t.Errorf("%+v", o)
	}
}

// What a dead process was writing will not come; of what lives it is on its way.
func TestInspectItemsOfTheDead(t *testing.T) {
	s, err := New()
	s = closed(t, s, err)
	q := must(NewQueue[int](s, "q", 6))
	if _, err := q.PutAll(bounded(t), 1, 2); err != nil {
		t.Fatal(err)
	}
	q.t.view[0].state.Store(owned(s.space.mem.Self()) | slotFilling)
	q.t.view[1].state.Store(owned(s.space.mem.Self()+1) | slotFilling)
	looks(t, s, "queue", "q", "0 of 6 items wait, 1 on its way", 0)
}

// There can't be more slots than a queue may have.
func TestInspectTooManySlots(t *testing.T) {
	s, err := New()
	s = closed(t, s, err)
	q := must(NewQueue[int](s, "q", 6))
	from := q.t.desk.slots
	for range q.t.maxSlots() {
		x := must(s.space.mem.Extend())
		from.Store(x.Index)
		from = newSlot(x).sibling
	}
	looks(t, s, "queue", "q", "0 of 6 items wait", 0)
	from.Store(must(s.space.mem.Extend()).Index)
	looks(t, s, "queue", "q", "0 of 6 items wait, and words that make no sense", 0)
}

// Slots that lead to one another, to those of another queue, and nowhere.
func TestInspectQueueInCircles(t *testing.T) {
	s, err := New()
	s = closed(t, s, err)
	ctx := bounded(t)
	q, other := must(NewQueue[int](s, "q", MaxCapacity)), must(NewQueue[int](s, "z", 9))
	if _, err := q.PutAll(ctx, 1, 2, 3); err != nil {
		t.Fatal(err)
	}
	if err := other.Put(ctx, 1); err != nil {
		t.Fatal(err)
	}
	looks(t, s, "queue", "z", "1 of 9 items wait", 0)
	last, first := q.t.view[2].sibling, q.t.desk.slots.Load()
	for _, to := range []uint64{first, 1, 1 << 40, 1<<64 - 1} {
		last.Store(to)
		looks(t, s, "queue", "q", "3 of 262144 items wait, and words that make no sense", 0)
	}
	last.Store(0)
	looks(t, s, "queue", "q", "3 of 262144 items wait", 0)
	other.t.desk.slots.Store(first)
	looks(t, s, "queue", "z", "0 of 9 items wait, and words that make no sense", 0)
	q.t.words[4].Store(1 << 50)
	looks(t, s, "queue", "q", "its words make no sense", 0)
}

// Whatever a peer has written into a queue's words, a look at them ends.
func TestInspectQueueGarbage(t *testing.T) {
	rounds := 2000
	if long {
		rounds = 100_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	s, err := New()
	s = closed(t, s, err)
	q := must(NewJoinableQueue[int](s, "q", JoinableOptions{Capacity: 9}))
	ctx := bounded(t)
	if _, err := q.PutAll(ctx, 1, 2, 3, 4, 5, 6, 7, 8, 9); err != nil {
		t.Fatal(err)
	}
	must(q.Get(ctx))
	words, indices := slices.Clone(q.t.words[3:5]), []uint64{}
	add := func(index uint64) {
		x, _ := q.t.mem.Extent(index)
		for i := range cell.ExtentWords {
			words = append(words, x.At(i))
		}
		indices = append(indices, index)
	}
	add(q.t.words[4].Load())
	for _, s := range q.t.view {
		add(s.index)
	}
	for range rounds {
		for range 1 + rnd.IntN(4) {
			v := rnd.Uint64()
			switch rnd.IntN(3) {
			case 0:
				v = indices[rnd.IntN(len(indices))]
			case 1:
				v &= 1<<34 - 1
			}
			words[rnd.IntN(len(words))].Store(v)
		}
		if o := seen(t, s, "joinable queue", "q"); o.State == "" || len(o.Holders) > 9+1024+slackSlots {
			t.Fatalf("%+v", o)
		}
	}
}
