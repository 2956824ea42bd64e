//go:build linux

package futex

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// As wait and wake, with a mask: a sleeper is woken by who has a bit in common with it.
const (
	waitMask = 9
	wakeMask = 10
)

// WaitMask is Wait without a timeout, for a sleeper that WakeMask can tell from others. It
// reports whether somebody's wake-up ended the sleep; otherwise w has changed, or there
// was a signal, or there was no reason. Wake wakes these sleepers too, whatever their mask, which must
// not be 0.
func WaitMask(w *atomic.Uint32, old, mask uint32) (woken bool, err error) {
	_, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w)), waitMask, uintptr(old), 0, 0, uintptr(mask))
	switch errno {
	case 0:
		return true, nil
	case syscall.EAGAIN, syscall.EINTR:
		return false, nil
	}
	return false, fmt.Errorf("futex: wait: %w", errno)
}

// WakeMask wakes up to n sleepers whose mask has a bit in common with this one, and those
// without a mask, and returns how many there were. See Wake.
func WakeMask(w *atomic.Uint32, n int, mask uint32) int {
	woken, _, errno := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w)), wakeMask, uintptr(min(n, All)), 0, 0, uintptr(mask))
	if errno != 0 {
		return 0
	}
	return int(woken)
}
