//go:build !amd64 && !arm64

package strand

// Goroutine is the number of the calling goroutine. No two ever have the same in
// one process. It takes 2 µs.
func Goroutine() uint64 { return printed() }

// Locked is not 0 if the calling goroutine is locked to its thread, by runtime.LockOSThread, or
// because C called it or the program is still being initialised. It takes some µs.
func Locked() uintptr { return printedLocked() }
