package strand

import (
	"sync"
	"testing"
)

// Each goroutine has its own number, the one that its stack trace shows.
func TestGoroutine(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[uint64]bool)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			id := Goroutine()
			if p := printed(); p != id {
				t.Errorf("Goroutine is %d, its stack trace says %d", id, p)
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[id] {
				t.Errorf("goroutine %d seen twice", id)
			}
			seen[id] = true
		})
	}
	wg.Wait()
}

func BenchmarkGoroutine(b *testing.B) {
	for b.Loop() {
		Goroutine()
	}
}

func BenchmarkPrinted(b *testing.B) {
	for b.Loop() {
		printed()
	}
}
