package strand

import (
	"runtime"
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

// Whether it is locked to its thread agrees with what the stack trace shows.
func TestLocked(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for range i % 4 {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
			}
			if l, p := Locked() != 0, printedLocked() != 0; l != p || l != (i%4 > 0) {
				t.Errorf("locked %d times: Locked is %v, its stack trace says %v", i%4, l, p)
			}
		})
	}
	wg.Wait()
}

// Goroutines that are locked to two threads do not look the same.
func TestLockedTo(t *testing.T) {
	other := make(chan uintptr)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		other <- Locked()
	}()
	if me := Locked(); me == <-other && me != 1 { // 1 is all that a stack trace says
		t.Errorf("both are locked to %x", me)
	}
}

func BenchmarkLocked(b *testing.B) {
	for b.Loop() {
		Locked()
	}
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
