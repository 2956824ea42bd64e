// Package ring carries frames from one process to another through memory that
// both map: one producer, one consumer, a bell for each. Linux only; elsewhere the
// package is empty.
//
// # Layout
//
//	0    tail   uint64  where the producer will write next   producer writes
//	128  head   uint64  what is before it may be overwritten consumer writes
//	256  bell   uint32  the consumer is awake (0) or asleep (1)
//	384  bell   uint32  the producer is awake (0) or asleep (1)
//	392  need   uint64  the head that a sleeping producer waits for
//	512  data, a power of two of bytes
//
// Words that different sides write are 128 bytes apart, because processors fetch
// lines of 64 bytes in pairs. Positions count bytes from the ring's beginning and
// never wrap; a position's place is its low bits.
//
// An entry is one word and a payload, padded to 8 bytes. The word's high half is the
// state, its low half the payload's size, so that both are read and changed together:
//
//	Ready → Taken     the consumer, before it acts on the entry
//	Ready → Revoked   the producer
//	Pad               fills the end of the data, where the next entry did not fit
//
// Entries do not wrap. None is larger than half of the data, so that every one fits
// into an empty ring wherever it begins.
//
// # Invariants
//
//   - head ≤ tail ≤ head + size of the data; both are multiples of 8.
//   - What lies between head and tail is whole entries.
//   - The word of an entry at p can be trusted until tail passes p + size of the data,
//     also when head has passed it: nobody but the producer overwrites it.
//
// # Ownership
//
// Producer's methods are for one goroutine at a time, or a mutex; Ring and Wake are
// for any. The same holds for Consumer's, without Ring. A payload that Next
// returned belongs to the consumer until Release. Both sides keep the position that
// they write on their heap, and never read it back.
//
// # Commits
//
// Append: the store of tail (by Swap: see below). Next: the swap of Ready for Taken, which says "started".
// Revoke: the swap of Ready for Revoked; one of the two wins. Release: the store of head.
//
// # Wake argument
//
// The consumer stores asleep in its bell, then looks at tail, stop and its own
// process's wake flag, then sleeps while the bell says asleep. The producer stores
// tail, then looks at the bell. All this is in one total order, so either the consumer
// sees the new tail or the producer sees the bell; then it swaps asleep for awake and wakes
// the thread, or, when that is not yet in the kernel, makes the kernel refuse to
// let it sleep. Swapping makes one wake-up per sleep, however often the bell is rung.
// Wake stores its flag, then awake, then wakes without looking: the same argument
// with the flag in tail's place. Whoever makes stop true must call Wake afterwards.
// The producer's sleep is the same with head in tail's place, and need stored
// before asleep: the consumer that sees asleep sees at least that need, or its head was
// stored before the producer looked.
//
// The total order is what Go's memory model promises of atomics. But in a program built
// with -race, Store and Load of memory that is not Go's own are a release and an acquire
// and no more: the processor may look at the bell before others see tail (seen:
// two processes asleep for ever). Therefore tail, head and asleep are stored by Swap,
// which is a full barrier there too, and costs nothing more on amd64.
//
// Wake-ups for no reason are possible and harmless.
//
// # Death table
//
// The producer is SIGKILLed after it wrote
//
//	payload, word, pad   nothing is visible
//	tail                 the entry is whole; the consumer may be asleep
//	bell (of consumer)   the same: the kernel was not asked to wake
//	Revoked              the consumer skips the entry
//	need, own bell       the consumer rings for nobody, once
//
// The consumer is SIGKILLed after it wrote
//
//	own bell             the producer rings for nobody, once
//	Taken                Taken says so: the entry was started, perhaps. No other was.
//	head                 the same, since the word stays
//	bell (of producer)   the producer may be asleep; the kernel was not asked to wake
//
// A sleeper whose peer died in between learns of the death through its pidfd, not
// from here, and whoever watches that calls Wake. A ring whose side died has no
// successor on that side.
//
// # Trust
//
// The peer may write anything at any time. Each word is read once, checked against the
// data's size and what is on our own heap, and used from a copy; what makes no sense
// is an error that stays (ErrCorrupt). A call of Next reads at most as many
// entries as fit into the data. The payload's bytes may change while they are read:
// the decoder must stand that. A peer that goes on writing to a bell at the wrong moment
// can swallow a Wake, so a Wake is only sure once the peer is dead; that is when it
// is needed.
package ring
