//go:build linux

package shm

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// word is the word at an offset that was checked.
func (w *Window) word(off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&w.data[off]))
}

// bytes is memory at an offset that was checked.
func (w *Window) bytes(off, n int) []byte { return w.data[off : off+n : off+n] }

// blank maps zeros over the window. The kernel exchanges the two under one lock, so that
// an access from another thread finds the one or the other and never a hole.
func (w *Window) blank() error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(&w.data[0]), uintptr(len(w.data)), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_FIXED|unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	return err
}
