package share

import (
	"context"
	"testing"

	"github.com/brood-go/brood/internal/cell"
)

// A party that is late is told how its own meeting ended, as far as that is known.
func TestRendezvousLate(t *testing.T) {
	for _, first := range []uint64{0, 1, generation>>1 - 50, generation>>2 - 50} {
		var heap, gates cell.Heap
		words, _, _ := (&heapStore{}).words(kindBarrier, "b", none)
		words[3].Store(first << 1)
		r := newRendezvous(2, &heap, words, &gates, new(space).gateWord())
		told := func(gen uint64) bool {
			over, err := r.outcome(r.state.Load(), gen&(generation>>1))
			if !over {
				t.Fatalf("generation %d is not over", gen)
			}
			return err != nil
		}
		meet := func(n int) {
			for range n {
				r.end(number(r.state.Load()), false)
			}
		}
		reset := func() {
			if err := r.reset(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		meet(200)
		if told(first) || told(first+199) {
			t.Errorf("from %d: told that it broke, and none has", first)
		}
		reset()
		meet(10)
		if told(first+190) || !told(first+200) || told(first+201) {
			t.Errorf("from %d: told %v %v %v of those around one that broke", first, told(first+190), told(first+200), told(first+201))
		}
		meet(100)
		if !told(first+200) || told(first+201) || told(first+310) {
			t.Errorf("from %d: told %v %v %v after 100 more", first, told(first+200), told(first+201), told(first+310))
		}
		r.ends.Store(ending(r.ends.Load(), number(r.state.Load()), true)) // and killed
		meet(1)
		if told(first+311) || told(first+310) || told(first+300) {
			t.Errorf("from %d: a reset that was killed counts", first)
		}
	}
}
