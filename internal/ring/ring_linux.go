package ring

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/brood-go/brood/internal/futex"
	"github.com/brood-go/brood/internal/shm"
)

// HeaderSize is what a ring needs beside its data.
const HeaderSize = 512

const (
	tailAt         = 0
	headAt         = 128
	consumerBellAt = 256
	producerBellAt = 384
	needAt         = 392
)

// wordSize is the size of an entry's word, and the alignment of entries.
const wordSize = 8

// maxData keeps sizes in 31 bits, where an int may have no more.
const maxData = 1 << 30

// The states of an entry, in the high half of its word.
const (
	ready   = uint64(0x52454459) << 32 // not small numbers: zeros and counters are no entries
	taken   = uint64(0x54414b4e) << 32
	revoked = uint64(0x5245564b) << 32
	pad     = uint64(0x50414444) << 32

	stateMask = uint64(0xffffffff) << 32
	sizeMask  = uint64(0xffffffff)
)

// ErrCorrupt is what every error about the memory's contents matches. The peer is
// broken; nothing is to be had from the ring any more.
var ErrCorrupt = errors.New("ring: corrupt")

// Size is the memory that a ring with that much data takes. It panics unless data
// is a power of two from 64 to 1 GiB.
func Size(data int) int {
	if data < 64 || data > maxData || data&(data-1) != 0 {
		panic(fmt.Sprintf("ring: %d bytes of data, want a power of two from 64 to %d", data, maxData))
	}
	return HeaderSize + data
}

// MaxPayload is the largest payload of a ring with that much data.
func MaxPayload(data int) int { return data/2 - wordSize }

// view is a ring's memory as both sides see it.
type view struct {
	mem  *shm.Memory
	base int    // of the data in mem
	data []byte // no longer and no shorter than the data
	size uint64 // of the data
	mask uint64

	tail, head, need *atomic.Uint64
	consumer         bell
	producer         bell
}

func newView(mem *shm.Memory, off, data int) view {
	end := off + Size(data)
	if off < 0 || off%64 != 0 || end > mem.Len() {
		panic(fmt.Sprintf("ring: no room for %d bytes at offset %d of %d", Size(data), off, mem.Len()))
	}
	return view{
		mem:      mem,
		base:     off + HeaderSize,
		data:     mem.Bytes()[off+HeaderSize : end : end],
		size:     uint64(data),
		mask:     uint64(data) - 1,
		tail:     mem.Uint64(off + tailAt),
		head:     mem.Uint64(off + headAt),
		need:     mem.Uint64(off + needAt),
		consumer: bell{word: mem.Uint32(off + consumerBellAt)},
		producer: bell{word: mem.Uint32(off + producerBellAt)},
	}
}

// word is the word of the entry at a position.
func (v *view) word(at uint64) *atomic.Uint64 {
	return v.mem.Uint64(v.base + int(at&v.mask))
}

// payload is n bytes after the word of the entry at a position. They must fit.
func (v *view) payload(at uint64, n int) []byte {
	start := int(at&v.mask) + wordSize
	return v.data[start : start+n : start+n]
}

// entrySize is what a payload takes with its word and padding.
func entrySize(payload uint64) uint64 {
	return wordSize + (payload+wordSize-1)&^(wordSize-1)
}

// A bell's word.
const (
	awake  = 0
	asleep = 1
)

// bell is where one side sleeps and the other one, or its own process, wakes it.
type bell struct {
	word  *atomic.Uint32
	woken atomic.Bool // by its own process, and not yet noticed
}

// ring wakes the peer, once per sleep.
func (b *bell) ring() {
	if b.word.Load() == asleep && b.word.CompareAndSwap(asleep, awake) {
		futex.Wake(b.word, 1)
	}
}

// wake ends the current or next sleep of this process. It does not believe the
// word, and leaves nobody asleep, whoever else may sleep there.
func (b *bell) wake() {
	b.woken.Store(true)
	b.word.Swap(awake)
	futex.Wake(b.word, futex.All)
}

// wokenUp reports whether wake was called since it was last asked.
func (b *bell) wokenUp() bool { return b.woken.Load() && b.woken.Swap(false) }

// prepare says that its side will sleep. Whoever calls it looks for reasons not to,
// then calls sleep or cancel.
func (b *bell) prepare() { b.word.Swap(asleep) }

func (b *bell) cancel() { b.word.Store(awake) }

// sleep returns when somebody rang, or for no reason.
func (b *bell) sleep() {
	if err := futex.Wait(b.word, asleep, 0); err != nil {
		panic("ring: sleep in memory that is not mapped: " + err.Error())
	}
	b.word.Store(awake)
}
