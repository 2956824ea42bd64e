package ring

import (
	"fmt"
	"runtime"

	"github.com/brood-go/brood/internal/shm"
)

// Consumer is the reading side of a ring.
type Consumer struct {
	view
	headHere uint64 // where the next entry begins, also before Release
	tailSeen uint64 // the last tail that made sense: there are whole entries up to it
	holding  bool   // a payload was returned and not released
	err      error  // stays
	skipped  bool   // revoked entries since it was last asked
	pace     pace
}

// NewConsumer is the consumer of the ring at off. The same is true of it as of
// NewProducer.
func NewConsumer(mem *shm.Memory, off, data int) *Consumer {
	c := &Consumer{view: newView(mem, off, data)}
	c.headHere = c.head.Load()
	c.tailSeen = c.headHere
	if c.headHere%wordSize != 0 {
		c.err = fmt.Errorf("%w: head %#x", ErrCorrupt, c.headHere)
	}
	return c
}

// MaxPayload is the largest payload that Next returns.
func (c *Consumer) MaxPayload() int { return MaxPayload(len(c.data)) }

// Next takes the next entry. From then on it is started: the producer can't revoke
// it, and knows so even if we die. The payload stays valid until Release, which must
// come before the next Next. Without an entry ok is false; an error, which matches
// ErrCorrupt, stays.
func (c *Consumer) Next() (payload []byte, ok bool, err error) {
	if c.holding {
		panic("ring: Next before Release")
	}
	if c.err == nil && c.tailSeen == c.headHere {
		c.look()
	}
	for c.err == nil && c.tailSeen != c.headHere {
		at := c.headHere
		state, size := c.take(at, c.tailSeen-at)
		if c.err != nil {
			break
		}
		c.headHere = at + entrySize(size)
		if state == taken {
			c.holding = true
			return c.payload(at, int(size)), true, nil
		}
		c.skipped = c.skipped || state == revoked
		c.give()
	}
	return nil, false, c.err
}

// Skipped reports whether Next has stepped over revoked entries since it was last
// asked. Their room is free now, and the producer may not know: it gets no answer to them.
func (c *Consumer) Skipped() bool {
	skipped := c.skipped
	c.skipped = false
	return skipped
}

// look reads tail.
func (c *Consumer) look() {
	tail := c.tail.Load()
	if tail-c.headHere > c.size || tail%wordSize != 0 {
		c.err = fmt.Errorf("%w: tail %#x at head %#x", ErrCorrupt, tail, c.headHere)
		return
	}
	c.tailSeen = tail
}

// take checks the entry at a position, within the bytes that the producer has
// published, and takes it if it is ready. It returns its state now and its size.
func (c *Consumer) take(at, published uint64) (state, size uint64) {
	word := c.word(at)
	old := word.Load()
	state, size = old&stateMask, old&sizeMask
	if entry := entrySize(size); entry > published || entry > c.size-at&c.mask || state != pad && size > uint64(c.MaxPayload()) {
		c.err = fmt.Errorf("%w: entry %#x at %#x, %d bytes published", ErrCorrupt, old, at, published)
		return 0, 0
	}
	if state == ready {
		if word.CompareAndSwap(old, taken|size) { // the commit
			return taken, size
		}
		// Only a revocation can have come between.
		if word.Load() == revoked|size {
			return revoked, size
		}
	}
	if state != revoked && state != pad {
		c.err = fmt.Errorf("%w: entry %#x at %#x", ErrCorrupt, old, at)
	}
	return state, size
}

// Release gives the room of the taken entry back.
func (c *Consumer) Release() {
	if !c.holding {
		panic("ring: Release without Next")
	}
	c.holding = false
	c.give()
}

// give lets the producer overwrite all before headHere, and wakes it if that is
// what it sleeps for. A senseless need is the producer's own loss.
func (c *Consumer) give() {
	c.head.Swap(c.headHere) // the commit; why no Store: see the wake argument
	if c.producer.word.Load() == asleep && int64(c.headHere-c.need.Load()) >= 0 {
		c.producer.ring()
	}
}

// Ready reports whether there may be an entry, or an error, for Next.
func (c *Consumer) Ready() bool {
	return c.tailSeen != c.headHere || c.tail.Load() != c.headHere || c.err != nil
}

// Wait returns when Ready is true, when stop says so, after Wake, or for no
// reason. It first looks up to spin times, if that has been of use of late, then
// sleeps. See Spin.
func (c *Consumer) Wait(spin int, stop func() bool) {
	if c.pace.looks() {
		for i := range spin {
			if c.Ready() || c.consumer.wokenUp() || stop() {
				c.pace.found()
				return
			}
			if i%yieldEvery == yieldEvery-1 {
				runtime.Gosched()
			}
		}
		c.pace.missed()
	}
	c.consumer.prepare()
	if c.Ready() || c.consumer.wokenUp() || stop() {
		c.consumer.cancel()
		return
	}
	c.consumer.sleep()
}

// Spin is how often to look before sleeping, where an answer may be expected soon: some
// 15 µs. With two processors and nothing else to do, the round trip of two processes
// takes 0.3 to 0.5 µs while both look, and 8 to 12 µs with sleeps. It has to be longer
// than a wake-up takes: otherwise two processes that once sleep go on so for ever, because
// the one is asleep again before the other is up. Giving the processor away by sched_yield
// was tried: it helps pairs of our own and loses milliseconds to strangers.
const Spin = 4000

// pace says whether to look before sleeping. To look in vain is not only a waste: on
// a busy machine a looker keeps the processor from the very process that it waits for.
// So after each time in vain there are twice as many sleeps without, up to maxSkip,
// before the next attempt; the first success ends that.
type pace struct{ skip, left int }

const maxSkip = 64

func (p *pace) looks() bool {
	if p.left == 0 {
		return true
	}
	p.left--
	return false
}

func (p *pace) found() { p.skip = 0 }

func (p *pace) missed() {
	p.left = p.skip
	p.skip = min(2*p.skip+1, maxSkip)
}

// yieldEvery is how many looks there are between two offers of the processor to
// other goroutines.
const yieldEvery = 32

// Wake ends the current or next Wait. It is for this process: the producer's
// process has no Consumer.
func (c *Consumer) Wake() { c.consumer.wake() }
