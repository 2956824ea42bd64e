package share

import (
	"errors"
	"runtime"
	"testing"
)

// A process leaves the space while its goroutines are in the middle of a queue: the words are zeros
// then, and look like a free latch. (The race detector finds two who have it.)
func TestQueueLeftInTheMiddle(t *testing.T) {
	rounds := 50
	if long {
		rounds = 2000
	}
	ctx := bounded(t)
	for range rounds {
		s := must(New())
		q := must(NewQueue[int](s, "q", 2000))
		wait := start(func() {
			all(4, func(int) {
				for n := range 500 { // each takes a slot that was not there before
					if err := q.Put(ctx, n); err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		})
		for q.Len() < 300 {
			runtime.Gosched()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		wait()
	}
}

// fullBulk has no memory for annexes.
type fullBulk struct{ bulk }

func (fullBulk) Annex(int) (uint64, error) { return 0, errors.New("full") }

// What finds no annex gives its slot back as any other is given back: with its storage, and as the
// last of the free ones if it is the only one.
func TestQueueWithoutAnnexes(t *testing.T) {
	s, err := New()
	s = closed(t, s, err)
	ctx := bounded(t)
	q := must(NewStack[[]byte](s, "q", 20))
	d := q.t.depot
	d.bulk = fullBulk{d.bulk}
	put := func(n int) {
		t.Helper()
		if err := q.Put(ctx, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	get := func(n int) {
		t.Helper()
		if v := must(q.Get(ctx)); len(v) != n {
			t.Errorf("got %d bytes, want %d", len(v), n)
		}
	}
	put(1)
	get(1) // the last of the free slots is the first one
	put(1)
	put(2)
	put(3)
	p := parcel{meta: metaOf(0, 1, 1000), data: make([]byte, 1000)}
	if ok, err := d.put(must(d.enter(ctx)), &p, false, false); ok || err != errNoAnnex {
		t.Fatal(ok, err)
	}
	get(3)
	first := d.view[0]
	if first.next.Load() != 0 {
		t.Errorf("the last item is followed by slot %d", first.next.Load())
	}
	put(3)
	put(500) // in the bulk file
	get(500)
	kept := d.desk.kept.Load()
	if ok, err := d.put(must(d.enter(ctx)), &p, false, false); ok || err != errNoAnnex {
		t.Fatal(ok, err)
	}
	if k := d.desk.kept.Load(); k != kept {
		t.Errorf("free slots keep %d bytes, before %d", k, kept)
	}
	get(3)
	get(2)
	get(1)
}
