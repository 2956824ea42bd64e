package batch

import (
	"testing"
	"time"
)

// Looks that cost much are rare; some that were interrupted are not followed by a long
// absence.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	var p pace
	looks := func(n int, took, last time.Duration) {
		t.Helper()
		for i := range n {
			want := lookEvery
			if i == n-1 {
				want = last
			}
			if got := p.next(took); got != want {
				t.Errorf("look %d of %d that took %v: the next one after %v, want %v", i+1, n, took, got, want)
			}
		}
	}
	looks(1, 100*ms, lookEvery) // the first one is interrupted
	looks(20, ms/10, lookEvery)
	looks(7, 20*ms, lookEvery) // interrupted
	looks(1, ms/10, lookEvery)
	looks(8, 8*ms, 200*ms) // many trees have come
	looks(1, 30*ms, 200*ms)
	looks(1, ms/10, lookEvery) // they are gone
	looks(8, time.Second, lookAtMost)
}
