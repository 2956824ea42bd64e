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
