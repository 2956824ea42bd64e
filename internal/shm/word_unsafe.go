//go:build linux

package shm

import (
	"sync/atomic"
	"unsafe"
)

// Uint32 is the word at an offset, which must be in range and a multiple of 4.
func (m *Memory) Uint32(off int) *atomic.Uint32 {
	m.check(off, 4)
	return (*atomic.Uint32)(unsafe.Pointer(&m.data[off]))
}

// Uint64 is the word at an offset, which must be in range and a multiple of 8.
func (m *Memory) Uint64(off int) *atomic.Uint64 {
	m.check(off, 8)
	return (*atomic.Uint64)(unsafe.Pointer(&m.data[off]))
}
