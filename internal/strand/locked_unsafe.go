//go:build amd64 || arm64

package strand

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// lockedAt is what findLocked found, 0 before, and notFound if it found none.
var lockedAt atomic.Uintptr

// Locked reports whether the calling goroutine is locked to its thread, by
// runtime.LockOSThread, or because C called it or the program is still being initialised. It
// takes 2 ns, or some µs where the runtime's record is not understood.
func Locked() bool {
	if lockedAt.Load() == 0 {
		lockedAt.Store(findLocked())
	}
	off := lockedAt.Load()
	if off == notFound {
		return printedLocked()
	}
	return *(*uintptr)(unsafe.Add(current(), off)) != 0
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
