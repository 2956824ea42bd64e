package ring

import (
	"encoding/binary"
	"fmt"

	"github.com/brood-go/brood/internal/shm"
)

// Producer is the writing side of a ring.
type Producer struct {
	view
	tailHere uint64 // the position that we write next
	headSeen uint64 // the last head that made sense, not before tail minus size
	err      error  // stays
}

// NewProducer is the producer of the ring at off, which must be a multiple of 64. A
// ring of zeros is a new one; a producer may go on where an earlier one ended on its own
// accord. The memory must stay mapped as long as methods run.
func NewProducer(mem *shm.Memory, off, data int) *Producer {
	p := &Producer{view: newView(mem, off, data)}
	p.tailHere = p.tail.Load()
	p.headSeen = p.tailHere - p.size // no room before head was looked at
	if p.tailHere%wordSize != 0 {
		p.err = fmt.Errorf("%w: tail %#x", ErrCorrupt, p.tailHere)
	}
	return p
}

// MaxPayload is the largest payload that Append takes.
func (p *Producer) MaxPayload() int { return MaxPayload(len(p.data)) }

// Err is what the consumer wrote that makes no sense, if anything.
func (p *Producer) Err() error { return p.err }

// Append writes the parts as one entry and makes it visible. It does not wake the
// consumer: see Ring. The position names the entry for Revoke and Taken. Without
// room now, or with an error, ok is false. A payload over MaxPayload panics.
func (p *Producer) Append(parts ...[]byte) (at uint64, ok bool) {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	to, at, ok := p.reserve(n)
	if !ok {
		return 0, false
	}
	for _, part := range parts {
		to = to[copy(to, part):]
	}
	p.publish(at, n)
	return at, true
}

// Append2 is Append of two parts, without making a slice of them.
func (p *Producer) Append2(head, body []byte) (at uint64, ok bool) {
	n := len(head) + len(body)
	to, at, ok := p.reserve(n)
	if !ok {
		return 0, false
	}
	copy(to[copy(to, head):], body)
	p.publish(at, n)
	return at, true
}

// reserve finds the place of the next entry, and pads what is before it. The
// pad lies after tail, so that it is as invisible as the entry.
func (p *Producer) reserve(n int) (payload []byte, at uint64, ok bool) {
	at, end := p.place(n)
	if !p.room(end) {
		return nil, 0, false
	}
	if gap := at - p.tailHere; gap > 0 {
		p.put(p.tailHere, pad|gap-wordSize)
	}
	return p.payload(at, n), at, true
}

// place is where an entry would be: at the tail, or after a pad.
func (p *Producer) place(n int) (at, end uint64) {
	if n > p.MaxPayload() {
		panic(fmt.Sprintf("ring: payload of %d bytes, at most %d fit", n, p.MaxPayload()))
	}
	at = p.tailHere
	size := entrySize(uint64(n))
	if left := p.size - at&p.mask; size > left {
		at += left
	}
	return at, at + size
}

// room reports whether what ends there can be written now.
func (p *Producer) room(end uint64) bool {
	if p.err != nil {
		return false
	}
	if end-p.headSeen <= p.size {
		return true
	}
	head := p.head.Load()
	if p.tailHere-head > p.tailHere-p.headSeen || head%wordSize != 0 { // it never goes back
		p.err = fmt.Errorf("%w: head %#x at tail %#x", ErrCorrupt, head, p.tailHere)
		return false
	}
	p.headSeen = head
	return end-head <= p.size
}

// put stores an entry's word where nobody looks yet: the store of tail comes later.
func (p *Producer) put(at, word uint64) {
	binary.NativeEndian.PutUint64(p.data[at&p.mask:], word)
}

// publish makes an entry visible.
func (p *Producer) publish(at uint64, n int) {
	p.put(at, ready|uint64(n))
	p.tailHere = at + entrySize(uint64(n))
	p.tail.Swap(p.tailHere) // the commit; why no Store: see the wake argument
}

// Ring wakes the consumer if it sleeps. One call is enough for all the
// entries that were appended before it.
func (p *Producer) Ring() { p.consumer.ring() }

// Revoke takes an entry back, unless the consumer was faster. Position at must be
// one that Append returned.
func (p *Producer) Revoke(at uint64) bool {
	if p.overwritten(at) {
		return false
	}
	word := p.word(at)
	old := word.Load()
	return old&stateMask == ready && word.CompareAndSwap(old, old&sizeMask|revoked)
}

// Taken reports whether the consumer has taken an entry, also after its death. An
// entry that was neither taken nor revoked will not be acted on by a consumer that is dead.
// A word that makes no sense counts as taken: an entry is rather lost than run twice.
func (p *Producer) Taken(at uint64) bool {
	if p.overwritten(at) {
		return true
	}
	state := p.word(at).Load() & stateMask
	return state != ready && state != revoked
}

// overwritten reports whether a later entry lies where that one was: then the
// consumer has released it. What head says does not matter.
func (p *Producer) overwritten(at uint64) bool { return p.tailHere-at > p.size }

// WaitRoom sleeps until a payload of n bytes fits. It also returns when stop says
// so, after Wake, with an error, or for no reason. It is asked for more than one entry to
// be woken less often.
func (p *Producer) WaitRoom(n int, stop func() bool) {
	_, end := p.place(n)
	p.need.Store(end - p.size)
	p.producer.prepare()
	if p.producer.wokenUp() || stop() || p.room(end) || p.err != nil {
		p.producer.cancel()
		return
	}
	p.producer.sleep()
}

// Wake ends the current or next WaitRoom. It is for this process: the consumer's
// process has no Producer.
func (p *Producer) Wake() { p.producer.wake() }
