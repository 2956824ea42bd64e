package median

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The median of every prefix is that of the sorted values.
func TestMedian(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		var m Median
		var all []time.Duration
		if m.Value() != 0 {
			t.Fatal("of none it is not 0")
		}
		for range 200 {
			d := time.Duration(r.IntN(50))
			m.Add(d)
			all = append(all, d)
			slices.Sort(all)
			if want := all[(len(all)-1)/2]; m.Value() != want || m.Len() != len(all) {
				t.Fatalf("seed %d: %v of %d, want %v of %d", seed, m.Value(), m.Len(), want, len(all))
			}
		}
	}
}
