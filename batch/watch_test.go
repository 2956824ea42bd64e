package batch

import (
	"testing"
	"time"
)

// Looks that cost much are rare; one that was interrupted is not followed by a long absence.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	var p pace
	for i, step := range []struct{ cost, next time.Duration }{
		{ms / 10, lookEvery},
		{20 * ms, lookEvery}, // interrupted
		{ms / 10, lookEvery},
		{20 * ms, lookEvery}, // many trees have come
		{8 * ms, 200 * ms},
		{30 * ms, 200 * ms},
		{30 * ms, lookAtMost},
		{ms / 10, lookEvery}, // they are gone
	} {
		if got := p.next(step.cost); got != step.next {
			t.Errorf("look %d took %v: the next one after %v, want %v", i+1, step.cost, got, step.next)
		}
	}
}
