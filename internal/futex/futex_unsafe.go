//go:build linux

package futex

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// The operations without FUTEX_PRIVATE_FLAG: the word is known by its page, not
// by its address, so that every process which maps it means the same one.
const (
	wait = 0
	wake = 1
)

// All is the number of sleepers to wake when nobody may be left asleep, even if a
// stranger sleeps on the same word.
const All = 1<<31 - 1

// ErrTimeout is what Wait returns when its time is over.
var ErrTimeout = errors.New("futex: timeout")

// Wait sleeps until it is woken, unless w holds something else than old by then.
// It also returns nil when w has changed, after a signal, or for no reason: the
// caller looks again. A timeout of 0 or less is none. Any other error says that w
// can't be slept on, which is a mistake of the caller's.
//
// The thread is blocked in the kernel, so the runtime is told (Syscall6).
func Wait(w *atomic.Uint32, old uint32, timeout time.Duration) error {
	var limit *syscall.Timespec
	if timeout > 0 {
		ts := syscall.NsecToTimespec(int64(timeout))
		limit = &ts
	}
	_, _, errno := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w)), wait, uintptr(old), uintptr(unsafe.Pointer(limit)), 0, 0)
	switch errno {
	case 0, syscall.EAGAIN, syscall.EINTR:
		return nil
	case syscall.ETIMEDOUT:
		return ErrTimeout
	}
	return fmt.Errorf("futex: wait: %w", errno)
}

// Wake wakes up to n sleepers and returns how many there were.
//
// The runtime is not told (RawSyscall6), so that it never takes the processor away from
// a goroutine on its way through; in time that saves about 10 of 380 ns. Waking takes the lock of
// one hash bucket, never sleeps, and waits for no other process. The one exception is a
// page that was swapped out, which our own store has brought back just before.
func Wake(w *atomic.Uint32, n int) int {
	woken, _, errno := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w)), wake, uintptr(min(n, All)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(woken)
}
