//go:build linux

package space

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// low is the half of a word that the kernel sleeps on: the first on machines that put the low
// byte first, the second on others.
func low(p *atomic.Uint64) *atomic.Uint32 {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return (*atomic.Uint32)(unsafe.Pointer(p))
	}
	return (*atomic.Uint32)(unsafe.Add(unsafe.Pointer(p), 4))
}
