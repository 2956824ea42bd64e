//go:build !race

package cell

import (
	"sync/atomic"
	"unsafe"
)

// Set writes a word of which only the holder of a latch, or the maker of what nobody can see
// yet, has any business. It is as cheap as a write to a variable. Who takes the latch afterwards sees
// it; so do those who find its writer dead, along with all that was written before.
func (w Word) Set(v uint64) {
	if w.sim != nil {
		w.sim.Store(w.p, v)
		return
	}
	*(*uint64)(unsafe.Pointer(w.p)) = v
}

var _ [8]byte = [unsafe.Sizeof(atomic.Uint64{})]byte{}
