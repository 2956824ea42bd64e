package share

import (
	"context"
	"testing"
	"time"
)

// Who does not wait for an item, or for room, waits for one that is in the middle of an operation: a
// busy machine lets it stand there for longer than a moment, and nobody is told that it is stopped.
func TestTryWithSlowHolder(t *testing.T) {
	onEach(t, func(t *testing.T, s *Space) {
		q := must(NewQueue[int](s, "q", 1))
		full := must(NewQueue[int](s, "full", 1))
		j := must(NewJoinableQueue[int](s, "j", JoinableOptions{Capacity: 1}))
		is(t, full.TryPut(1), nil)
		var tokens []uint64
		depots := []*queue{q.t.queue, full.t.queue, j.t.queue}
		for _, d := range depots {
			tokens = append(tokens, must(d.enter(t.Context())))
		}
		wait := start(func() {
			all(3, func(n int) {
				switch n {
				case 0:
					_, err := q.TryGet()
					is(t, err, ErrEmpty)
				case 1:
					is(t, full.TryPut(2), ErrFull)
				case 2:
					_, err := j.TryGet(t.Context())
					is(t, err, ErrEmpty)
				}
			})
		})
		slow, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		<-slow.Done()
		for i, d := range depots {
			if !d.leave(tokens[i]) {
				t.Error("the latch was lost")
			}
		}
		wait()
	})
}
