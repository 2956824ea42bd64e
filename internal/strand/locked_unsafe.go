//go:build amd64 || arm64

package strand

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// lockedAt is what findLocked found, 0 before, and notFound if it found none.
var lockedAt atomic.Uintptr

// lockedWord is what the record has there, or notFound as long as it is not known where that
// is. It reads lockedAt, an atomic word, by one load.
func lockedWord() uintptr

// Locked says which thread the calling goroutine is locked to, by runtime.LockOSThread, or because
// C called it or the program is still being initialised: a number of that thread's, or 0 if it
// is not locked. It takes 2 ns. Where the runtime's record is not understood it takes some µs, and
// the number is the same for all threads.
func Locked() uintptr {
	if w := lockedWord(); w != notFound {
		return w
	}
	return searchLocked()
}

// searchLocked is apart to let Locked be inlined.
func searchLocked() uintptr {
	if lockedAt.Load() == 0 {
		lockedAt.Store(findLocked())
		return Locked()
	}
	return printedLocked()
}

// findLocked looks where the runtime's record of a goroutine says so: at the one place that is
// zero, then not, and then zero again when the goroutine locks itself and lets go, for each
// of several goroutines. If there is no such place, or more than one, it is notFound.
func findLocked() uintptr {
	const goroutines = 4
	candidates := make(map[uintptr]int)
	for range goroutines {
		done := make(chan []uintptr)
		go func() {
			var words [3][searched / 8]uintptr
			g := current()
			look := func(n int) {
				for i := range words[n] {
					words[n][i] = *(*uintptr)(unsafe.Add(g, 8*i))
				}
			}
			look(0)
			runtime.LockOSThread()
			look(1)
			runtime.UnlockOSThread()
			look(2)
			var at []uintptr
			for i := range words[0] {
				if words[0][i] == 0 && words[1][i] != 0 && words[2][i] == 0 {
					at = append(at, uintptr(8*i))
				}
			}
			done <- at
		}()
		for _, off := range <-done {
			candidates[off]++
		}
	}
	found := uintptr(notFound)
	for off, n := range candidates {
		if n < goroutines {
			continue
		}
		if found != notFound {
			return notFound
		}
		found = off
	}
	return found
}
