// Package segment gives large payloads memory of their own, so that they are written
// once, by whoever makes them, and read where they are. Linux only; elsewhere the
// package is empty.
//
// # Layout
//
// A segment is a memfd: a header page and the payload's bytes.
//
//	0     generation  uint32  counts the uses; never 0 in a use    sender writes
//	128   done        uint32  the last use that is over            receiver writes
//	4096  payload
//
// What travels in a frame is a Ref: the segment's id, the use's generation, where
// the payload lies. The descriptor travels once per receiver, by another way. An id is
// never given twice by a Store.
//
// # Ownership
//
// The sender's Store owns a segment for ever. It is in use from Alloc until
// the last Release, or, after Handover, until the receiver stores the use's generation in
// done; then it is idle, and a later Alloc gives it out again. A use must be
// retained as long as a frame or descriptor may still be sent for it. Handover is for one
// receiver; a payload that several read is retained until all have answered.
//
// The receiver's Table owns a mapping. It stays mapped while bytes of it are in use:
// from Bytes to as many calls of Done, whatever Drop and Close say.
//
// # Commits
//
// Alloc: the store of generation, before the payload is written; the payload is
// published by the ring, whose frame carries the Ref. Done: the store of done.
//
// # Wake argument
//
// Nobody sleeps on a segment: Alloc takes what is idle or makes a new one. Bytes
// waits for a descriptor, on a channel in its own process that Add, Drop and Close close under
// the mutex under which Bytes looked.
//
// # Death table
//
// The sender is SIGKILLed after
//
//	memory made, not passed   it goes with the process
//	descriptor passed         the receiver unmaps it with its Table
//	generation stored         the same; a reader of an older Ref is told
//	Ref sent                  the payload is whole: it is read as if nothing had happened
//
// The receiver is SIGKILLed
//
//	before done is stored     the sender keeps the segment until Reclaim or Close
//	after                     the segment is idle
//
// Whoever watches the receiver calls Reclaim for what was handed over to it.
//
// # Trust
//
// A Ref is checked against the mapping and the header, each word of which is read
// once. A peer that stores done too early, or changes bytes while they are read, gives a
// wrong payload: the decoder must stand that, and no one else is concerned. A peer that
// never stores done has segments kept from reuse until Reclaim. What a peer can make a
// Table hold is bounded by the descriptors that it passed and by maxDropped.
package segment
