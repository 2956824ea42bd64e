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
		{20 * ms, 500 * ms},
		{30 * ms, 500 * ms},
		{30 * ms, 750 * ms},
		{ms / 10, lookEvery}, // they are gone
	} {
		if got := p.next(step.cost); got != step.next {
			t.Errorf("look %d took %v: the next one after %v, want %v", i+1, step.cost, got, step.next)
		}
	}
}
